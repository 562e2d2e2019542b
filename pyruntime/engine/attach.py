"""Being attached to a container: its output to ours, our input, signals and terminal to it.

Speaks with the monitor over a SOCK_SEQPACKET socket: the first byte of a packet says what it is
(pyruntime/engine/monitor/monitor.h).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal itself imports enum, which takes 5 ms
import _socket
import os
import select

from pyruntime.errors import StateError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

INPUT, END, RESIZE, DETACH, OUT, ERR, EXIT = b"i", b"e", b"r", b"d", b"1", b"2", b"x"
_CHUNK = 16384
DETACH_KEYS = "ctrl-p,ctrl-q"
# Not forwarded: what is about us, or what cannot be caught.
_OURS = {_signal.SIGCHLD, _signal.SIGKILL, _signal.SIGSTOP, _signal.SIGURG, _signal.SIGWINCH, _signal.SIGTTIN,
         _signal.SIGTTOU, _signal.SIGTSTP, _signal.SIGCONT, _signal.SIGPIPE}
_THEIRS = {*range(1, 32), *range(_signal.SIGRTMIN, _signal.SIGRTMAX + 1)} - _OURS


class Attached:
    """Until the program ends or the detach keys are typed.

    ``stdin``    whether our input goes to it
    ``outputs``  which of its outputs come to us: OUT, ERR
    ``forward``  called with each signal that we get; None: they act on us
    """

    def __init__(self, sock: _socket.socket, *, terminal: bool, stdin: bool,
                 outputs: frozenset[bytes] = frozenset((OUT, ERR)), keys: str = DETACH_KEYS,
                 forward: Callable[[int], None] | None = None) -> None:
        self._sock = sock
        self._stdin = stdin
        self._outputs = outputs
        self._forward = forward
        self._keys = key_bytes(keys) if terminal else b""
        self._typed = 0          # how many of the keys have been typed
        self._tty = next((fd for fd in (0, 1, 2) if os.isatty(fd)), -1) if terminal else -1
        self._saved: list[Any] | None = None
        self._wake, self._signalled = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._old: dict[int, Any] = {}
        self._begin()

    def _begin(self) -> None:
        _signal.set_wakeup_fd(self._signalled, warn_on_full_buffer=False)
        wanted = (_THEIRS if self._forward else set()) | {_signal.SIGWINCH}
        for number in wanted:
            self._old[number] = _signal.signal(number, lambda number, frame: None)

    def wait(self) -> int | None:
        """Forward until the program ends: its status; None where we were detached. Raises StateError where the monitor
        is gone."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        try:
            self._prepare_terminal()
            if self._stdin:
                poll.register(0, select.POLLIN)
            while True:
                for fd, _ in poll.poll():
                    if fd == self._wake:
                        self._signals()
                    elif fd == 0:
                        if not self._read():
                            if self._typed == len(self._keys) > 0:
                                return None
                            poll.unregister(0)
                    else:
                        packet = self._receive()
                        if not packet:
                            raise StateError("the connection to the container is lost, because its monitor was killed:"
                                             " see `pocker ps` whether it runs, without a log then; end it with"
                                             " `pocker rm -f`, or `pocker restart` it")
                        if packet[:1] == EXIT:
                            return packet[1]
        finally:
            self._end()

    def _receive(self) -> bytes:
        try:
            packet = self._sock.recv(_CHUNK + 1)
        except ConnectionResetError:
            return b""
        kind, data = packet[:1], memoryview(packet)[1:]
        if kind in self._outputs:
            while data:
                data = data[os.write(1 if kind == OUT else 2, data):]
        return packet

    def _read(self) -> bool:
        """Pass our input on; False at its end, or when the last of the detach keys was typed."""
        try:
            data = os.read(0, _CHUNK - len(self._keys))
        except OSError:   # EIO: our terminal has been hung up
            data = b""
        if not data:
            self._send(END)
            return False
        data, detach = self._without_keys(data)
        if data:
            self._send(INPUT + data)
        if detach:
            self._send(DETACH)
        return not detach

    def _without_keys(self, data: bytes) -> tuple[bytes, bool]:
        """What of the input is for the program, and whether the keys have been typed."""
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
            elif self._forward and number in _THEIRS:
                self._forward(number)

    def resize(self) -> None:
        """Give the container's terminal the size of ours."""
        if self._tty >= 0:
            import fcntl
            import termios

            size = fcntl.ioctl(self._tty, termios.TIOCGWINSZ, bytes(8))
            if size[:4] != bytes(4):   # rows and columns, as the monitor wants them
                self._send(RESIZE + size[:4])

    def _send(self, packet: bytes) -> None:
        try:
            self._sock.send(packet)
        except (BrokenPipeError, ConnectionResetError):
            return   # the end of the program is on its way to us

    def _prepare_terminal(self) -> None:
        if self._tty >= 0:
            import termios
            import tty

            self._saved = termios.tcgetattr(self._tty)
            tty.setraw(self._tty, termios.TCSANOW)
            self.resize()

    def _end(self) -> None:
        if self._saved is not None:
            import termios

            termios.tcsetattr(self._tty, termios.TCSADRAIN, self._saved)
        _signal.set_wakeup_fd(-1)
        for number, handler in self._old.items():
            _signal.signal(number, handler)
        for fd in (self._wake, self._signalled):
            os.close(fd)
        self._sock.close()


def pair() -> tuple[_socket.socket, _socket.socket]:
    """Both ends of a connection to a monitor that is about to begin."""
    return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0)


def connect(path: str) -> _socket.socket:
    """A connection to the monitor that listens at ``path``. Raises StateError where there is none."""
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_CLOEXEC)
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC, 0)
    try:
        sock.connect(f"/proc/self/fd/{directory}/{os.path.basename(path)}")   # the path itself may be too long
    except OSError as error:
        sock.close()
        raise StateError(f"cannot attach: the container does not run, or its monitor was killed: {error.strerror}"
                         ) from None
    finally:
        os.close(directory)
    return sock


def key_bytes(keys: str) -> bytes:
    """What is typed for keys such as ``ctrl-p,ctrl-q`` or ``a``; raises UsageError."""
    typed = bytearray()
    for key in keys.split(",") if keys else []:
        letter = key.removeprefix("ctrl-")
        if len(letter) == 1 and key == letter:
            typed += letter.encode()
        elif len(letter) == 1 and "@" <= letter.upper() <= "_":
            typed.append(ord(letter.upper()) - 64)
        else:
            raise UsageError(f'--detach-keys "{keys}": write characters and ctrl-a to ctrl-z, @, [, \\, ], ^ or _,'
                             " separated by commas")
    return bytes(typed)
