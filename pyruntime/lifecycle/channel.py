"""Sockets: to the stub (reports, go-ahead with descriptors), to init that waits, to the sockets that callers name."""

from __future__ import annotations

import _socket
import os
from struct import Struct

from pyruntime.errors import PyruntimeError
from pyruntime.lifecycle import faults

REPORT = Struct("<IIii32s464s")   # struct report of native/stub.h
SYNC, CLONED, CREATED, EXEC, FAULT, FAILED = range(1, 7)


class Report:
    """What the stub says: see enum report_kind in native/stub.h."""

    __slots__ = ("call", "detail", "errno", "index", "kind", "pid")

    def __init__(self, data: bytes) -> None:
        if len(data) != REPORT.size:
            raise PyruntimeError(f"the stub sent {len(data)} bytes instead of a report")
        self.kind, self.index, self.errno, self.pid, call, detail = REPORT.unpack(data)
        self.call = call.partition(b"\0")[0].decode("ascii", "replace")
        self.detail = detail.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def pair() -> tuple[_socket.socket, _socket.socket]:
    """A connected pair that keeps messages apart."""
    return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0)


def receive(sock: _socket.socket) -> Report | None:
    """The next report; None at the end of the stream."""
    try:
        data = sock.recv(REPORT.size)
    except ConnectionResetError:
        return None
    report = Report(data) if data else None
    if report is not None and report.kind == FAULT:
        faults.die()
    return report


def go(sock: _socket.socket, slots: dict[int, int]) -> None:
    """Let the stub go on, handing it descriptors for the given slots."""
    data = b"g" + b"".join(slot.to_bytes(2, "little") for slot in slots)
    fds = b"".join(fd.to_bytes(4, "little") for fd in slots.values())
    ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fds)] if slots else []
    try:
        sock.sendmsg([data], ancillary, _socket.MSG_NOSIGNAL)
    except (BrokenPipeError, ConnectionResetError):
        return   # it has died; the next receive says so


def address(path: str) -> tuple[str, int]:
    """A name for the socket ``path`` that is short enough for sun_path, and the descriptor that keeps it valid."""
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
    """A listening socket at ``path``, for the owner alone."""
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
    """Whether init still listens at ``path``: it closes the socket when `start` has spoken to it."""
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
    """One descriptor that came over a stream socket."""
    _, ancillary, _, _ = sock.recvmsg(4096, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS and len(data) >= 4:
            return int.from_bytes(data[:4], "little")
    raise PyruntimeError("no terminal came from the container")
