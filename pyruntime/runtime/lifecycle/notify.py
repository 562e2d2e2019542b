"""``NOTIFY_SOCKET``: the container's program tells the service manager that it is ready (sd_notify(3)).

The manager's socket is not the container's to see. `create` mounts a directory of the container's state, read-only, at
/run/notify, `start` and `run` make a socket in it and pass on what may be passed on:

    detached     until the program says READY=1 (or has ended): that, MAINPID=<init>, and BARRIER=1, whose answer is
                 awaited, because the manager reads who we are while we are still there
    foreground   until the program has ended: we stay, so MAINPID is ours

What is said about processes and descriptors (MAINPID, FDSTORE, BARRIER, ...) is in the container's terms, or would let
it steer the manager: it goes no further. A descriptor that came with BARRIER=1 is closed once what was said before it
has been passed on, as sd_notify_barrier(3) wants.
"""

from __future__ import annotations

import os

from pyruntime.errors import PyruntimeError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any

DIRECTORY = "notify"   # in the container's state directory
PLACE = "/run/notify"
VARIABLE = f"NOTIFY_SOCKET={PLACE}/notify.sock"
_PASSED = {"READY", "STATUS", "STOPPING", "RELOADING", "MONOTONIC_USEC", "ERRNO", "BUSERROR", "WATCHDOG",
           "WATCHDOG_USEC", "EXTEND_TIMEOUT_USEC"}
_SIZE = 65536            # bytes of a datagram that are read
_PATIENCE = 5000         # milliseconds that the manager gets to answer the barrier
_MOST_FDS = 253             # in one datagram (SCM_MAX_FD of the kernel)


def mount(directory: str) -> dict[str, Any]:
    """The entry of config.json's mounts that shows a container its socket; ``directory`` is the container's own."""
    return {"destination": PLACE, "type": "bind", "source": os.path.join(directory, DIRECTORY),
            "options": ["bind", "nosuid", "noexec", "nodev", "ro"]}


def prepare(directory: str) -> None:
    """Make what `mount` shows. Raises PyruntimeError."""
    path = os.path.join(directory, DIRECTORY)
    try:
        os.mkdir(path, 0o755)
        os.chmod(path, 0o755)   # whatever the umask: users other than root are to find the socket
    except OSError as error:
        raise PyruntimeError(f'cannot make "{path}": {error.strerror}') from None


def prepared(directory: str) -> bool:
    """Whether the container was created with a socket in view."""
    return os.path.isdir(os.path.join(directory, DIRECTORY))


def _manager(name: str) -> _socket.socket:
    import _socket

    if not name.startswith(("/", "@")):
        raise UsageError(f'NOTIFY_SOCKET="{name}": neither a path nor the name of an abstract socket; unset it if'
                         " nobody is to be told")
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC, 0)
    try:
        sock.connect("\0" + name[1:] if name.startswith("@") else name)
    except OSError as error:
        sock.close()
        raise PyruntimeError(f'NOTIFY_SOCKET: connect "{name}": {error.strerror}') from None
    return sock


class NotifyRelay:
    """The socket for the container's program, and the connection to the manager's."""

    def __init__(self, directory: str, name: str) -> None:
        """``directory``: the container's state; ``name``: the manager's socket. Raises UsageError, PyruntimeError."""
        import _socket

        from pyruntime.system.sockets import address

        self._manager = _manager(name)
        self.ready = False   # whether the program has said so
        self.path = os.path.join(directory, DIRECTORY, "notify.sock")
        self._inside = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC, 0)
        try:
            short, fd = address(self.path)
            try:
                if os.path.exists(short):   # of a `start` that failed
                    os.unlink(short)
                self._inside.bind(short)
                os.chmod(short, 0o777)   # to send asks for write permission (unix(7)), and the program may be anybody
            finally:
                os.close(fd)
        except OSError as error:
            self.close()
            raise PyruntimeError(f'cannot bind "{self.path}": {error.strerror}') from None

    def fileno(self) -> int:
        """What to poll for."""
        return self._inside.fileno()

    def pass_on(self, pid: int) -> None:
        """Receive one datagram and tell the manager of it; ``pid`` is to be the service's main process."""
        import _socket

        data, ancillary, _, _ = self._inside.recvmsg(_SIZE, _socket.CMSG_SPACE(4 * _MOST_FDS),
                                                     _socket.MSG_CMSG_CLOEXEC)
        lines = [line for line in data.split(b"\n") if line.partition(b"=")[0].decode("ascii", "replace") in _PASSED]
        # One datagram each, as runc sends them: READY must not be lost with a line that the manager dislikes.
        try:
            for line in lines:
                self._tell(line)
                if line == b"READY=1" and not self.ready:
                    self.ready = True
                    self._tell(f"MAINPID={pid}".encode())
        finally:
            for level, kind, raw in ancillary:
                if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
                    for start in range(0, len(raw) - 3, 4):
                        os.close(int.from_bytes(raw[start:start + 4], "little"))

    def _tell(self, line: bytes) -> None:
        try:
            self._manager.send(line + b"\n")
        except OSError as error:
            raise PyruntimeError(f"NOTIFY_SOCKET: send {line.decode('utf-8', 'replace')}: {error.strerror}") from None

    def await_ready(self, pid: int, pidfd: int) -> None:
        """Pass on until the program is ready or has ended, then until the manager has taken note of it."""
        import select

        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        poll.register(pidfd, select.POLLIN)
        while not self.ready:
            found = [fd for fd, _ in poll.poll()]
            if self.fileno() in found:
                self.pass_on(pid)
            elif pidfd in found:
                return
        self._barrier()

    def _barrier(self) -> None:
        import _socket
        import select

        ours, theirs = os.pipe2(os.O_CLOEXEC)
        try:
            try:
                self._manager.sendmsg([b"BARRIER=1"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS,
                                                        theirs.to_bytes(4, "little"))])
            finally:
                os.close(theirs)
            poll = select.poll()
            poll.register(ours, 0)   # POLLHUP alone: the other end has been closed
            if not poll.poll(_PATIENCE):
                raise PyruntimeError(f"NOTIFY_SOCKET: no answer to BARRIER=1 within {_PATIENCE // 1000} s")
        except OSError as error:
            raise PyruntimeError(f"NOTIFY_SOCKET: send BARRIER=1: {error.strerror}") from None
        finally:
            os.close(ours)

    def close(self) -> None:
        """Let go of both."""
        self._inside.close()
        self._manager.close()
