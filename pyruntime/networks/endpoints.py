"""The endpoints of containers: addresses, interfaces and published ports.

    RUN/networks/containers/ID            a container's endpoint: JSON, see Endpoint
    RUN/networks/leases/NETWORK/ADDRESS   a symbolic link to the ID of the container that has the address
    RUN/networks/leases/NETWORK/.last     the address that was assigned last

Endpoints, like interfaces, do not outlive a reboot. They are changed under the networks' lock.
"""

from __future__ import annotations

import os

from pyruntime.errors import StateError
from pyruntime.networks.addresses import Address, Subnet
from pyruntime.system.files import forget, write
from pyruntime.system.processes import alive
from pyruntime.system.records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyruntime.networks.definitions import Network
    from pyruntime.networks.site import Site


class Endpoint(Record):
    """A container's endpoint in its networks.

    ``names``   the names for other containers: its name, short ID and host name
    ``pid``     the container's init process, after `attach`
    ``joined``  {"network", "interface" (the bridge), "ip", "ip6", "mac", "link" (on the host), "inside", "aliases",
                "gateway", "gateway6", "prefix", "prefix6", "internal"}
    ``ports``   {"host", "port", "to", "protocol"}: bound ports; an entry for each IP version
    ``proxy``   pid and start time of the process that holds the ports
    ``dns``     name servers instead of the host's
    ``links``   the container's own names for other containers, and their short IDs
    ``outside`` the program that connects it, for a container without root; and ``helper``, its pid and start time
    ``owner``   pid and start time of the process with which it goes, for a step of a build; [0, 0] for a container
    """

    FIELDS = ("id", "names", "pid", "joined", "ports", "proxy", "dns", "outside", "helper", "owner", "links")
    NEEDED = ("id", "joined")

    def __init__(self, **values: Any) -> None:
        self.id: str = ""
        self.names: list[str] = []
        self.pid: int = 0
        self.joined: list[dict[str, Any]] = []
        self.ports: list[dict[str, Any]] = []
        self.proxy: list[int] = [0, 0]
        self.dns: list[str] = []
        self.outside: str = ""
        self.helper: list[int] = [0, 0]
        self.owner: list[int] = [0, 0]
        self.links: dict[str, str] = {}
        self._set(values)

    def publisher(self) -> dict[str, Any] | None:
        """The network of the published ports: the first network that is not internal."""
        return next((entry for entry in self.joined if not entry["internal"]), None)

    def targets(self) -> dict[int, str]:
        """The destination of published ports: an address by IP version."""
        if self.outside:   # the proxy is in the container's network namespace
            return {4: "127.0.0.1"}
        entry = self.publisher() or {"ip": "", "ip6": ""}
        return {version: address for version, address in ((4, entry["ip"]), (6, entry["ip6"])) if address}

    def of_a_build(self) -> bool:
        """Whether the endpoint belongs to a step of a running build."""
        return alive(*self.owner)

    def in_network(self, name: str) -> dict[str, Any] | None:
        """The entry of this network, or None."""
        return next((entry for entry in self.joined if entry["network"] == name), None)


def directory(site: Site) -> str:
    """The directory of endpoints."""
    return f"{site.run}/networks/containers"


def save(site: Site, endpoint: Endpoint) -> None:
    """Write it down."""
    site.below_run("networks", "containers")
    write(f"{directory(site)}/{endpoint.id}", endpoint.encoded())


def read(site: Site, container_id: str) -> Endpoint | None:
    """The container's endpoint, or None."""
    return Endpoint.read(f"{directory(site)}/{container_id}", "stop the container, and remove this file")


def drop(site: Site, container_id: str) -> None:
    """Forget it, with what a process was writing when it was killed."""
    for name in os.listdir(directory(site)):
        if name.startswith(f"{container_id}."):
            forget(f"{directory(site)}/{name}")
    forget(f"{directory(site)}/{container_id}")


