"""Connect a container to its networks and disconnect it.

    reserve     before the container is created: addresses and ports, which are recorded
    attach      when its network namespace exists: interfaces, rules, proxy
    detach      after its end: undo whatever has been done; may be called twice
    join, connect, disconnect   for another network of a running container
    sweep       remove the remains of killed processes
"""

from __future__ import annotations

import os

from pyruntime.errors import HostError, PyruntimeError, StateError, UsageError
from pyruntime.networks import bridges, endpoints, forwarding, ports
from pyruntime.networks import definitions as networks
from pyruntime.networks import dns_process as names
from pyruntime.networks import nftables as rules
from pyruntime.networks import slirp as outside
from pyruntime.networks.addresses import Address, Subnet
from pyruntime.networks.definitions import DEFAULT
from pyruntime.networks.endpoints import Endpoint
from pyruntime.networks.rtnetlink import Netlink
from pyruntime.system import kernel
from pyruntime.system.processes import kill
from pyruntime.system.uapi import CLONE_NEWNET
from pyruntime.system.user_namespace import privileged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from pyruntime.networks.definitions import Network
    from pyruntime.networks.ports import Bound
    from pyruntime.networks.rtnetlink import Link
    from pyruntime.networks.site import Site

NEED_ROOT = ("networks between containers need root; without root there are pasta, slirp4netns, none, host and"
             " container:ID")


class EndpointConfig:
    """The networks that a container asks for.

    ``id``, ``names``, ``dns``, ``links``, ``owner``   as its Endpoint has them
    ``networks``   {"name", "ip", "ip6", "mac", "aliases"} of each network; the last four may be missing, "" or [];
                   an empty list is the default network
    ``ports``      the ports to publish, as returned by `ports.wanted`
    """

    __slots__ = ("dns", "id", "links", "names", "networks", "owner", "ports")

    def __init__(self, id: str, names: Sequence[str], networks: Sequence[dict[str, Any]] = (), *,
                 ports: Sequence[dict[str, Any]] = (), dns: Sequence[str] = (), links: dict[str, str] | None = None,
                 owner: Sequence[int] = (0, 0)) -> None:
        self.id = id
        self.names = list(names)
        self.networks = list(networks)
        self.ports = list(ports)
        self.dns = list(dns)
        self.links = links or {}
        self.owner = list(owner)

    def endpoint(self, pid: int = 0) -> Endpoint:
        """An endpoint without networks."""
        return Endpoint(id=self.id, names=self.names, dns=self.dns, links=self.links, owner=self.owner, pid=pid)


class Reservation:
    """The reservations of a container: its ``endpoint``, and ``bound``, the sockets of its published ports, until they
    are passed to the proxy."""

    __slots__ = ("bound", "endpoint", "site")

    def __init__(self, site: Site, endpoint: Endpoint) -> None:
        self.site = site
        self.endpoint = endpoint
        self.bound: list[Bound] = []


def reserve(site: Site, config: EndpointConfig) -> Reservation:
    """Choose addresses and ports. Raises UsageError, StateError, HostError; then `detach` undoes what has been done."""
    reservation = Reservation(site, config.endpoint())
    endpoint = reservation.endpoint
    _enrol(site, endpoint, config.networks)
    if config.ports and endpoint.targets():
        reservation.bound = ports.bind(site, config.ports)
        endpoint.ports = [one.document() for one in reservation.bound]
    return reservation


def _enrol(site: Site, endpoint: Endpoint, wanted: Sequence[dict[str, Any]]) -> None:
    """Take addresses in networks; without root, choose the program that connects the container."""
    if not privileged():
        endpoint.outside = outside.choose(_program(wanted))
        endpoints.save(site, endpoint)
        return
    with networks.lock(site):
        for entry in wanted or [{"name": DEFAULT}]:
            join(site, endpoint, networks.find(site, entry["name"]), entry)
        # Now, so that the name server starts while the container is being created.
        _raise(site, [entry["network"] for entry in endpoint.joined])
    names.ensure(site)


def _program(wanted: Sequence[dict[str, Any]]) -> str:
    """The program that a rootless user chooses with --network; "" for any. Raises HostError."""
    for entry in wanted:
        if entry["name"] not in (outside.PASTA, outside.SLIRP, DEFAULT):
            raise HostError(f'--network "{entry["name"]}": {NEED_ROOT}')
    return "" if not wanted or wanted[0]["name"] == DEFAULT else str(wanted[0]["name"])


