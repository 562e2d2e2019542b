"""Streams that are read and written without blocking, for the relays between our streams and a program's.

A relay that blocks on one stream keeps everything else from the program: its other stream, signals, a new window size.
O_NONBLOCK belongs to the open file description, which the caller's shell shares with us, so it is set on a description
of our own: a terminal or a pipe is opened again by /proc/self/fd (open(2), proc_pid_fd(5)).
"""

from __future__ import annotations

import os
from _stat import S_ISFIFO, S_ISREG, S_ISSOCK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK = 1 << 16


class Stream:
    """A descriptor that never blocks. ``own``: nothing else has its open file description."""

    def __init__(self, fd: int, flags: int, *, own: bool = False) -> None:
        self.fd = fd
        self._release: Callable[[], None] = lambda: None
        self.read: Callable[[int], bytes] = lambda size: os.read(self.fd, size)
        self.write: Callable[[memoryview], int] = lambda data: os.write(self.fd, data)
        try:
            mode = os.fstat(fd).st_mode
        except OSError:   # closed by our caller: reading or writing reports the error
            return
        if own:
            os.set_blocking(fd, False)
        elif S_ISSOCK(mode):   # a socket cannot be opened again, and need not be
            import _socket  # lazy: only for a socket

            sock = _socket.socket(fileno=os.dup(fd))
            self.read = lambda size: sock.recv(size, _socket.MSG_DONTWAIT)
            self.write = lambda data: sock.send(data, _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
            self._release = sock.close
        elif not S_ISREG(mode):   # a file never blocks, and its offset belongs to the description
            self._open_again(flags, S_ISFIFO(mode))

    def _open_again(self, flags: int, pipe: bool) -> None:
        shared = self.fd
        if pipe or os.isatty(shared):
            try:
                self.fd = os.open(f"/proc/self/fd/{shared}", flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            except OSError:   # another user's terminal, after su(1): as ssh(1) does
                if os.get_blocking(shared):
                    os.set_blocking(shared, False)
                    self._release = lambda: os.set_blocking(shared, True)
            else:
                self._release = lambda: os.close(self.fd)

    def close(self) -> None:
        """Restore the caller's descriptor."""
        self._release()


class Inlet:
    """A stream to read from. ``ended``: end of file."""

    def __init__(self, fd: int, *, own: bool = False) -> None:
        self._stream = Stream(fd, os.O_RDONLY, own=own)
        self.fd = self._stream.fd
        self.ended = False
        self.close = self._stream.close

    def take(self, size: int = CHUNK) -> bytes:
        """The bytes that can be read now, at most ``size``."""
        try:
            data = self._stream.read(size)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError:   # EIO: the terminal was hung up, or its last program has closed it
            data = b""
        self.ended = not data
        return data


class Outlet:
    """A stream to write to. Bytes that cannot be written at once are kept: ``pending``. Check ``full`` before adding
    more. ``gone``: the stream is closed, and further bytes are dropped."""

    def __init__(self, fd: int, *, own: bool = False, limit: int = CHUNK) -> None:
        self._stream = Stream(fd, os.O_WRONLY, own=own)
        self._limit = limit
        self._kept = bytearray()
        self.fd = self._stream.fd
        self.gone = False
        self.close = self._stream.close

    @property
    def pending(self) -> int:
        return len(self._kept)

    @property
    def full(self) -> bool:
        return len(self._kept) >= self._limit

    def put(self, data: bytes | memoryview) -> None:
        """Write, or keep."""
        self._kept += data
        self.flush()

    def flush(self) -> None:
        """Write as many of the pending bytes as possible now."""
        written = 0
        try:
            with memoryview(self._kept) as view:
                while written < len(view):
                    written += self._stream.write(view[written:])
        except (BlockingIOError, InterruptedError):
            pass   # the rest stays pending until poll(2) reports the descriptor as writable
        except OSError:   # EPIPE, EIO: the reader has closed the stream; ENOSPC: the disk is full
            self.gone, written = True, len(self._kept)
        del self._kept[:written]
