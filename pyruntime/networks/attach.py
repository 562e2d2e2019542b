"""A container's way into its networks and out of them.

    reserve     before it is made: addresses, ports; all written down
    attach      when its network namespace is there: interfaces, rules, proxy
    detach      after its end, whatever of this had come about; may be done twice
    join, connect, disconnect   another network, for one that runs
    sweep       what was left by processes that were killed
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
    from collections.abc import Sequence
    from typing import Any

    from pyruntime.networks.definitions import Network
    from pyruntime.networks.ports import Bound
    from pyruntime.networks.rtnetlink import Link
    from pyruntime.networks.site import Site

NEED_ROOT = ("networks between containers need root; without root there are pasta, slirp4netns, none, host and"
             " container:ID")


class EndpointConfig:
    """What a container asks of networks.

    ``id``, ``names``, ``dns``, ``links``, ``owner``   as its Endpoint has them
    ``networks``   {"name", "ip", "ip6", "mac", "aliases"} of each network; the last four may be missing, "" or [] where
                   they are not asked for; nothing is the default network
    ``ports``      what is to be published, as `ports.wanted` has it
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
        """An endpoint that has none of it yet."""
        return Endpoint(id=self.id, names=self.names, dns=self.dns, links=self.links, owner=self.owner, pid=pid)


class Reservation:
    """What a container is going to have: ``endpoint`` is its place in networks; ``bound``, the sockets of its published
    ports, until the proxy has them."""

    __slots__ = ("bound", "endpoint", "site")

    def __init__(self, site: Site, endpoint: Endpoint) -> None:
        self.site = site
        self.endpoint = endpoint
        self.bound: list[Bound] = []


def reserve(site: Site, config: EndpointConfig) -> Reservation:
    """Choose addresses and ports. Raises UsageError, StateError, HostError; what has come about then is `detach`'s."""
    reservation = Reservation(site, config.endpoint())
    endpoint = reservation.endpoint
    _enrol(site, endpoint, config.networks)
    if config.ports and endpoint.targets():
        reservation.bound = ports.bind(site, config.ports)
        endpoint.ports = [one.document() for one in reservation.bound]
    return reservation


def _enrol(site: Site, endpoint: Endpoint, wanted: Sequence[dict[str, Any]]) -> None:
    """Take addresses in networks, or without root the program that leads out."""
    if not privileged():
        endpoint.outside = outside.choose(_program(wanted))
        endpoints.save(site, endpoint)
        return
    with networks.lock(site):
        for entry in wanted or [{"name": DEFAULT}]:
            join(site, endpoint, networks.find(site, entry["name"]), entry)
        # Now, so that the name server begins while the container is being made.
        _raise(site, [entry["network"] for entry in endpoint.joined])
    names.ensure(site)


def _program(wanted: Sequence[dict[str, Any]]) -> str:
    """The program that a user without root asks for by --network; "" for any. Raises HostError."""
    for entry in wanted:
        if entry["name"] not in (outside.PASTA, outside.SLIRP, DEFAULT):
            raise HostError(f'--network "{entry["name"]}": {NEED_ROOT}')
    return "" if not wanted or wanted[0]["name"] == DEFAULT else str(wanted[0]["name"])


def join(site: Site, endpoint: Endpoint, network: Network, wanted: dict[str, Any]) -> dict[str, Any]:
    """Take addresses of a network; ``wanted`` is as in EndpointConfig.networks. Networks are locked. What is written
    down in the endpoint is returned. Raises StateError, UsageError."""
    if endpoint.in_network(network.name):
        raise StateError(f'the container is connected to network "{network.name}" already')
    bridges.find_room(site, network)
    number = _free_number(endpoint)
    entry: dict[str, Any] = {
        "network": network.name, "interface": network.interface, "internal": network.internal, "ip": "", "ip6": "",
        "link": f"pk{endpoint.id[:10]}.{number}", "inside": f"eth{number}", "aliases": wanted.get("aliases") or []}
    endpoint.joined.append(entry)
    # Written down before an address is taken: it is given back whenever we are killed.
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
    if not wanted:   # as unique in its network as the address is; and what neighbours remember of that stays true
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
    """Give the network namespace of a process, the container's init, what was reserved. Raises HostError, StateError,
    PyruntimeError."""
    endpoint, site = reservation.endpoint, reservation.site
    endpoint.pid = pid
    if endpoint.outside:
        outside.start(endpoint)
        endpoints.save(site, endpoint)
    else:
        _plug(site, endpoint, endpoint.joined)
    if reservation.bound:
        ports.start_proxy(endpoint, reservation.bound)
        endpoints.save(site, endpoint)   # before anything else can fail: who detaches has to know of the proxy
        ports.release(reservation.bound)
        reservation.bound = []
        _publish(site, endpoint)
    else:
        endpoints.save(site, endpoint)


