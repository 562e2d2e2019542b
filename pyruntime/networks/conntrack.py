"""Forget flows of connection tracking (conntrack), through ctnetlink.

A flow of datagrams keeps its first destination as long as the client goes on sending. So when a published port moves to
another container, or is closed, its flows must be forgotten. (A TCP client whose container is gone opens a new
connection.)
"""

from __future__ import annotations

import _socket
from errno import EINVAL, EOPNOTSUPP, EPROTONOSUPPORT

from pyruntime.errors import HostError
from pyruntime.networks.addresses import Address
from pyruntime.networks.netlink import Connection, attribute, attributes
from pyruntime.system import uapi_netlink as nl
from pyruntime.system.uapi import IPPROTO_UDP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

_GET, _DELETE = (nl.NFNL_SUBSYS_CTNETLINK << 8 | kind for kind in (nl.IPCTNL_MSG_CT_GET, nl.IPCTNL_MSG_CT_DELETE))
_ADDRESSES = {_socket.AF_INET: (nl.CTA_IP_V4_SRC, nl.CTA_IP_V4_DST),
              _socket.AF_INET6: (nl.CTA_IP_V6_SRC, nl.CTA_IP_V6_DST)}
# A kernel without nf_conntrack_netlink: flows end after their clients have paused for 30 or 120 seconds.
_ABSENT = (EINVAL, EOPNOTSUPP, EPROTONOSUPPORT)


def forget(ports: Sequence[dict[str, Any]], targets: dict[int, str]) -> None:
    """Forget flows to published UDP ports whose destinations are these addresses, by IP version, or not translated.
    Raises HostError."""
    numbers = {port["port"] for port in ports if port["protocol"] == "udp"}
    if not numbers:
        return
    ours = {Address.parse(text).bytes for text in targets.values()}
    try:
        _forget(numbers, ours)
    except OSError as error:
        if error.errno not in _ABSENT:
            raise HostError(f"cannot remove tracked flows to published UDP ports: {error.strerror}") from None


def _forget(numbers: set[int], ours: set[bytes]) -> None:
    netlink = Connection(nl.NETLINK_NETFILTER)
    try:
        for family in _ADDRESSES:
            for flow in [*_flows(netlink, family, numbers, ours)]:
                try:
                    netlink.ask(_DELETE, 0, _message(family) + flow)
                except FileNotFoundError:
                    continue    # the flow has just ended
    finally:
        netlink.close()


def _message(family: int) -> bytes:
    return bytes((family, 0, 0, 0))     # nfgenmsg


def _flows(netlink: Connection, family: int, numbers: set[int], ours: set[bytes]) -> Iterator[bytes]:
    """The attributes that identify each flow to one of the ports, for a request."""
    source, destination = _ADDRESSES[family]
    for answer in netlink.dump(_GET, _message(family)):
        flow = attributes(answer[4:])
        original = attributes(flow[nl.CTA_TUPLE_ORIG])
        protocol = attributes(original[nl.CTA_TUPLE_PROTO])
        if protocol[nl.CTA_PROTO_NUM][0] != IPPROTO_UDP:   # ICMP, for example, has no ports
            continue
        if int.from_bytes(protocol[nl.CTA_PROTO_DST_PORT], "big") not in numbers:
            continue
        # The answering address: a container's, or the original destination if nothing was translated when the flow
        # began.
        answers = attributes(attributes(flow[nl.CTA_TUPLE_REPLY])[nl.CTA_TUPLE_IP])[source]
        if answers in ours or answers == attributes(original[nl.CTA_TUPLE_IP])[destination]:
            yield attribute(nl.CTA_TUPLE_ORIG | nl.NLA_F_NESTED, flow[nl.CTA_TUPLE_ORIG]) + (
                attribute(nl.CTA_ZONE, flow[nl.CTA_ZONE]) if nl.CTA_ZONE in flow else b"")
