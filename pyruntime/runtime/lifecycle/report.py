"""Report a new process to the caller: its pid in a file, its pidfd over a socket."""

from __future__ import annotations

import _socket
import os

from pyruntime.errors import PyruntimeError
from pyruntime.system import sockets
from pyruntime.system.files import replace


def report_pid(pid: int, pid_file: str, pidfd_socket: str, name: bytes = b"standard") -> None:
    """Write the pid file and send the pidfd, if requested. ``name`` is sent along with the descriptor."""
    if pid_file:
        try:
            replace(pid_file, str(pid).encode(), mode=0o666)
        except OSError as error:
            raise PyruntimeError(f'--pid-file "{pid_file}": {error.strerror}') from None
    if pidfd_socket:
        sock = sockets.connect(pidfd_socket, "--pidfd-socket")
        pidfd = os.pidfd_open(pid)
        try:
            sock.sendmsg([name], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, pidfd.to_bytes(4, "little"))])
        finally:
            os.close(pidfd)
            sock.close()
