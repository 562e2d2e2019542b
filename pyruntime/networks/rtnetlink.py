"""Links, addresses and routes: the few requests of rtnetlink(7) that a container's network takes.

pyroute2 would be asked if its import did not cost 130 ms, twice what a whole `run` takes
(docs/decisions/0016-networks.md). Numbers: linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h.
"""

from __future__ import annotations

import _socket
import errno
from _struct import Struct

from pyruntime.networks.netlink import NESTED, Connection, attribute, attributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.networks.addresses import Address, Subnet

_NETLINK_ROUTE = 0
_EXCL, _CREATE = 0x200, 0x400
_NEWLINK, _DELLINK, _GETLINK, _NEWADDR, _NEWROUTE = 16, 17, 18, 20, 24
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 1, 3, 4, 10, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_F_NODAD = 1, 2, 4, 0x02
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_RT_TABLE_MAIN, _RTPROT_STATIC, _RT_SCOPE_UNIVERSE, _RTN_UNICAST = 254, 4, 0, 1
_IFF_UP = 1
_LINK, _WORD = Struct("=BxHiII"), Struct("=I")                      # ifinfomsg
_ADDRESS, _ROUTE = Struct("=BBBBi"), Struct("=BBBBBBBBI")           # ifaddrmsg, rtmsg


def _text(kind: int, text: str) -> bytes:
    return attribute(kind, text.encode() + b"\0")


def _number(kind: int, number: int) -> bytes:
    return attribute(kind, _WORD.pack(number))


def _family(address: Address | Subnet) -> int:
    return _socket.AF_INET if address.version == 4 else _socket.AF_INET6


class Link:
    """What is known of an interface: ``kind`` is for example bridge or veth."""

    __slots__ = ("index", "kind", "mac", "mtu")

    def __init__(self, index: int, has: dict[int, bytes]) -> None:
        self.index = index
        self.mac = has.get(_IFLA_ADDRESS, b"")
        self.mtu = int.from_bytes(has.get(_IFLA_MTU, b""), "little")
        info = attributes(has.get(_IFLA_LINKINFO, b""))
        self.kind = info.get(_INFO_KIND, b"").rstrip(b"\0").decode()


class Netlink(Connection):
    """A connection to the network namespace that we were in when it was made. Every request raises OSError."""

    def __init__(self) -> None:
        super().__init__(_NETLINK_ROUTE)

    # --- links --------------------------------------------------------------------------------------------------------

    def link(self, name: str) -> Link | None:
        """The interface of this name, if there is one."""
        try:
            answer = self.ask(_GETLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + _text(_IFLA_IFNAME, name))
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return Link(_LINK.unpack_from(answer)[2], attributes(answer[16:]))

    def add_bridge(self, name: str, mac: bytes, mtu: int) -> None:
        """Make a bridge, which is down."""
        info = attribute(_IFLA_LINKINFO | NESTED, _text(_INFO_KIND, "bridge"))
        self.ask(_NEWLINK, _CREATE | _EXCL, _LINK.pack(0, 0, 0, 0, 0) + _text(_IFLA_IFNAME, name)
                  + attribute(_IFLA_ADDRESS, mac) + _number(_IFLA_MTU, mtu) + info)

    def add_veth(self, name: str, bridge: int, mtu: int, *, peer: str, peer_mac: bytes, namespace: int) -> None:
        """Make a pair of interfaces: ``name`` here, a port of the bridge of that index, and ``peer`` in the network
        namespace behind the descriptor. The peer is down: veth cannot be opened before both ends know each other."""
        inner = (_LINK.pack(0, 0, 0, 0, 0) + _text(_IFLA_IFNAME, peer) + _number(_IFLA_MTU, mtu)
                 + attribute(_IFLA_ADDRESS, peer_mac) + _number(_IFLA_NET_NS_FD, namespace))
        info = attribute(_IFLA_LINKINFO | NESTED, _text(_INFO_KIND, "veth") + attribute(
            _INFO_DATA | NESTED, attribute(_VETH_INFO_PEER | NESTED, inner)))
        self.ask(_NEWLINK, _CREATE | _EXCL, _LINK.pack(0, 0, 0, _IFF_UP, _IFF_UP) + _text(_IFLA_IFNAME, name)
                  + _number(_IFLA_MTU, mtu) + _number(_IFLA_MASTER, bridge) + info)

    def set_up(self, index: int) -> None:
        """Set an interface up."""
        self.ask(_NEWLINK, 0, _LINK.pack(0, 0, index, _IFF_UP, _IFF_UP))

    def remove(self, name: str) -> None:
        """Remove an interface; none is fine."""
        try:
            self.ask(_DELLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + _text(_IFLA_IFNAME, name))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise

    # --- addresses and routes -----------------------------------------------------------------------------------------

    def add_address(self, index: int, address: Address, subnet: Subnet) -> None:
        """Give an interface an address."""
        # Without IFA_F_NODAD an IPv6 address cannot be used for the first second.
        body = _ADDRESS.pack(_family(address), subnet.prefix, _IFA_F_NODAD if address.version == 6 else 0, 0, index)
        body += attribute(_IFA_LOCAL, address.bytes) + attribute(_IFA_ADDRESS, address.bytes)
        if address.version == 4:
            body += attribute(_IFA_BROADCAST, subnet.at(subnet.size - 1).bytes)
        self.ask(_NEWADDR, _CREATE | _EXCL, body)

    def add_default_route(self, index: int, gateway: Address) -> None:
        """Send everything that has no other route to the gateway."""
        body = _ROUTE.pack(_family(gateway), 0, 0, 0, _RT_TABLE_MAIN, _RTPROT_STATIC, _RT_SCOPE_UNIVERSE, _RTN_UNICAST,
                           0)
        self.ask(_NEWROUTE, _CREATE | _EXCL,
                  body + attribute(_RTA_GATEWAY, gateway.bytes) + _number(_RTA_OIF, index))
