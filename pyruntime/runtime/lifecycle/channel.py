"""The protocol with the stub: reports from the stub, and replies that let it continue and may carry descriptors."""

from __future__ import annotations

import _socket
import os
from struct import Struct

from pyruntime.errors import PyruntimeError
from pyruntime.runtime.lifecycle import faults
from pyruntime.system.sockets import blocking

REPORT = Struct("<IIii32s464s")   # struct report of native/stub.h
SYNC, CLONED, CREATED, EXEC, FAULT, FAILED = range(1, 7)


class Report:
    """A report of the stub; see enum report_kind in native/stub.h."""

    __slots__ = ("call", "detail", "errno", "index", "kind", "pid")

    def __init__(self, data: bytes) -> None:
        if len(data) != REPORT.size:
            raise PyruntimeError(f"the stub sent {len(data)} bytes instead of a report")
        self.kind, self.index, self.errno, self.pid, call, detail = REPORT.unpack(data)
        self.call = call.partition(b"\0")[0].decode("ascii", "replace")
        self.detail = detail.partition(b"\0")[0].decode("utf-8", "surrogateescape")


_passing: set[_socket.socket] = set()


def pair() -> tuple[_socket.socket, _socket.socket]:
    """A connected pair of sockets that preserves message boundaries: ours, and the stub's, for `passed`."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0)
    blocking(ours, theirs)
    _passing.add(theirs)
    return ours, theirs


def passed(theirs: _socket.socket) -> None:
    """Close our copy of the stub's socket. The stream ends when the stub's copies are closed, so nobody else may have
    one: not even a process that another thread of ours forks meanwhile."""
    _passing.discard(theirs)
    theirs.close()


def _close_copies() -> None:
    for theirs in _passing:
        theirs.close()
    _passing.clear()


os.register_at_fork(after_in_child=_close_copies)


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
    """Let the stub continue, and pass it descriptors for the given slots."""
    data = b"g" + b"".join(slot.to_bytes(2, "little") for slot in slots)
    fds = b"".join(fd.to_bytes(4, "little") for fd in slots.values())
    ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fds)] if slots else []
    try:
        sock.sendmsg([data], ancillary, _socket.MSG_NOSIGNAL)
    except (BrokenPipeError, ConnectionResetError):
        return   # the stub has died; the next receive reports that
