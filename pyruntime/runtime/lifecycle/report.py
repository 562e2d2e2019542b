"""Report a new process to the caller: its pid in a file, its pidfd over a socket."""

from __future__ import annotations

import os

from pyruntime.errors import PyruntimeError
from pyruntime.system import sockets


def report_pid(pid: int, pid_file: str, pidfd_socket: str, name: bytes = b"standard") -> None:
    """Write the pid file and send the pidfd, if requested. ``name`` is sent along with the descriptor."""
    if pid_file:
        directory, file = os.path.split(pid_file)
        # The name has the pid: a file left behind by a killed runtime does not matter.
        temporary = os.path.join(directory, f".{file}.{os.getpid()}")
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            try:
                os.write(fd, str(pid).encode())
            finally:
                os.close(fd)
            os.rename(temporary, pid_file)
        except OSError as error:
            raise PyruntimeError(f'--pid-file "{pid_file}": {error.strerror}') from None
    if pidfd_socket:
        import _socket
        sock = sockets.connect(pidfd_socket, "--pidfd-socket")
        pidfd = os.pidfd_open(pid)
        try:
            sock.sendmsg([name], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, pidfd.to_bytes(4, "little"))])
        finally:
            os.close(pidfd)
            sock.close()
