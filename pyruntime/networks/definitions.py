"""Definitions of networks, and their files.

    ROOT/networks/NAME.json    the record of a network (`bridge` is created when it is first needed)
    ROOT/networks/.lock        locked while networks are created or removed, and while addresses are taken or released
"""

from __future__ import annotations

import os

from pyruntime.errors import NoSuchNetwork, StateError, UsageError
from pyruntime.networks.addresses import Address, Subnet, routed
from pyruntime.networks.present import HOST, NONE
from pyruntime.system.files import forget, write
from pyruntime.system.names import check_name, new_id
from pyruntime.system.records import Record
from pyruntime.system.times import timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from pyruntime.networks.site import Site
    from pyruntime.system.locks import Lock

DEFAULT = "bridge"
RESERVED = (NONE, HOST, "container", "default", "slirp4netns", "pasta", "private")
# The first subnet that this host has no route to is used. Docker's are 172.17-31, libvirt's 192.168.122, Kubernetes'
# 10.96 and 10.244.
_FIRST = ("10.88.0.0/16", "10.98.0.0/16", "172.31.0.0/16", "10.188.0.0/16", "192.168.188.0/24")
_POOLS = ("10.89.0.0/16", "10.90.0.0/16", "10.189.0.0/16", "172.30.0.0/16", "192.168.0.0/16")   # a /24 for each network


class Network(Record):
    """One network.

    ``subnets``   {"subnet", "gateway", "range"}: at most one of each IP version, IPv4 first; addresses are taken from
                  the range, "": the whole subnet
    ``internal``  no traffic leaves or enters the network
    ``options``   {"mtu": "1400"}
    ``interface`` the name of its bridge
    """

    FIELDS = ("id", "name", "created", "subnets", "internal", "labels", "options", "interface")
    NEEDED = ("id", "name", "subnets")

    def __init__(self, **values: Any) -> None:
        self.id: str = ""
        self.name: str = ""
        self.created: str = ""
        self.subnets: list[dict[str, str]] = []
        self.internal: bool = False
        self.labels: dict[str, str] = {}
        self.options: dict[str, str] = {}
        self.interface: str = ""
        self._set(values)

    def subnet(self, version: int) -> dict[str, str] | None:
        """The subnet of this IP version."""
        return next((entry for entry in self.subnets if (":" in entry["subnet"]) == (version == 6)), None)

    @property
    def mac(self) -> bytes:
        """The MAC address of the bridge, which identifies the bridge as this network's."""
        return b"\x02\x50" + bytes.fromhex(self.id[:8])


def lock(site: Site) -> Lock:
    """The lock of networks, addresses and bridges."""
    return site.lock("networks")


def _path(site: Site, name: str) -> str:
    return f"{site.root}/networks/{name}.json"


def read(site: Site, name: str) -> Network | None:
    """The network with this name, or None."""
    return Network.read(_path(site, name),
                        "remove this file, and create the network again when no container runs in it")


def every(site: Site) -> Iterator[Network]:
    """All networks by name; `bridge` only after its first use."""
    try:
        names = sorted(os.listdir(f"{site.root}/networks"))
    except FileNotFoundError:
        return
    for name in names:
        if name.endswith(".json") and (network := read(site, name.removesuffix(".json"))):
            yield network


def find(site: Site, text: str) -> Network:
    """The network with a name, an ID or an ID's beginning; `bridge` is created. The caller holds the lock.

    Raises NoSuchNetwork.
    """
    name = DEFAULT if text in ("default", "") else text
    network = read(site, name) if "/" not in name else None
    if network:
        return network
    if name == DEFAULT:
        return make(site, DEFAULT)
    fitting = [network for network in every(site) if network.id.startswith(text)]
    if len(fitting) != 1:
        raise NoSuchNetwork(f'no such network: "{text}": see "pocker network ls", or create it with "pocker network'
                            f' create {text}"')
    return fitting[0]


def save(site: Site, network: Network) -> None:
    """Write the record."""
    site.below("networks")
    write(_path(site, network.name), network.encoded())


