"""Attach to a container: its output goes to this process's, and input, signals and terminal size to the container.

Talks to the monitor over a SOCK_SEQPACKET socket; the first byte of a packet is its kind
(pyruntime/native/monitor/monitor.h).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal itself imports enum, which takes 5 ms
import _socket
import os
import select

from pyruntime.errors import StateError, UsageError
from pyruntime.system.signals import FORWARDED, Insistence
from pyruntime.system.streams import Inlet, Outlet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

INPUT, END, RESIZE, DETACH, HOLD, OUT, ERR, EXIT = b"i", b"e", b"r", b"d", b"h", b"1", b"2", b"x"
_CHUNK = 16384
_BACKLOG = 1 << 20   # bytes of output that are kept for a slow reader
_HOLDING = 1000      # milliseconds between two packets that report a slow reader to the monitor
DETACH_KEYS = "ctrl-p,ctrl-q"


class Attached:
    """Attached until the program exits or the detach keys are typed.

    ``stdin``    pass on standard input
    ``outputs``  the outputs to pass on: OUT, ERR
    ``forward``  called with each received signal; None: signals act on this process
    ``patient``  the program waits for the reader of the output; otherwise the monitor drops the connection after two
                 seconds without a read
    ``owner``    after the exit: this process has to clean up the run
    """

    def __init__(self, sock: _socket.socket, *, terminal: bool, stdin: bool,
                 outputs: frozenset[bytes] = frozenset((OUT, ERR)), keys: str = DETACH_KEYS,
                 forward: Callable[[int], None] | None = None, patient: bool = False) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._packets: list[bytes] = []   # not yet taken by the monitor
        self._stdin = stdin
        self._outputs = outputs
        self._input = Inlet(0)
        self._input.ended = not stdin
        self._out, self._err = Outlet(1, limit=_BACKLOG), Outlet(2, limit=_BACKLOG)
        self._forward = forward
        self._insistence = Insistence("the program")
        self._patient = patient
        self._keys = key_bytes(keys) if terminal else b""
        self._typed = 0          # number of the keys that have been typed
        self._tty = next((fd for fd in (0, 1, 2) if os.isatty(fd)), -1) if terminal else -1
        self._saved: list[Any] | None = None
        self._wake, self._signalled = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._old: dict[int, Any] = {}
        self.owner = False
        self._begin()

    def _begin(self) -> None:
        _signal.set_wakeup_fd(self._signalled, warn_on_full_buffer=False)
        wanted = (FORWARDED if self._forward else set()) | {_signal.SIGWINCH}
        for number in wanted:
            self._old[number] = _signal.signal(number, lambda number, frame: None)

    def wait(self) -> int | None:
        """Forward until the program exits: its exit status; None after the detach keys. Raises StateError if the
        monitor was killed or has dropped the connection, Interrupted if the program ignores signals."""
        try:
            self._prepare_terminal()
            while True:
                ready = self._poll()
                if self._wake in ready:
                    self._signals()
                if self._input.fd in ready and not self._read():
                    return None
                self._send_packets()
                for outlet in (self._out, self._err):
                    outlet.flush()
                if self._sock.fileno() in ready:
                    packet = self._receive()
                    if packet == b"":
                        self._drain()
                        raise StateError("lost the connection to the container: its output was not read for two"
                                         " seconds, or its monitor was killed: see `pocker ps` and `pocker logs`")
                    if packet[:1] == EXIT:
                        self.owner = packet[2:] == b"\x01"
                        self._drain()
                        return packet[1]
        finally:
            self._end()

    def _poll(self, *, draining: bool = False) -> set[int]:
        """The descriptors that are ready, of those that can make progress."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        for outlet in (self._out, self._err):
            if outlet.pending:
                poll.register(outlet.fd, select.POLLOUT)
        patience = None
        if not draining:
            held = self._out.full or self._err.full
            events = (0 if held else select.POLLIN) | (select.POLLOUT if self._packets else 0)
            if events:
                poll.register(self._sock, events)
            if not self._input.ended and not self._packets:
                poll.register(self._input.fd, select.POLLIN)
            if held and self._patient:
                patience = _HOLDING
        ready = {fd for fd, _ in poll.poll(patience)}
        if patience is not None and not self._packets:
            self._packets.append(HOLD)
        return ready

    def _drain(self) -> None:
        """Write the rest of the output, as fast as it is read; a signal ends that."""
        while self._out.pending or self._err.pending:
            if self._wake in self._poll(draining=True) and any(
                    number in FORWARDED for number in os.read(self._wake, 4096)):
                return
            self._out.flush()
            self._err.flush()

    def _receive(self) -> bytes | memoryview:
        """A packet; b"" at the end of the connection."""
        try:
            packet = self._sock.recv(_CHUNK + 1)
        except BlockingIOError:
            return HOLD   # the socket was only ready for writing
        except ConnectionResetError:
            return b""
        if packet[:1] in self._outputs:
            (self._out if packet[:1] == OUT else self._err).put(memoryview(packet)[1:])
        return packet

    def _read(self) -> bool:
        """Pass on the input; False when the last of the detach keys was typed."""
        data = self._input.take(_CHUNK - len(self._keys))
        if self._input.ended:
            self._packets.append(END)
            return True
        data, detach = self._without_keys(data)
        if data:
            self._packets.append(INPUT + data)
        if detach:
            self._packets.append(DETACH)
            self._send_packets()
        return not detach

    def _without_keys(self, data: bytes) -> tuple[bytes, bool]:
        """The input for the program, and whether the detach keys have been typed."""
        if not self._keys:
            return data, False
        passed = bytearray()
        for number in range(len(data)):
            byte = data[number:number + 1]
            if byte == self._keys[self._typed:self._typed + 1]:
                self._typed += 1
                if self._typed == len(self._keys):
                    return bytes(passed), True
                continue
            passed += self._keys[:self._typed]
            self._typed = 0
            if byte == self._keys[:1]:
                self._typed = 1
            else:
                passed += byte
        return bytes(passed), False

    def _signals(self) -> None:
        for number in os.read(self._wake, 4096):
            if number == _signal.SIGWINCH:
                self.resize()
            elif self._forward and number in FORWARDED:
                self._insistence.add(number)
                self._forward(number)

    def resize(self) -> None:
        """Set the size of the container's terminal to that of this one."""
        if self._tty >= 0:
            # lazy: only on a terminal
            import fcntl
            import termios

            size = fcntl.ioctl(self._tty, termios.TIOCGWINSZ, bytes(8))
            if size[:4] != bytes(4):   # rows and columns, as the monitor wants them
                self._packets.append(RESIZE + size[:4])

    def _send_packets(self) -> None:
        try:
            while self._packets:
                self._sock.send(self._packets[0])
                del self._packets[0]
        except BlockingIOError:
            return   # the program does not read its input
        except (BrokenPipeError, ConnectionResetError):
            self._packets.clear()   # the exit of the program will be reported next

    def _prepare_terminal(self) -> None:
        if self._tty >= 0:
            if self._stdin and os.isatty(0):
                # lazy: only on a terminal
                import termios
                import tty

                self._saved = termios.tcgetattr(0)
                tty.setraw(0, termios.TCSANOW)
            self.resize()

    def _end(self) -> None:
        if self._saved is not None:
            import termios  # lazy: only on a terminal

            try:   # noqa: SIM105  # contextlib costs commands too much
                termios.tcsetattr(0, termios.TCSANOW, self._saved)   # TCSADRAIN would wait for a reader
            except termios.error:
                pass   # the terminal has been hung up
        _signal.set_wakeup_fd(-1)
        for number, handler in self._old.items():
            _signal.signal(number, handler)
        for fd in (self._wake, self._signalled):
            os.close(fd)
        for stream in (self._input, self._out, self._err, self._sock):
            stream.close()


