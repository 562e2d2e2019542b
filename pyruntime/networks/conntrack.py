"""What the kernel remembers of flows: conntrack, through ctnetlink. Numbers: linux/netfilter/nfnetlink_conntrack.h.

A datagram's flow keeps the destination that it was given when it was new, as long as its client goes on sending. So
when a published port leads elsewhere from now on, or nowhere, the flows to it have to be forgotten. (A TCP client whose
container is gone opens a new connection.)
"""

from __future__ import annotations

import _socket
from errno import EINVAL, EOPNOTSUPP, EPROTONOSUPPORT

from pyruntime.errors import HostError
from pyruntime.networks.addresses import Address
from pyruntime.networks.netlink import NESTED, Connection, attribute, attributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

_NETLINK_NETFILTER = 12
_GET, _DELETE = 0x101, 0x102                # NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_*
_ORIGINAL, _REPLY, _ZONE = 1, 2, 18         # CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_ZONE
_IP, _PROTOCOL = 1, 2                       # CTA_TUPLE_IP, CTA_TUPLE_PROTO
_ADDRESSES = {_socket.AF_INET: (1, 2), _socket.AF_INET6: (3, 4)}    # CTA_IP_V4_SRC, CTA_IP_V4_DST, ...
_NUMBER, _TO_PORT = 1, 3                    # CTA_PROTO_NUM, CTA_PROTO_DST_PORT
_UDP = 17
# A kernel without nf_conntrack_netlink: its flows end when their clients pause for 30 seconds, or 120.
_ABSENT = (EINVAL, EOPNOTSUPP, EPROTONOSUPPORT)


def forget(ports: Sequence[dict[str, Any]], targets: dict[int, str]) -> None:
    """Forget flows to published UDP ports that lead to these addresses, by IP version, or to none. Raises HostError."""
    numbers = {port["port"] for port in ports if port["protocol"] == "udp"}
    if not numbers:
        return
    ours = {Address.parse(text).bytes for text in targets.values()}
    try:
        _forget(numbers, ours)
    except OSError as error:
        if error.errno not in _ABSENT:
            raise HostError(f"cannot make the kernel forget flows to published UDP ports: {error.strerror}") from None


def _forget(numbers: set[int], ours: set[bytes]) -> None:
    netlink = Connection(_NETLINK_NETFILTER)
    try:
        for family in _ADDRESSES:
            for flow in [*_flows(netlink, family, numbers, ours)]:
                try:
                    netlink.ask(_DELETE, 0, _message(family) + flow)
                except FileNotFoundError:
                    continue    # it was at its end
    finally:
        netlink.close()


def _message(family: int) -> bytes:
    return bytes((family, 0, 0, 0))     # nfgenmsg


def _flows(netlink: Connection, family: int, numbers: set[int], ours: set[bytes]) -> Iterator[bytes]:
    """What names each flow to one of the ports: attributes for a request."""
    source, destination = _ADDRESSES[family]
    for answer in netlink.dump(_GET, _message(family)):
        flow = attributes(answer[4:])
        original = attributes(flow[_ORIGINAL])
        protocol = attributes(original[_PROTOCOL])
        if protocol[_NUMBER][0] != _UDP or int.from_bytes(protocol[_TO_PORT], "big") not in numbers:
            continue
        # Who answers: a container, or who was asked, where nothing was translated when the flow began.
        answers = attributes(attributes(flow[_REPLY])[_IP])[source]
        if answers in ours or answers == attributes(original[_IP])[destination]:
            yield attribute(_ORIGINAL | NESTED, flow[_ORIGINAL]) + (
                attribute(_ZONE, flow[_ZONE]) if _ZONE in flow else b"")
