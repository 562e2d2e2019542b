"""Links, addresses and routes: the few requests of rtnetlink(7) that a container's network takes.

pyroute2 would be asked if its import did not cost 130 ms, twice what a whole `run` takes
(docs/decisions/0016-networks.md). Numbers: linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h.
"""

from __future__ import annotations

import _socket
import errno
import os
from _struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.engine.network.addresses import Address, Subnet

_REQUEST, _ACK, _EXCL, _CREATE = 0x1, 0x4, 0x200, 0x400
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NEWLINK, _DELLINK, _GETLINK, _NEWADDR, _NEWROUTE = 16, 17, 18, 20, 24
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 1, 3, 4, 10, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_F_NODAD = 1, 2, 4, 0x02
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_RT_TABLE_MAIN, _RTPROT_STATIC, _RT_SCOPE_UNIVERSE, _RTN_UNICAST = 254, 4, 0, 1
_IFF_UP, _NESTED = 1, 0x8000
_HEADER, _ATTRIBUTE, _LINK = Struct("=IHHII"), Struct("=HH"), Struct("=BxHiII")   # nlmsghdr, rtattr, ifinfomsg
_ADDRESS, _ROUTE, _WORD = Struct("=BBBBi"), Struct("=BBBBBBBBI"), Struct("=I")      # ifaddrmsg, rtmsg
_ERROR = Struct("=i")


def _attribute(kind: int, data: bytes) -> bytes:
    return _ATTRIBUTE.pack(len(data) + 4, kind) + data + bytes(-len(data) % 4)


def _text(kind: int, text: str) -> bytes:
    return _attribute(kind, text.encode() + b"\0")


def _number(kind: int, number: int) -> bytes:
    return _attribute(kind, _WORD.pack(number))


def _family(address: Address | Subnet) -> int:
    return _socket.AF_INET if address.version == 4 else _socket.AF_INET6


class Link:
    """What is known of an interface: ``kind`` is for example bridge or veth."""

    __slots__ = ("index", "kind", "mac", "mtu")

    def __init__(self, index: int, attributes: dict[int, bytes]) -> None:
        self.index = index
        self.mac = attributes.get(_IFLA_ADDRESS, b"")
        self.mtu = int.from_bytes(attributes.get(_IFLA_MTU, b""), "little")
        info = _attributes(attributes.get(_IFLA_LINKINFO, b""))
        self.kind = info.get(_INFO_KIND, b"").rstrip(b"\0").decode()


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= 4:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < 4:
            break
        found[kind & 0x3fff] = data[4:length]
        data = data[length + 3 & ~3:]
    return found


class Netlink:
    """A connection to the network namespace that we were in when it was made. Every request raises OSError."""

    def __init__(self) -> None:
        self._socket = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, 0)
        self._sequence = 0

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def _ask(self, kind: int, flags: int, body: bytes) -> bytes:
        """One request; the first answer to it, if it has one."""
        self._sequence += 1
        self._socket.send(_HEADER.pack(len(body) + 16, kind, flags | _REQUEST | _ACK, self._sequence, 0) + body)
        first = b""
        while True:
            data = self._socket.recv(65536)
            while data:
                length, answer, _, sequence, _ = _HEADER.unpack_from(data)
                if sequence == self._sequence:
                    if answer == _NLMSG_ERROR:
                        number = -_ERROR.unpack_from(data, 16)[0]
                        if number:
                            raise OSError(number, os.strerror(number))
                        return first
                    first = first or data[16:length]
                data = data[length + 3 & ~3:]

    # --- links --------------------------------------------------------------------------------------------------------

    def link(self, name: str) -> Link | None:
        """The interface of this name, if there is one."""
        try:
            answer = self._ask(_GETLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + _text(_IFLA_IFNAME, name))
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return Link(_LINK.unpack_from(answer)[2], _attributes(answer[16:]))

    def add_bridge(self, name: str, mac: bytes, mtu: int) -> None:
        """Make a bridge, which is down."""
        info = _attribute(_IFLA_LINKINFO | _NESTED, _text(_INFO_KIND, "bridge"))
        self._ask(_NEWLINK, _CREATE | _EXCL, _LINK.pack(0, 0, 0, 0, 0) + _text(_IFLA_IFNAME, name)
                  + _attribute(_IFLA_ADDRESS, mac) + _number(_IFLA_MTU, mtu) + info)

    def add_veth(self, name: str, bridge: int, mtu: int, *, peer: str, peer_mac: bytes, namespace: int) -> None:
        """Make a pair of interfaces: ``name`` here, a port of the bridge of that index, and ``peer`` in the network
        namespace behind the descriptor. The peer is down: veth cannot be opened before both ends know each other."""
        inner = (_LINK.pack(0, 0, 0, 0, 0) + _text(_IFLA_IFNAME, peer) + _number(_IFLA_MTU, mtu)
                 + _attribute(_IFLA_ADDRESS, peer_mac) + _number(_IFLA_NET_NS_FD, namespace))
        info = _attribute(_IFLA_LINKINFO | _NESTED, _text(_INFO_KIND, "veth") + _attribute(
            _INFO_DATA | _NESTED, _attribute(_VETH_INFO_PEER | _NESTED, inner)))
        self._ask(_NEWLINK, _CREATE | _EXCL, _LINK.pack(0, 0, 0, _IFF_UP, _IFF_UP) + _text(_IFLA_IFNAME, name)
                  + _number(_IFLA_MTU, mtu) + _number(_IFLA_MASTER, bridge) + info)

    def set_up(self, index: int) -> None:
        """Set an interface up."""
        self._ask(_NEWLINK, 0, _LINK.pack(0, 0, index, _IFF_UP, _IFF_UP))

    def remove(self, name: str) -> None:
        """Remove an interface; none is fine."""
        try:
            self._ask(_DELLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + _text(_IFLA_IFNAME, name))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise

    # --- addresses and routes -----------------------------------------------------------------------------------------

    def add_address(self, index: int, address: Address, subnet: Subnet) -> None:
        """Give an interface an address."""
        # Without IFA_F_NODAD an IPv6 address cannot be used for the first second.
        body = _ADDRESS.pack(_family(address), subnet.prefix, _IFA_F_NODAD if address.version == 6 else 0, 0, index)
        body += _attribute(_IFA_LOCAL, address.bytes) + _attribute(_IFA_ADDRESS, address.bytes)
        if address.version == 4:
            body += _attribute(_IFA_BROADCAST, subnet.at(subnet.size - 1).bytes)
        self._ask(_NEWADDR, _CREATE | _EXCL, body)

    def add_default_route(self, index: int, gateway: Address) -> None:
        """Send everything that has no other route to the gateway."""
        body = _ROUTE.pack(_family(gateway), 0, 0, 0, _RT_TABLE_MAIN, _RTPROT_STATIC, _RT_SCOPE_UNIVERSE, _RTN_UNICAST,
                           0)
        self._ask(_NEWROUTE, _CREATE | _EXCL,
                  body + _attribute(_RTA_GATEWAY, gateway.bytes) + _number(_RTA_OIF, index))