def identifiers(site: Site) -> list[str]:
    """The IDs of the containers with an endpoint."""
    try:
        return sorted(name for name in os.listdir(directory(site)) if len(name) == 64)
    except FileNotFoundError:
        return []


def every(site: Site) -> Iterator[Endpoint]:
    """All endpoints."""
    for container_id in identifiers(site):
        if endpoint := read(site, container_id):
            yield endpoint


# --- addresses --------------------------------------------------------------------------------------------------------


def _leases(site: Site, network: str) -> str:
    return f"{site.run}/networks/leases/{network}"


def leased(site: Site, network: str) -> dict[str, str]:
    """The taken addresses of a network, and their owners' IDs."""
    path = _leases(site, network)
    try:
        return {name: os.readlink(f"{path}/{name}") for name in os.listdir(path) if name[0] != "."}
    except FileNotFoundError:
        return {}


def used(site: Site, network: str) -> bool:
    """Whether a container has an address of this network."""
    try:
        return any(name[0] != "." for name in os.listdir(_leases(site, network)))
    except FileNotFoundError:
        return False


def lease(site: Site, network: Network, version: int, container_id: str, wanted: str = "") -> str:
    """Take an address of the network for a container; "" if the network has no subnet of this IP version.

    The search starts after the last assigned address, so that an address stays unused as long as possible before
    another container gets it. Raises UsageError, StateError.
    """
    entry = network.subnet(version)
    if entry is None:
        if wanted:
            raise StateError(f'--ip{"6" if version == 6 else ""} "{wanted}": network "{network.name}" has no subnet of'
                             f" IPv{version}")
        return ""
    subnet = Subnet.parse(entry["subnet"])
    path = site.below_run("networks", "leases", network.name)
    if wanted:
        address = Address.parse(wanted, "--ip")
        first, last = subnet.hosts()
        if address not in subnet or not first <= address.value <= last:
            raise StateError(f'address "{wanted}" is not available to containers of network "{network.name}": its'
                             f" subnet is {subnet}")
        if str(address) == entry["gateway"] or not _take(path, str(address), container_id):
            owner = leased(site, network.name).get(str(address), "")
            raise StateError(f'address "{wanted}" of network "{network.name}" is taken by'
                             f" {f'container {owner[:12]}' if owner else 'its gateway'}: choose another address")
        return str(address)
    first, last = (Subnet.parse(entry["range"]) if entry["range"] else subnet).hosts()
    mark = f"{path}/.last{version}"
    try:
        before = Address.parse(os.readlink(mark)).value
    except FileNotFoundError:
        before = first - 1
    start = before + 1 if first <= before + 1 <= last else first
    taken = {*os.listdir(path), entry["gateway"]}
    for number in range(min(last - first + 1, len(taken) + 1)):
        text = str(Address(version, first + (start - first + number) % (last - first + 1)))
        if text not in taken and _take(path, text, container_id):
            forget(mark)
            os.symlink(text, mark)
            return text
    raise StateError(f'network "{network.name}" has no free IPv{version} address ({last - first + 1} in use):'
                     " remove containers, or create a network with a larger --subnet")


def _take(path: str, address: str, container_id: str) -> bool:
    try:
        os.symlink(container_id, f"{path}/{address}")
    except FileExistsError:
        return False
    return True


def give_back(site: Site, network: str, container_id: str) -> None:
    """Release all addresses of a container in a network, even if the process that took an address was killed before it
    wrote the container's endpoint. The caller holds the networks' lock."""
    for address, owner in leased(site, network).items():
        if owner == container_id:
            forget(f"{_leases(site, network)}/{address}")


def forget_lost(site: Site) -> None:
    """Release the addresses of containers without an endpoint: they were killed between the two steps."""
    try:
        networks = os.listdir(f"{site.run}/networks/leases")
    except FileNotFoundError:
        return
    for network in networks:
        for owner in set(leased(site, network).values()):
            if not os.path.exists(f"{directory(site)}/{owner}"):
                give_back(site, network, owner)
