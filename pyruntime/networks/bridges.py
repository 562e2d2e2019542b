"""A network on the host: bridge, packet rules and sysctls. They are created with the network's first container and
removed with the last one.

    RUN/networks/up/NETWORK   JSON: the network's bridge and rules; the name server reads its addresses from here

The caller of every function holds the networks' lock.
"""

from __future__ import annotations

import errno
import os

from pyruntime.errors import HostError, StateError
from pyruntime.networks import definitions as networks
from pyruntime.networks import endpoints, forwarding
from pyruntime.networks import nftables as rules
from pyruntime.networks.addresses import Address, Subnet, routed
from pyruntime.networks.rtnetlink import Netlink
from pyruntime.system.files import forget, write
from pyruntime.system.records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.networks.definitions import Network
    from pyruntime.networks.rtnetlink import Link
    from pyruntime.networks.site import Site


class UpNetwork(Record):
    """A network that is up.

    ``interface``  the name of its bridge
    ``internal``   as the network's
    ``gateways``   the bridge's addresses
    ``opened``     program and chain of each firewall that was told to let its packets through
    """

    FIELDS = ("interface", "internal", "gateways", "opened")
    NEEDED = ("interface", "gateways")

    def __init__(self, **values: Any) -> None:
        self.interface: str = ""
        self.internal: bool = False
        self.gateways: list[str] = []
        self.opened: list[Any] = []
        self._set(values)


def directory(site: Site) -> str:
    """The directory with a file for each network that is up."""
    return f"{site.run}/networks/up"


def up(site: Site) -> list[str]:
    """The names of the networks that are up."""
    try:
        return [name for name in os.listdir(directory(site)) if not name.endswith(".new")]
    except FileNotFoundError:
        return []


def read(site: Site, name: str) -> UpNetwork | None:
    """The record of a network that is up. Raises RecordError."""
    return UpNetwork.read(f"{directory(site)}/{name}", 'write it again with "pocker network reload"')


def raise_up(site: Site, netlink: Netlink, network: Network, *, replace: bool = False) -> Link:
    """Create a network's bridge and rules unless they exist, or ``replace`` them; returns the bridge.

    Raises HostError.
    """
    link = _ours(netlink, network)
    if link and not replace and os.path.exists(f"{directory(site)}/{network.name}"):
        return link
    site.below_run("networks", "up")
    state = UpNetwork(interface=network.interface, internal=network.internal,
                      gateways=[entry["gateway"] for entry in network.subnets])
    write(f"{directory(site)}/{network.name}", state.encoded())
    try:
        rebuild(site, network)
        if not network.internal:
            forwarding.allow(site, ipv6=network.subnet(6) is not None)
            state.opened = rules.droppers()
            if state.opened:
                write(f"{directory(site)}/{network.name}", state.encoded())
            for program, chain in state.opened:
                rules.let_in(program, chain, network.interface, add=True)
        return link or _make(netlink, network)
    except BaseException:
        if link is None or not endpoints.used(site, network.name):   # the requesting container has its address already
            take_down(site, network.name)
        raise


def _ours(netlink: Netlink, network: Network) -> Link | None:
    link = netlink.link(network.interface)
    return link if link and link.kind == "bridge" and link.mac == network.mac else None


