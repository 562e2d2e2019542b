"""Packet rules: an nftables table for each network that is up, ``inet INTERFACE``. nft(8).

* From the network outwards everything may go, behind the host's address. Into it comes what answers, and what is for
  published ports; so two networks do not reach each other. From the host itself everything may come: that is not
  forwarded.
* A published port is a map's element: host address, protocol and port to a container's address and port. It is looked
  up for packets that come from elsewhere, and for our own host's that are not for a loopback address. The proxy carries
  the others (pyruntime/native/proxy/proxy.c): for loopback addresses, so route_localnet stays off; and those from the
  network itself, which would have to go back through the port of the bridge that they came by (hairpin mode).

Each change is one transaction of nft's. No table of anybody else is touched.
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
    """Have nft make the changes, all or none. Raises HostError, PyruntimeError."""
    status, _, messages = run(_nft(), ["-f", "-"], text)
    if status:
        raise PyruntimeError(f"nft: the packet rules were refused: {_first(messages)}")


def possible() -> bool:
    """Whether there is a program that can make rules; without it a network never comes up, and has none."""
    return bool(where_is("nft"))


def _nft() -> str:
    return needed("nft", "nftables", "sets the packet rules of networks")


def _first(messages: str) -> str:
    """What nft says, without the lines that it shows."""
    for line in messages.splitlines():
        if "rror: " in line:
            return line.partition("rror: ")[2]
    return messages.strip() or "it does not say why"


def table(network: Network) -> str:
    """What makes the network's table anew, whatever was there."""
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
    """What removes a network's table; none is fine."""
    return f"add table inet {interface}\ndelete table inet {interface}\n"


def elements(interface: str, ports: Sequence[dict[str, Any]], targets: dict[int, str], *, add: bool) -> str:
    """What adds or removes published ports, which go to these addresses by IP version.

    Ports of loopback addresses are the proxy's alone; so is what comes by IPv6 for a container that has none.
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
    """Whether there is a table of this name. Raises HostError."""
    return run(_nft(), ["list", "table", "inet", interface])[0] == 0


def droppers() -> list[list[str]]:
    """Who drops what is forwarded unless their rules accept it, as Docker and ufw set it up: the iptables program that
    speaks to them, and the chain to be let in by. An accept in our table does not help against a drop in another.

    Docker leaves its chain DOCKER-USER to the rules of others.
    """
    found = []
    status, text, _ = run(_nft(), ["list", "chain", "ip", "filter", "FORWARD"])
    if not status and "policy drop" in text:
        found.append(["iptables", "DOCKER-USER" if "DOCKER-USER" in text else "FORWARD"])
    try:
        with open("/proc/net/ip_tables_names", encoding="ascii") as file:
            old = "filter" in file.read().split()
    except OSError:
        old = False   # a kernel without the iptables of old
    if old and (path := where_is("iptables-legacy")):
        text = run(path, ["-w", "-S", "FORWARD"])[1]
        if "-P FORWARD DROP" in text:
            found.append(["iptables-legacy", "DOCKER-USER" if "DOCKER-USER" in text else "FORWARD"])
    return found


def let_in(program: str, chain: str, interface: str, *, add: bool) -> None:
    """Accept what is forwarded from and to the bridge in that chain, or take that back. Raises HostError."""
    path = needed(program, "iptables", "lets packets through the firewall of this host")
    for side in ("-i", "-o"):
        rule = [chain, side, interface, "-j", "ACCEPT"]
        if (run(path, ["-w", "-C", *rule])[0] == 0) == add:
            continue
        status, _, messages = run(path, ["-w", "-I" if add else "-D", *rule])
        if status:
            raise HostError(f"{program} {'-I' if add else '-D'} {' '.join(rule)}: {messages.strip()}")
