"""netlink(7): requests to the kernel, and their attributes."""

from __future__ import annotations

import _socket
import os
from _struct import Struct

from pyruntime.system.uapi_netlink import NLA_TYPE_MASK, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADER, _ATTRIBUTE, _ERROR = Struct("=IHHII"), Struct("=HH"), Struct("=i")     # nlmsghdr, nlattr, nlmsgerr


def attribute(kind: int, data: bytes) -> bytes:
    """An attribute with its header, padded."""
    return _ATTRIBUTE.pack(len(data) + 4, kind) + data + bytes(-len(data) % 4)


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes of a message, or nested in an attribute; the last one of each kind."""
    found = {}
    while len(data) >= 4:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < 4:
            break
        found[kind & NLA_TYPE_MASK] = data[4:length]
        data = data[length + 3 & ~3:]
    return found


class Connection:
    """A connection to the network namespace in which it was created; ``protocol`` is one of NETLINK_*. Every
    request raises OSError."""

    def __init__(self, protocol: int) -> None:
        self._socket = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, protocol)
        self._sequence = 0

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def ask(self, kind: int, flags: int, body: bytes) -> bytes:
        """Send a request; returns the first answer, or b""."""
        answers = [*self._answers(kind, flags | NLM_F_ACK, body)]
        return answers[0] if answers else b""

    def dump(self, kind: int, body: bytes) -> Iterator[bytes]:
        """The answers to a request for all entries."""
        return self._answers(kind, NLM_F_DUMP, body)

    def _answers(self, kind: int, flags: int, body: bytes) -> Iterator[bytes]:
        self._sequence += 1
        self._socket.send(_HEADER.pack(len(body) + 16, kind, flags | NLM_F_REQUEST, self._sequence, 0) + body)
        while True:
            data = self._socket.recv(65536)
            while data:
                length, answer, _, sequence, _ = _HEADER.unpack_from(data)
                if sequence == self._sequence:
                    if answer in (NLMSG_ERROR, NLMSG_DONE):
                        number = -_ERROR.unpack_from(data, 16)[0]
                        if number:
                            raise OSError(number, os.strerror(number))
                        return
                    yield data[16:length]
                data = data[length + 3 & ~3:]