def join(site: Site, endpoint: Endpoint, network: Network, wanted: dict[str, Any]) -> dict[str, Any]:
    """Take addresses of a network; ``wanted`` is as in EndpointConfig.networks. The caller holds the networks' lock.
    Returns the endpoint's entry. Raises StateError, UsageError."""
    if endpoint.in_network(network.name):
        raise StateError(f'the container is already connected to network "{network.name}"')
    bridges.find_room(site, network)
    number = _free_number(endpoint)
    entry: dict[str, Any] = {
        "network": network.name, "interface": network.interface, "internal": network.internal, "ip": "", "ip6": "",
        "link": f"pk{endpoint.id[:10]}.{number}", "inside": f"eth{number}", "aliases": wanted.get("aliases") or []}
    endpoint.joined.append(entry)
    # Recorded before an address is taken: then the address is released even if we are killed.
    endpoints.save(site, endpoint)
    for version, key in ((4, ""), (6, "6")):
        subnet = network.subnet(version)
        entry[f"ip{key}"] = endpoints.lease(site, network, version, endpoint.id, wanted.get(f"ip{key}") or "")
        entry[f"gateway{key}"] = subnet["gateway"] if subnet else ""
        entry[f"subnet{key}"] = subnet["subnet"] if subnet else ""
    entry["mac"] = _mac(wanted.get("mac") or "", entry["ip"])
    endpoints.save(site, endpoint)
    return entry


def _free_number(endpoint: Endpoint) -> int:
    taken = {entry["inside"] for entry in endpoint.joined}
    return next(number for number in range(len(taken) + 1) if f"eth{number}" not in taken)


def _mac(wanted: str, address: str) -> str:
    if not wanted:   # as unique in the network as the IP address; and neighbours' ARP entries of the address stay valid
        return "02:50:" + Address.parse(address).bytes.hex(":")
    parts = wanted.replace("-", ":").split(":")
    try:
        data = bytes(int(part, 16) for part in parts)
    except ValueError:
        data = b""
    if len(data) != 6 or data[0] & 1 or not any(data):
        raise UsageError(f'--mac-address "{wanted}": write six bytes such as 02:50:0a:01:02:03, the first one even')
    return data.hex(":")


# --- attach -----------------------------------------------------------------------------------------------------------


def attach(reservation: Reservation, pid: int) -> None:
    """Set up the reserved interfaces, rules and ports for the network namespace of a process, the container's init.
    Raises HostError, StateError, PyruntimeError."""
    endpoint, site = reservation.endpoint, reservation.site
    endpoint.pid = pid
    if endpoint.outside:
        outside.start(endpoint)
        endpoints.save(site, endpoint)
    else:
        _plug(site, endpoint, endpoint.joined)
    if reservation.bound:
        ports.start_proxy(endpoint, reservation.bound)
        endpoints.save(site, endpoint)   # before anything else can fail: `detach` must know the proxy
        ports.release(reservation.bound)
        reservation.bound = []
        _publish(site, endpoint)
    else:
        endpoints.save(site, endpoint)


