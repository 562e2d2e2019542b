"""Unix sockets with paths of any length, and descriptors that are sent over them. unix(7)."""

from __future__ import annotations

import _socket
import os

from pyruntime.errors import PyruntimeError


def blocking(*ends: _socket.socket) -> None:
    """Let the ends of a socket pair wait: a program that uses the library may have called socket.setdefaulttimeout(3),
    which makes new sockets nonblocking, also in the process that gets one."""
    if _socket.getdefaulttimeout() is not None:
        for end in ends:
            end.settimeout(None)


def address(path: str) -> tuple[str, int]:
    """A name of the socket ``path`` that is short enough for sun_path, and the descriptor that keeps the name valid."""
    fd = os.open(os.path.dirname(path) or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return f"/proc/self/fd/{fd}/{os.path.basename(path)}", fd


def connect(path: str, where: str, kind: int = _socket.SOCK_STREAM) -> _socket.socket:
    """A connection to the socket ``path``, which ``where`` (an option or a place in config.json) names."""
    try:
        name, fd = address(path)
    except OSError as error:
        raise PyruntimeError(f'{where}: "{path}": {error.strerror}') from None
    sock = _socket.socket(_socket.AF_UNIX, kind | _socket.SOCK_CLOEXEC, 0)
    try:
        sock.connect(name)
    except OSError as error:
        sock.close()
        raise PyruntimeError(f'{where}: connect "{path}": {error.strerror}') from None
    finally:
        os.close(fd)
    return sock


def listen(path: str) -> _socket.socket:
    """A listening socket at ``path``, that only its owner can connect to."""
    name, fd = address(path)
    try:
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC, 0)
        sock.bind(name)
        os.chmod(name, 0o600)
        sock.listen(64)
        return sock
    finally:
        os.close(fd)


def waits(path: str) -> bool:
    """Whether a process listens at ``path``: init closes its socket when `start` has connected."""
    try:
        name, fd = address(path)
    except FileNotFoundError:
        return False
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK, 0)
    try:
        sock.connect(name)
    except BlockingIOError:
        return True   # a full queue, for example of a frozen init
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    finally:
        sock.close()
        os.close(fd)
    return True


def receive_fd(sock: _socket.socket) -> int:
    """Receive one descriptor over a stream socket."""
    _, ancillary, _, _ = sock.recvmsg(4096, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS and len(data) >= 4:
            return int.from_bytes(data[:4], "little")
    raise PyruntimeError("the container sent no terminal")