def find_room(site: Site, network: Network) -> None:
    """The name of the bridge and the subnet of a network that is not up must be free; the default network chooses
    others if they are taken: no container uses it at that time. Raises StateError."""
    if endpoints.used(site, network.name):
        return
    netlink = Netlink()
    try:
        if _ours(netlink, network):
            return
        foreign = netlink.link(network.interface) is not None
        number = 0
        while foreign and netlink.link(f"pocker{number}"):
            number += 1
    finally:
        netlink.close()
    taken = list(routed())
    collisions = [(entry["subnet"], other) for entry in network.subnets for other in taken
                  if Subnet.parse(entry["subnet"]).overlaps(other)]
    if not collisions and not foreign:
        return
    if network.name != networks.DEFAULT:
        if foreign:
            raise StateError(f'network "{network.name}" cannot use the bridge name "{network.interface}": another'
                             " interface of the host has that name; remove one of them")
        raise StateError(f'the subnet {collisions[0][0]} of network "{network.name}" overlaps with {collisions[0][1]},'
                         " to which this host has a route: create the network again with another --subnet")
    if foreign:
        network.interface = f"pocker{number}"
    if collisions:
        others = [Subnet.parse(entry["subnet"]) for other in networks.every(site) if other.name != network.name
                  for entry in other.subnets]
        subnet = networks.free_subnet(network.name, taken + others)
        network.subnets[0] = {"subnet": str(subnet), "gateway": str(subnet.at(1)), "range": ""}
    networks.save(site, network)


def mtu_of(network: Network) -> int:
    """The MTU that the network sets, or that of the default route's interface."""
    if network.options.get("mtu"):
        return int(network.options["mtu"])
    try:
        with open("/proc/net/route", encoding="ascii") as file:
            for line in file:
                words = line.split()
                if words[1] == "00000000" and words[7] == "00000000":
                    with Interface(words[0]) as link:
                        return link.mtu if link else 1500
    except FileNotFoundError:
        pass   # a kernel without IPv4
    return 1500


class Interface:
    """Look up an interface by name: ``with Interface("eth0") as link``. /sys/class/net shows the network namespace in
    which it was mounted, so it is not used."""

    def __init__(self, name: str) -> None:
        self._netlink = Netlink()
        self._name = name

    def __enter__(self) -> Link | None:
        return self._netlink.link(self._name)

    def __exit__(self, *_: object) -> None:
        self._netlink.close()


def _make(netlink: Netlink, network: Network) -> Link:
    try:
        netlink.add_bridge(network.interface, network.mac, mtu_of(network))
    except OSError as error:
        kernel = ": the kernel has no bridges (load the module bridge)" if error.errno == errno.EOPNOTSUPP else ""
        raise HostError(f'cannot create the bridge "{network.interface}": {error.strerror}{kernel}') from None
    link = netlink.link(network.interface)
    if link is None:
        raise HostError(f'the bridge "{network.interface}" disappeared during its creation')
    try:
        if os.path.isdir("/proc/sys/net/ipv6"):
            # A container could redirect the host's packets with router advertisements (CVE-2020-10749).
            forwarding.put(f"ipv6/conf/{network.interface}/accept_ra", "0")
            if network.subnet(6) is None:
                forwarding.put(f"ipv6/conf/{network.interface}/disable_ipv6", "1")
        for entry in network.subnets:
            netlink.add_address(link.index, Address.parse(entry["gateway"]), Subnet.parse(entry["subnet"]))
        netlink.set_up(link.index)
    except OSError as error:
        raise HostError(f'cannot set the bridge "{network.interface}" up: {error.strerror}') from None
    return link


def rebuild(site: Site, network: Network) -> None:
    """Rebuild the network's packet rules, with the published ports of all its containers."""
    text = rules.table(network)
    for endpoint in endpoints.every(site):
        entry = endpoint.publisher()
        if entry and entry["network"] == network.name and endpoint.pid:
            text += rules.elements(network.interface, endpoint.ports, endpoint.targets(), add=True)
    rules.apply(text)


def take_down(site: Site, name: str) -> None:
    """Remove the bridge and rules of a network that no container uses; after the last network, the host's sysctls are
    restored."""
    state = read(site, name)
    if state is None:
        return
    netlink = Netlink()
    try:
        link = netlink.link(state.interface)
        if link and link.kind == "bridge":
            netlink.remove(state.interface)
    finally:
        netlink.close()
    for program, chain in state.opened:
        rules.let_in(program, chain, state.interface, add=False)
    if rules.possible():
        rules.apply(rules.without(state.interface))
    forget(f"{directory(site)}/{name}")
    if not up(site):
        forwarding.restore(site)