def make(site: Site, name: str, *, subnets: Sequence[str] = (), gateways: Sequence[str] = (),
         ranges: Sequence[str] = (), ipv6: bool = False, internal: bool = False, labels: dict[str, str] | None = None,
         options: dict[str, str] | None = None) -> Network:
    """Create a network; the caller holds the lock. Raises UsageError, StateError."""
    check_name(name)
    if name in RESERVED:
        raise UsageError(f'"{name}" cannot be the name of a network: --network gives it another meaning')
    if read(site, name):
        raise StateError(f'network "{name}" already exists: remove the network, or choose another name')
    network = Network(id=new_id(), name=name, created=timestamp(), internal=internal, labels=labels or {},
                      options=_options(options or {}))
    network.subnets = _subnets(site, network, [Subnet.parse(text, "--subnet") for text in subnets], ipv6=ipv6)
    for text in gateways:
        address = Address.parse(text, "--gateway")
        entry = _entry_of(network, address, "--gateway")
        entry["gateway"] = str(address)
    for text in ranges:
        part = Subnet.parse(text, "--ip-range")
        entry = _entry_of(network, part.at(0), "--ip-range")
        if part.prefix < Subnet.parse(entry["subnet"]).prefix:
            raise UsageError(f'--ip-range "{text}" is larger than the subnet {entry["subnet"]}')
        entry["range"] = str(part)
    network.interface = "pocker0" if name == DEFAULT else f"pocker-{network.id[:8]}"   # IFNAMSIZ: 15 letters
    save(site, network)
    site.event("create", network.id, name)
    return network


def _options(options: dict[str, str]) -> dict[str, str]:
    known = {"mtu": "mtu", "com.docker.network.driver.mtu": "mtu"}
    result = {}
    for name, value in options.items():
        if name not in known:
            raise UsageError(f'--opt "{name}" is not supported: the only option is mtu')
        if not value.isdecimal() or not 1280 <= int(value) <= 65535:
            raise UsageError(f'--opt "{name}={value}": write a number from 1280 to 65535')
        result[known[name]] = value
    return result


def _entry_of(network: Network, address: Address, flag: str) -> dict[str, str]:
    for entry in network.subnets:
        if address in Subnet.parse(entry["subnet"]):
            return entry
    there = ", ".join(entry["subnet"] for entry in network.subnets)
    raise UsageError(f'{flag} "{address}" is in no subnet of the network: the network has {there}')


def _subnets(site: Site, network: Network, wanted: list[Subnet], *, ipv6: bool) -> list[dict[str, str]]:
    taken = list(occupied(site))
    for subnet in wanted:
        if subnet.size < 4:
            raise UsageError(f'--subnet "{subnet}" is too small for a gateway and a container')
        for other, whose in taken:
            if subnet.overlaps(other):
                raise StateError(f'--subnet "{subnet}" overlaps with {other}, {whose}: choose another subnet')
    found = {subnet.version: subnet for subnet in wanted}
    if len(found) < len(wanted):
        raise UsageError("--subnet: a network can have one IPv4 subnet and one IPv6 subnet")
    if 4 not in found:
        found[4] = free_subnet(network.name, [subnet for subnet, _ in taken])
    if ipv6 and 6 not in found:
        # RFC 4193: a random global ID; the network's own is random.
        found[6] = Subnet(6, (0xfd << 120) | (int(network.id[:10], 16) << 80) | (int(network.id[10:14], 16) << 64), 64)
    return [{"subnet": str(found[version]), "gateway": str(found[version].at(1)), "range": ""}
            for version in sorted(found)]


def occupied(site: Site) -> Iterator[tuple[Subnet, str]]:
    """The subnets that a new one must not overlap, and their owners: networks, and routes of this host."""
    for network in every(site):
        for entry in network.subnets:
            yield Subnet.parse(entry["subnet"]), f'the subnet of network "{network.name}"'
    for subnet in routed():
        yield subnet, "to which this host has a route"


def free_subnet(name: str, taken: Sequence[Subnet]) -> Subnet:
    """An IPv4 subnet that overlaps none of them. Raises StateError."""
    candidates = [Subnet.parse(text) for text in _FIRST] if name == DEFAULT else []
    for text in _POOLS:
        pool = Subnet.parse(text)
        candidates += (Subnet(4, pool.base + (number << 8), 24) for number in range(pool.size >> 8))
    for candidate in candidates:
        if not any(candidate.overlaps(other) for other in taken):
            return candidate
    raise StateError("no free subnet: all default subnets overlap with other networks or with this host's"
                     " routes: choose a subnet with --subnet, or remove networks (\"pocker network prune\")")


def remove(site: Site, network: Network) -> None:
    """Remove a network that no container uses; the caller holds the lock. Raises StateError."""
    forget(_path(site, network.name))
    site.event("destroy", network.id, network.name)
