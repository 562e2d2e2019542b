"""Packet rules: an nftables table for each network that is up, ``inet INTERFACE``. nft(8).

* Outgoing traffic of the network is allowed, with the host's address as its source. Incoming traffic is allowed if it
  answers, or is for published ports; so two networks do not reach each other. Traffic from the host itself is allowed:
  it is not forwarded.
* A published port is a map's element: host address, protocol and port to a container's address and port. It is looked
  up for packets from other hosts, and for the host's own packets that are not for a loopback address. The proxy
  forwards the others (pyruntime/native/proxy/proxy.c): packets for loopback addresses, so route_localnet stays off; and
  packets from the network itself, which would have to leave the bridge through the port that they came in by (hairpin
  mode).

Each change is one transaction of nft. Tables of other programs are not touched.
"""

from __future__ import annotations

from pyruntime.errors import HostError, PyruntimeError
from pyruntime.system.programs import needed, run, where_is

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyruntime.networks.definitions import Network

_PUBLISHED = """
  map any4 {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
  map any6 {{ type inet_proto . inet_service : ipv6_addr . inet_service; }}
  map one4 {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }}
  map one6 {{ type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }}
  chain published {{
    dnat ip to ip daddr . meta l4proto . th dport map @one4
    dnat ip to meta l4proto . th dport map @any4
    dnat ip6 to ip6 daddr . meta l4proto . th dport map @one6
    dnat ip6 to meta l4proto . th dport map @any6
  }}
  chain prerouting {{
    type nat hook prerouting priority -100; policy accept;
    iifname != "{interface}" fib daddr type local jump published
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    ip daddr != 127.0.0.0/8 fib daddr type local jump published
    ip6 daddr != ::1 fib daddr type local jump published
  }}
  chain postrouting {{
    type nat hook postrouting priority 100; policy accept;{masquerade}
  }}"""
_MASQUERADE = """
    {ip} saddr {subnet} oifname != "{interface}" masquerade"""
_FORWARD = """
  chain forward {{
    type filter hook forward priority 0; policy accept;
    oifname "{interface}" iifname "{interface}" accept{rest}
    oifname "{interface}" drop
  }}"""
_OPEN = """
    oifname "{interface}" ct state established,related accept
    oifname "{interface}" ct status dnat accept"""
_INTERNAL = """
    iifname "{interface}" drop"""


def apply(text: str) -> None:
    """Apply the changes with nft, all or none. Raises HostError, PyruntimeError."""
    status, _, messages = run(_nft(), ["-f", "-"], text)
    if status:
        raise PyruntimeError(f"nft: the kernel refused the packet rules: {_first(messages)}")


def possible() -> bool:
    """Whether nft is installed; without nft, no network comes up."""
    return bool(where_is("nft"))


def _nft() -> str:
    return needed("nft", "nftables", "sets the packet rules of networks")


def _first(messages: str) -> str:
    """The messages of nft, without the quoted lines."""
    for line in messages.splitlines():
        if "rror: " in line:
            return line.partition("rror: ")[2]
    return messages.strip() or "no reason is given"


def table(network: Network) -> str:
    """The commands that create the network's table, or replace it."""
    interface = network.interface
    masquerade = "".join(
        _MASQUERADE.format(ip="ip6" if ":" in entry["subnet"] else "ip", subnet=entry["subnet"], interface=interface)
        for entry in network.subnets)
    inner = _FORWARD.format(interface=interface, rest=(_INTERNAL if network.internal else _OPEN).format(
        interface=interface))
    if not network.internal:
        inner += _PUBLISHED.format(interface=interface, masquerade=masquerade)
    return f"add table inet {interface}\ndelete table inet {interface}\ntable inet {interface} {{{inner}\n}}\n"


def without(interface: str) -> str:
    """The commands that remove a network's table; a missing table is no error."""
    return f"add table inet {interface}\ndelete table inet {interface}\n"


def elements(interface: str, ports: Sequence[dict[str, Any]], targets: dict[int, str], *, add: bool) -> str:
    """The commands that add or remove published ports, with these destinations by IP version.

    Only the proxy forwards ports of loopback addresses, and IPv6 traffic for a container without an IPv6 address.
    """
    text = ""
    for port in ports:
        address = port["host"]
        version = 6 if ":" in address else 4
        if version not in targets or address.startswith("127.") or address == "::1":
            continue
        anywhere = address in ("0.0.0.0", "::")
        key = f"{port['protocol']} . {port['port']}" if anywhere else f"{address} . {port['protocol']} . {port['port']}"
        where = f"element inet {interface} {'any' if anywhere else 'one'}{version}"
        target = f"{targets[version]} . {port['to']}"
        text += f"add {where} {{ {key} : {target} }}\n" if add else f"delete {where} {{ {key} }}\n"
    return text


def exists(interface: str) -> bool:
    """Whether a table with this name exists. Raises HostError."""
    return run(_nft(), ["list", "table", "inet", interface])[0] == 0


def droppers() -> list[list[str]]:
    """The firewalls that drop forwarded packets unless their own rules accept them, as those of Docker and ufw: the
    iptables program for their rules, and the chain for an accept rule.

    An accept in our table does not override a drop in another table. Docker reserves its chain DOCKER-USER for rules of
    others.
    """
    found = []
    status, text, _ = run(_nft(), ["list", "chain", "ip", "filter", "FORWARD"])
    if not status and "policy drop" in text:
        found.append(["iptables", "DOCKER-USER" if "DOCKER-USER" in text else "FORWARD"])
    try:
        with open("/proc/net/ip_tables_names", encoding="ascii") as file:
            old = "filter" in file.read().split()
    except OSError:
        old = False   # a kernel without legacy iptables
    if old and (path := where_is("iptables-legacy")):
        text = run(path, ["-w", "-S", "FORWARD"])[1]
        if "-P FORWARD DROP" in text:
            found.append(["iptables-legacy", "DOCKER-USER" if "DOCKER-USER" in text else "FORWARD"])
    return found


def let_in(program: str, chain: str, interface: str, *, add: bool) -> None:
    """Accept packets that are forwarded from and to the bridge in that chain, or remove the rules. Raises HostError."""
    path = needed(program, "iptables", "opens the host's firewall for packets of containers")
    for side in ("-i", "-o"):
        rule = [chain, side, interface, "-j", "ACCEPT"]
        if (run(path, ["-w", "-C", *rule])[0] == 0) == add:
            continue
        status, _, messages = run(path, ["-w", "-I" if add else "-D", *rule])
        if status:
            raise HostError(f"{program} {'-I' if add else '-D'} {' '.join(rule)}: {messages.strip()}")
