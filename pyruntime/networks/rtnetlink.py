"""Links, addresses and routes: the few requests of rtnetlink(7) that a container's network needs.

pyroute2 is not used: its import costs 130 ms, twice as much as a whole `run`
(docs/decisions/0016-networks.md).
"""

from __future__ import annotations

import _socket
import errno
from _struct import Struct

from pyruntime.networks.netlink import Connection, attribute, attributes
from pyruntime.system import uapi_netlink as nl
from pyruntime.system.uapi import IFF_UP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.networks.addresses import Address, Subnet

_NEW = nl.NLM_F_CREATE | nl.NLM_F_EXCL
_LINK, _WORD = Struct("=BxHiII"), Struct("=I")                      # ifinfomsg
_ADDRESS, _ROUTE = Struct("=BBBBi"), Struct("=BBBBBBBBI")           # ifaddrmsg, rtmsg


def _text(kind: int, text: str) -> bytes:
    return attribute(kind, text.encode() + b"\0")


def _number(kind: int, number: int) -> bytes:
    return attribute(kind, _WORD.pack(number))


def _family(address: Address | Subnet) -> int:
    return _socket.AF_INET if address.version == 4 else _socket.AF_INET6


class Link:
    """An interface: ``kind`` is for example bridge or veth."""

    __slots__ = ("index", "kind", "mac", "mtu")

    def __init__(self, index: int, has: dict[int, bytes]) -> None:
        self.index = index
        self.mac = has.get(nl.IFLA_ADDRESS, b"")
        self.mtu = int.from_bytes(has.get(nl.IFLA_MTU, b""), "little")
        info = attributes(has.get(nl.IFLA_LINKINFO, b""))
        self.kind = info.get(nl.IFLA_INFO_KIND, b"").rstrip(b"\0").decode()


class Netlink(Connection):
    """A connection to the network namespace in which it was created. Every request raises OSError."""

    def __init__(self) -> None:
        super().__init__(nl.NETLINK_ROUTE)

    # --- links --------------------------------------------------------------------------------------------------------

    def link(self, name: str) -> Link | None:
        """The interface with this name, or None."""
        try:
            answer = self.ask(nl.RTM_GETLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + _text(nl.IFLA_IFNAME, name))
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return Link(_LINK.unpack_from(answer)[2], attributes(answer[16:]))

    def add_bridge(self, name: str, mac: bytes, mtu: int) -> None:
        """Create a bridge, which is down."""
        info = attribute(nl.IFLA_LINKINFO | nl.NLA_F_NESTED, _text(nl.IFLA_INFO_KIND, "bridge"))
        self.ask(nl.RTM_NEWLINK, _NEW, _LINK.pack(0, 0, 0, 0, 0) + _text(nl.IFLA_IFNAME, name)
                 + attribute(nl.IFLA_ADDRESS, mac) + _number(nl.IFLA_MTU, mtu) + info)

    def add_veth(self, name: str, bridge: int, mtu: int, *, peer: str, peer_mac: bytes, namespace: int) -> None:
        """Create a pair of interfaces: ``name`` on the host, a port of the bridge with that index, and ``peer`` in the
        network namespace of the descriptor. The peer is down: veth cannot be opened before both ends know each
        other."""
        inner = (_LINK.pack(0, 0, 0, 0, 0) + _text(nl.IFLA_IFNAME, peer) + _number(nl.IFLA_MTU, mtu)
                 + attribute(nl.IFLA_ADDRESS, peer_mac) + _number(nl.IFLA_NET_NS_FD, namespace))
        info = attribute(nl.IFLA_LINKINFO | nl.NLA_F_NESTED, _text(nl.IFLA_INFO_KIND, "veth") + attribute(
            nl.IFLA_INFO_DATA | nl.NLA_F_NESTED, attribute(nl.VETH_INFO_PEER | nl.NLA_F_NESTED, inner)))
        self.ask(nl.RTM_NEWLINK, _NEW, _LINK.pack(0, 0, 0, IFF_UP, IFF_UP) + _text(nl.IFLA_IFNAME, name)
                 + _number(nl.IFLA_MTU, mtu) + _number(nl.IFLA_MASTER, bridge) + info)

    def set_up(self, index: int) -> None:
        """Set an interface up."""
        self.ask(nl.RTM_NEWLINK, 0, _LINK.pack(0, 0, index, IFF_UP, IFF_UP))

    def remove(self, name: str) -> None:
        """Remove an interface; a missing interface is no error."""
        try:
            self.ask(nl.RTM_DELLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + _text(nl.IFLA_IFNAME, name))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise

    # --- addresses and routes -----------------------------------------------------------------------------------------

    def add_address(self, index: int, address: Address, subnet: Subnet) -> None:
        """Add an address to an interface."""
        # Without IFA_F_NODAD an IPv6 address cannot be used for the first second.
        body = _ADDRESS.pack(_family(address), subnet.prefix, nl.IFA_F_NODAD if address.version == 6 else 0, 0, index)
        body += attribute(nl.IFA_LOCAL, address.bytes) + attribute(nl.IFA_ADDRESS, address.bytes)
        if address.version == 4:
            body += attribute(nl.IFA_BROADCAST, subnet.at(subnet.size - 1).bytes)
        self.ask(nl.RTM_NEWADDR, _NEW, body)

    def add_default_route(self, index: int, gateway: Address) -> None:
        """Add the default route through a gateway."""
        body = _ROUTE.pack(_family(gateway), 0, 0, 0, nl.RT_TABLE_MAIN, nl.RTPROT_STATIC,
                           nl.RT_SCOPE_UNIVERSE, nl.RTN_UNICAST, 0)
        self.ask(nl.RTM_NEWROUTE, _NEW,
                 body + attribute(nl.RTA_GATEWAY, gateway.bytes) + _number(nl.RTA_OIF, index))