def pair() -> tuple[_socket.socket, _socket.socket]:
    """Both ends of a connection to a monitor that is about to be started."""
    return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0)


def connect(path: str) -> _socket.socket:
    """A connection to the monitor that listens at ``path``. Raises StateError if there is none."""
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_CLOEXEC)
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC, 0)
    try:
        sock.connect(f"/proc/self/fd/{directory}/{os.path.basename(path)}")   # the whole path may be too long
    except OSError as error:
        sock.close()
        raise StateError(f"cannot attach: the container is not running, or its monitor was killed: {error.strerror}"
                         ) from None
    finally:
        os.close(directory)
    return sock


def key_bytes(keys: str) -> bytes:
    """The bytes that keys such as ``ctrl-p,ctrl-q`` or ``a`` send. Raises UsageError."""
    typed = bytearray()
    for key in keys.split(",") if keys else []:
        letter = key.removeprefix("ctrl-")
        if len(letter) == 1 and key == letter:
            typed += letter.encode()
        elif len(letter) == 1 and "@" <= letter.upper() <= "_":
            typed.append(ord(letter.upper()) - 64)
        else:
            raise UsageError(f'detach keys "{keys}": write characters and ctrl-a to ctrl-z, @, [, \\, ], ^ or _,'
                             " separated by commas")
    return bytes(typed)
