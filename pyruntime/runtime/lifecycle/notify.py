"""``NOTIFY_SOCKET``: the container's program notifies the service manager that it is ready (sd_notify(3)).

The manager's socket is not visible in the container. `create` mounts a directory of the container's state, read-only,
at /run/notify; `start` and `run` create a socket there and forward the messages that may be forwarded:

    detached     until the program sends READY=1 (or exits): READY=1, MAINPID=<init>, and BARRIER=1, whose reply is
                 awaited, because the manager identifies the sender while the sender still exists
    foreground   until the program exits: the runtime remains, so MAINPID is the runtime

Messages about processes and descriptors (MAINPID, FDSTORE, BARRIER, ...) have the container's numbers, or would let the
container control the manager: they are not forwarded. A descriptor that came with BARRIER=1 is closed once the messages
before it have been forwarded, as sd_notify_barrier(3) requires.
"""

from __future__ import annotations

import _socket
import os
import select

from pyruntime.errors import PyruntimeError, UsageError
from pyruntime.system.sockets import address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DIRECTORY = "notify"   # in the container's state directory
PLACE = "/run/notify"
VARIABLE = f"NOTIFY_SOCKET={PLACE}/notify.sock"
_PASSED = {"READY", "STATUS", "STOPPING", "RELOADING", "MONOTONIC_USEC", "ERRNO", "BUSERROR", "WATCHDOG",
           "WATCHDOG_USEC", "EXTEND_TIMEOUT_USEC"}
_SIZE = 65536            # maximum size of a datagram
_PATIENCE = 5000         # milliseconds to wait for the manager's reply to the barrier
_MOST_FDS = 253             # in one datagram (SCM_MAX_FD of the kernel)


def mount(directory: str) -> dict[str, Any]:
    """The entry for the mounts of config.json by which a container sees its socket; ``directory`` is the
    container's."""
    return {"destination": PLACE, "type": "bind", "source": os.path.join(directory, DIRECTORY),
            "options": ["bind", "nosuid", "noexec", "nodev", "ro"]}


def prepare(directory: str) -> None:
    """Create the directory that `mount` refers to. Raises PyruntimeError."""
    path = os.path.join(directory, DIRECTORY)
    try:
        os.mkdir(path, 0o755)
        os.chmod(path, 0o755)   # regardless of the umask: users other than root must find the socket
    except OSError as error:
        raise PyruntimeError(f'cannot create "{path}": {error.strerror}') from None


def prepared(directory: str) -> bool:
    """Whether the container was created with the mount of a notify socket."""
    return os.path.isdir(os.path.join(directory, DIRECTORY))


def _manager(name: str) -> _socket.socket:
    if not name.startswith(("/", "@")):
        raise UsageError(f'NOTIFY_SOCKET="{name}": neither a path nor the name of an abstract socket; unset it if'
                         " no service manager needs the notification")
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
        """``directory``: the container's state directory; ``name``: the manager's socket. Raises UsageError,
        PyruntimeError."""
        self._manager = _manager(name)
        self.ready = False   # whether the program has sent READY=1
        self.path = os.path.join(directory, DIRECTORY, "notify.sock")
        self._inside = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC, 0)
        try:
            short, fd = address(self.path)
            try:
                if os.path.exists(short):   # left behind by a `start` that failed
                    os.unlink(short)
                self._inside.bind(short)
                os.chmod(short, 0o777)   # sending needs write permission (unix(7)); the program may be any user
            finally:
                os.close(fd)
        except OSError as error:
            self.close()
            raise PyruntimeError(f'cannot bind "{self.path}": {error.strerror}') from None

    def fileno(self) -> int:
        """The descriptors to poll."""
        return self._inside.fileno()

    def pass_on(self, pid: int) -> None:
        """Receive one datagram and forward it to the manager; ``pid`` becomes the service's main process."""
        data, ancillary, _, _ = self._inside.recvmsg(_SIZE, _socket.CMSG_SPACE(4 * _MOST_FDS),
                                                     _socket.MSG_CMSG_CLOEXEC)
        lines = [line for line in data.split(b"\n") if line.partition(b"=")[0].decode("ascii", "replace") in _PASSED]
        # A datagram for each line, as runc does: READY must not be lost with a line that the manager rejects.
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
        """Forward until the program is ready or has exited, and then until the manager has confirmed that."""
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
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        try:
            try:
                self._manager.sendmsg([b"BARRIER=1"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS,
                                                        theirs.to_bytes(4, "little"))])
            finally:
                os.close(theirs)
            poll = select.poll()
            poll.register(ours, 0)   # only POLLHUP: the other end was closed
            if not poll.poll(_PATIENCE):
                raise PyruntimeError(f"NOTIFY_SOCKET: no answer to BARRIER=1 within {_PATIENCE // 1000} s")
        except OSError as error:
            raise PyruntimeError(f"NOTIFY_SOCKET: send BARRIER=1: {error.strerror}") from None
        finally:
            os.close(ours)

    def close(self) -> None:
        """Close both."""
        self._inside.close()
        self._manager.close()