def _plug(site: Site, endpoint: Endpoint, entries: Sequence[dict[str, Any]]) -> None:
    """Create the interfaces of a running container."""
    namespace = os.open(f"/proc/{endpoint.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    host = Netlink()
    try:
        with networks.lock(site):
            links = _raise(site, [entry["network"] for entry in entries])
        # For interfaces that are created next. A neighbour could pretend to be the router (CVE-2020-10749).
        ipv6 = any(entry["ip6"] for entry in entries)
        inside = _visit(namespace, [("ipv6/conf/default/accept_ra", "0"),
                                    ("ipv6/conf/default/disable_ipv6", "0" if ipv6 else "1")])
        try:
            routed = {version for version in (4, 6) for entry in endpoint.joined
                      if entry not in entries and _leads_out(entry, version)}
            for entry, bridge in zip(entries, links, strict=True):
                host.remove(entry["link"])   # left by a process that was killed
                host.add_veth(entry["link"], bridge.index, bridge.mtu, peer=entry["inside"],
                              peer_mac=bytes.fromhex(entry["mac"].replace(":", "")), namespace=namespace)
                _address(inside, entry, routed)
        finally:
            inside.close()
    except OSError as error:
        raise HostError(f"cannot attach the container to its network: {error.strerror}") from None
    finally:
        host.close()
        os.close(namespace)


def _leads_out(entry: dict[str, Any], version: int) -> bool:
    return bool(entry["ip6" if version == 6 else "ip"]) and not entry["internal"]


def _raise(site: Site, wanted: Sequence[str]) -> list[Link]:
    """Bring networks up, and return their bridges. The caller holds the networks' lock."""
    netlink, links = Netlink(), []
    try:
        for name in wanted:
            network = networks.read(site, name)
            if network is None:
                raise StateError(f'network "{name}" was removed in the meantime')
            links.append(bridges.raise_up(site, netlink, network))
    finally:
        netlink.close()
    return links


def _visit(namespace: int, sysctls: Sequence[tuple[str, str]] = ()) -> Netlink:
    """A netlink socket of the container's network namespace, whose sysctls are set on the way. The namespace is joined
    for a moment only: a socket stays in the namespace in which it was created, and there is no other thread that would
    be moved."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        kernel.setns(namespace, CLONE_NEWNET)
        try:
            if os.path.isdir("/proc/sys/net/ipv6"):
                for name, value in sysctls:
                    forwarding.put(name, value)
            return Netlink()
        finally:
            kernel.setns(home, CLONE_NEWNET)
    finally:
        os.close(home)


def _address(inside: Netlink, entry: dict[str, Any], routed: set[int]) -> None:
    """Set the addresses of the container's interface; the first interface with a way out gets the default route."""
    link = inside.link(entry["inside"])
    if link is None:
        raise HostError(f'the interface "{entry["inside"]}" disappeared during its creation')
    for key in ("", "6"):
        if entry[f"ip{key}"]:
            inside.add_address(link.index, Address.parse(entry[f"ip{key}"]), Subnet.parse(entry[f"subnet{key}"]))
    inside.set_up(link.index)   # before routes, which need an interface that is up
    for version, key in ((4, ""), (6, "6")):
        if version not in routed and _leads_out(entry, version):
            inside.add_default_route(link.index, Address.parse(entry[f"gateway{key}"]))
            routed.add(version)


def _publish(site: Site, endpoint: Endpoint) -> None:
    """Add the rules of the endpoint's published ports."""
    entry = endpoint.publisher()
    text = rules.elements(entry["interface"], endpoint.ports, endpoint.targets(), add=True) if entry else ""
    if not text or entry is None:
        return
    try:
        rules.apply(text)
    except PyruntimeError:
        # The rules were flushed by another program, or an element was left: rebuild them with all published ports.
        with networks.lock(site):
            network = networks.read(site, entry["network"])
            if network is None:
                raise
            bridges.rebuild(site, network)
    _forget_flows(endpoint)


def _forget_flows(endpoint: Endpoint) -> None:
    """Datagrams of clients that have been sending to the ports must reach the new container."""
    if any(port["protocol"] == "udp" for port in endpoint.ports):
        from pyruntime.networks.conntrack import forget  # lazy: only for published UDP ports

        forget(endpoint.ports, endpoint.targets())


def _unpublish(site: Site, endpoint: Endpoint, entry: dict[str, Any]) -> None:
    """Remove the rules; the caller holds the networks' lock, and the endpoint no longer lists its ports."""
    text = rules.elements(entry["interface"], endpoint.ports, endpoint.targets(), add=False)
    if not text:
        return
    try:
        rules.apply(text)
    except PyruntimeError:
        network = networks.read(site, entry["network"])
        if network is not None and network.name in bridges.up(site):
            bridges.rebuild(site, network)


# --- detach -----------------------------------------------------------------------------------------------------------


class Departure:
    """Disconnect a container from its networks: begun before the container's end, to run at the same time, and finished
    after it. The kernel takes 20 ms to remove an interface."""

    __slots__ = ("_child", "_endpoint", "_site")

    def __init__(self, site: Site, container_id: str) -> None:
        """Begin; a container without networks is no error."""
        self._site = site
        self._endpoint = endpoints.read(site, container_id)
        self._child = 0
        if self._endpoint is None or not self._endpoint.joined:
            return
        self._child = os.fork()
        if self._child == 0:
            status = 1
            try:
                _unplug(self._endpoint.joined)
                status = 0
            finally:
                os._exit(status)

    def finish(self) -> None:
        """Release everything that the container has in networks. May be called twice. Raises PyruntimeError."""
        site, endpoint = self._site, self._endpoint
        if endpoint is None:
            return
        ports.stop_proxy(endpoint)
        kill(*endpoint.helper, seconds=ports.PATIENCE)
        if self._child and os.waitpid(self._child, 0)[1]:
            _unplug(endpoint.joined)   # raises the error of the child
        self._child = 0
        with networks.lock(site):
            publisher = endpoint.publisher()
            for entry in endpoint.joined:
                endpoints.give_back(site, entry["network"], endpoint.id)
            endpoints.drop(site, endpoint.id)   # last: as long as the endpoint exists, this is done again
            if publisher and endpoint.ports and endpoints.used(site, publisher["network"]):
                _unpublish(site, endpoint, publisher)
            _forget_flows(endpoint)
            idle = any(not endpoints.used(site, entry["network"]) for entry in endpoint.joined)
        if idle:
            names.ensure(site)   # the name server brings the network down


def detach(site: Site, container_id: str) -> None:
    """Release everything that a container has in networks; a container without networks is no error. Raises
    PyruntimeError."""
    Departure(site, container_id).finish()


def _unplug(entries: Sequence[dict[str, Any]]) -> None:
    """Remove interfaces; the kernel removes their peers."""
    netlink = Netlink()
    try:
        for entry in entries:
            netlink.remove(entry["link"])
    except OSError as error:
        raise HostError(f'cannot remove the interface "{entry["link"]}": {error.strerror}') from None
    finally:
        netlink.close()


def sweep(site: Site, warn: Callable[[str], None]) -> None:
    """Remove what belongs to no container, and make sure that a name server runs. ``warn`` is told what cannot be
    removed. Raises PyruntimeError."""
    for container_id in endpoints.identifiers(site):
        try:
            if not site.exists(container_id) and not _of_a_build(site, container_id):
                detach(site, container_id)
        except PyruntimeError as error:
            warn(str(error))
    if bridges.up(site) and not names.alive(site):
        with networks.lock(site):
            endpoints.forget_lost(site)
            for name in bridges.up(site):
                try:
                    if not endpoints.used(site, name):
                        bridges.take_down(site, name)
                except PyruntimeError as error:
                    warn(str(error))
        names.ensure(site)


def _of_a_build(site: Site, identifier: str) -> bool:
    """Whether an endpoint belongs to a running process: a step of a build has no directory below ROOT."""
    endpoint = endpoints.read(site, identifier)
    return endpoint is not None and endpoint.of_a_build()


# --- networks of an existing container --------------------------------------------------------------------------------


def connect(site: Site, endpoint: Endpoint, entry: dict[str, Any]) -> None:
    """Create the interface for a network that a running container has joined. Raises HostError, StateError,
    PyruntimeError; then the container has left the network."""
    try:
        _plug(site, endpoint, [entry])
    except BaseException:
        _leave(site, endpoint, entry)
        raise
    names.ensure(site)


def disconnect(site: Site, endpoint: Endpoint, entry: dict[str, Any]) -> None:
    """Disconnect a running container from a network; its published ports move to another network. Raises
    PyruntimeError."""
    republish = bool(endpoint.ports) and entry is endpoint.publisher()
    if republish:
        ports.stop_proxy(endpoint)
    _leave(site, endpoint, entry)
    _reroute(endpoint)
    if republish and endpoint.publisher():
        _republish(site, endpoint)


def _leave(site: Site, endpoint: Endpoint, entry: dict[str, Any]) -> None:
    """Undo `join` and `_plug`."""
    _unplug([entry])
    with networks.lock(site):
        publisher, before = endpoint.publisher(), Endpoint(**endpoint.document())
        before.joined = list(endpoint.joined)
        endpoint.joined.remove(entry)
        endpoints.save(site, endpoint)
        endpoints.give_back(site, entry["network"], endpoint.id)
        if entry is publisher and endpoint.ports:
            _unpublish(site, before, entry)
    names.ensure(site)


def _reroute(endpoint: Endpoint) -> None:
    """Add default routes through another network, after those of a removed interface are gone."""
    namespace = os.open(f"/proc/{endpoint.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        inside = _visit(namespace)
    finally:
        os.close(namespace)
    try:
        for version, key in ((4, ""), (6, "6")):
            entry = next((entry for entry in endpoint.joined if _leads_out(entry, version)), None)
            link = inside.link(entry["inside"]) if entry else None
            if entry and link:
                inside.add_default_route(link.index, Address.parse(entry[f"gateway{key}"]))
    except FileExistsError:
        return   # the default route was through another network
    finally:
        inside.close()


def _republish(site: Site, endpoint: Endpoint) -> None:
    """Move the published ports to another network."""
    bound = ports.bind(site, [{**port, "last": port["port"]} for port in endpoint.ports])
    try:
        ports.start_proxy(endpoint, bound)
        endpoints.save(site, endpoint)
    finally:
        ports.release(bound)
    _publish(site, endpoint)


def reload(site: Site) -> list[str]:
    """Rebuild the networks that are up: the packet rules, and the openings in other firewalls. Returns the networks'
    names. Raises PyruntimeError."""
    with networks.lock(site):
        names_up = sorted(bridges.up(site))
        netlink = Netlink()
        try:
            for name in names_up:
                network = networks.read(site, name)
                if network is not None:
                    bridges.raise_up(site, netlink, network, replace=True)
        finally:
            netlink.close()
    names.ensure(site)
    return names_up