def _plug(site: Site, endpoint: Endpoint, entries: Sequence[dict[str, Any]]) -> None:
    """Make the interfaces of a container that runs."""
    namespace = os.open(f"/proc/{endpoint.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    host = Netlink()
    try:
        with networks.lock(site):
            links = _raise(site, [entry["network"] for entry in entries])
        # For interfaces to come. A neighbour could pretend to be the router (CVE-2020-10749).
        ipv6 = any(entry["ip6"] for entry in entries)
        inside = _visit(namespace, [("ipv6/conf/default/accept_ra", "0"),
                                    ("ipv6/conf/default/disable_ipv6", "0" if ipv6 else "1")])
        try:
            routed = {version for version in (4, 6) for entry in endpoint.joined
                      if entry not in entries and _leads_out(entry, version)}
            for entry, bridge in zip(entries, links, strict=True):
                host.remove(entry["link"])   # of somebody who was killed
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
    """Have networks up; their bridges. They are locked."""
    netlink, links = Netlink(), []
    try:
        for name in wanted:
            network = networks.read(site, name)
            if network is None:
                raise StateError(f'network "{name}" has been removed meanwhile')
            links.append(bridges.raise_up(site, netlink, network))
    finally:
        netlink.close()
    return links


def _visit(namespace: int, sysctls: Sequence[tuple[str, str]] = ()) -> Netlink:
    """A netlink socket of the container's namespace, where we set its sysctls too. A short visit is enough: a socket
    belongs to the namespace in which it was made, and we are single-threaded, so nobody else is moved."""
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
    """Give the container's interface its addresses, and the first one that leads out the default route."""
    link = inside.link(entry["inside"])
    if link is None:
        raise HostError(f'the interface "{entry["inside"]}" vanished while it was made')
    for key in ("", "6"):
        if entry[f"ip{key}"]:
            inside.add_address(link.index, Address.parse(entry[f"ip{key}"]), Subnet.parse(entry[f"subnet{key}"]))
    inside.set_up(link.index)   # before routes: they need it
    for version, key in ((4, ""), (6, "6")):
        if version not in routed and _leads_out(entry, version):
            inside.add_default_route(link.index, Address.parse(entry[f"gateway{key}"]))
            routed.add(version)


def _publish(site: Site, endpoint: Endpoint) -> None:
    """Add the rules of its published ports."""
    entry = endpoint.publisher()
    text = rules.elements(entry["interface"], endpoint.ports, endpoint.targets(), add=True) if entry else ""
    if not text or entry is None:
        return
    try:
        rules.apply(text)
    except PyruntimeError:
        # Somebody has flushed the rules, or an element was left there: with all that is true they are made anew.
        with networks.lock(site):
            network = networks.read(site, entry["network"])
            if network is None:
                raise
            bridges.rebuild(site, network)
    _forget_flows(endpoint)


def _forget_flows(endpoint: Endpoint) -> None:
    """Clients that have sent datagrams to its ports all the time shall find what is there now."""
    if any(port["protocol"] == "udp" for port in endpoint.ports):
        from pyruntime.networks.conntrack import forget  # lazy: only for published UDP ports

        forget(endpoint.ports, endpoint.targets())


def _unpublish(site: Site, endpoint: Endpoint, entry: dict[str, Any]) -> None:
    """Remove them; networks are locked, and the endpoint no longer says that it has ports."""
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
    """A container leaves its networks: begun before its end, which goes on meanwhile, and finished after it. The
    kernel takes 20 ms to remove an interface."""

    __slots__ = ("_child", "_endpoint", "_site")

    def __init__(self, site: Site, container_id: str) -> None:
        """Begin it; nothing is fine."""
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
        """Give everything back that the container has of networks. May be done twice. Raises PyruntimeError."""
        site, endpoint = self._site, self._endpoint
        if endpoint is None:
            return
        ports.stop_proxy(endpoint)
        kill(*endpoint.helper, seconds=ports.PATIENCE)
        if self._child and os.waitpid(self._child, 0)[1]:
            _unplug(endpoint.joined)   # it is told why that cannot be
        self._child = 0
        with networks.lock(site):
            publisher = endpoint.publisher()
            for entry in endpoint.joined:
                endpoints.give_back(site, entry["network"], endpoint.id, entry["ip"], entry["ip6"])
            endpoints.drop(site, endpoint.id)   # last: as long as it is there, this is done again
            if publisher and endpoint.ports and endpoints.used(site, publisher["network"]):
                _unpublish(site, endpoint, publisher)
            _forget_flows(endpoint)
            idle = any(not endpoints.used(site, entry["network"]) for entry in endpoint.joined)
        if idle:
            names.ensure(site)   # the name server takes the network down


def detach(site: Site, container_id: str) -> None:
    """Give everything back that a container has of networks; nothing is fine. Raises PyruntimeError."""
    Departure(site, container_id).finish()


def _unplug(entries: Sequence[dict[str, Any]]) -> None:
    """Remove interfaces; their other ends go with them."""
    netlink = Netlink()
    try:
        for entry in entries:
            netlink.remove(entry["link"])
    except OSError as error:
        raise HostError(f'cannot remove the interface "{entry["link"]}": {error.strerror}') from None
    finally:
        netlink.close()


def sweep(site: Site) -> None:
    """Take away what belongs to no container, and have a name server. Raises PyruntimeError."""
    for container_id in endpoints.identifiers(site):
        if not site.exists(container_id) and not _of_a_build(site, container_id):
            detach(site, container_id)
    if bridges.up(site) and not names.alive(site):
        with networks.lock(site):
            endpoints.forget_lost(site)
            for name in bridges.up(site):
                if not endpoints.used(site, name):
                    bridges.take_down(site, name)
        names.ensure(site)


def _of_a_build(site: Site, identifier: str) -> bool:
    """Whether an endpoint belongs to a process that is not gone: a step of a build has no directory below ROOT."""
    endpoint = endpoints.read(site, identifier)
    return endpoint is not None and endpoint.of_a_build()


# --- networks of a container that is there already --------------------------------------------------------------------


def connect(site: Site, endpoint: Endpoint, entry: dict[str, Any]) -> None:
    """Give a container that runs the interface for what it has joined. Raises HostError, StateError, PyruntimeError; it
    has left the network then."""
    try:
        _plug(site, endpoint, [entry])
    except BaseException:
        _leave(site, endpoint, entry)
        raise
    names.ensure(site)


def disconnect(site: Site, endpoint: Endpoint, entry: dict[str, Any]) -> None:
    """Take a container that runs out of a network; its published ports go to another one. Raises PyruntimeError."""
    republish = bool(endpoint.ports) and entry is endpoint.publisher()
    if republish:
        ports.stop_proxy(endpoint)
    _leave(site, endpoint, entry)
    _reroute(endpoint)
    if republish and endpoint.publisher():
        _republish(site, endpoint)


def _leave(site: Site, endpoint: Endpoint, entry: dict[str, Any]) -> None:
    """Undo what `join` and `_plug` did."""
    _unplug([entry])
    with networks.lock(site):
        publisher, before = endpoint.publisher(), Endpoint(**endpoint.document())
        before.joined = list(endpoint.joined)
        endpoint.joined.remove(entry)
        endpoints.save(site, endpoint)
        endpoints.give_back(site, entry["network"], endpoint.id, entry["ip"], entry["ip6"])
        if entry is publisher and endpoint.ports:
            _unpublish(site, before, entry)
    names.ensure(site)


def _reroute(endpoint: Endpoint) -> None:
    """The default routes have gone with an interface: they lead through another network from now on."""
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
        return   # it was through another network all the time
    finally:
        inside.close()


def _republish(site: Site, endpoint: Endpoint) -> None:
    """The published ports lead to another network from now on."""
    bound = ports.bind(site, [{**port, "last": port["port"]} for port in endpoint.ports])
    try:
        ports.start_proxy(endpoint, bound)
        endpoints.save(site, endpoint)
    finally:
        ports.release(bound)
    _publish(site, endpoint)


def reload(site: Site) -> list[str]:
    """Make what stands for the networks that are up anew: the packet rules, the openings in other firewalls. Their
    names. Raises PyruntimeError."""
    with networks.lock(site):
        names_up = sorted(bridges.up(site))
        netlink = Netlink()
        try:
            for name in names_up:
                network = networks.read(site, name)
                if network is not None:
                    bridges.raise_up(site, netlink, network, anew=True)
        finally:
            netlink.close()
    names.ensure(site)
    return names_up
