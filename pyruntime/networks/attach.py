"""A container's way into its networks and out of them.

    reserve     before it is made: addresses, ports, files; all written down
    attach      when its network namespace is there: interfaces, rules, proxy
    detach      after its end, whatever of this had come about; may be done twice
    connect, disconnect   another network, for one that runs or not
    sweep       what was left by processes that were killed
"""

from __future__ import annotations

import os

from pyruntime.errors import HostError, PyruntimeError, StateError, UsageError
from pyruntime.images.rootless import privileged
from pyruntime.networks import bridges, endpoints, forwarding, ports
from pyruntime.networks import definitions as networks
from pyruntime.networks import dns_process as names
from pyruntime.networks import etc_files as files
from pyruntime.networks import nftables as rules
from pyruntime.networks import slirp as outside
from pyruntime.networks.addresses import Address, Subnet
from pyruntime.networks.definitions import DEFAULT
from pyruntime.networks.endpoints import Endpoint
from pyruntime.networks.present import CONTAINER, HOST, NONE
from pyruntime.networks.rtnetlink import Netlink
from pyruntime.pocker import events as history
from pyruntime.pocker.containers.status import status_of
from pyruntime.system import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyruntime.networks.definitions import Network
    from pyruntime.networks.ports import Bound
    from pyruntime.networks.rtnetlink import Link
    from pyruntime.pocker.containers.container import Container, Record
    from pyruntime.pocker.directories import Places

_CLONE_NEWNET = 0x40000000   # linux/sched.h


class Reservation:
    """What a container is going to have.

    ``endpoint``   its place in networks of ours, if it has one
    ``bound``      the sockets of its published ports, until the proxy has them
    """

    __slots__ = ("bound", "endpoint", "places")

    def __init__(self, places: Places) -> None:
        self.places = places
        self.endpoint: Endpoint | None = None
        self.bound: list[Bound] = []


def mode_of(record: Record) -> str:
    """none, host, container:ID, or "" for networks of ours. Raises UsageError."""
    wanted = [entry["name"] for entry in record.settings.networks]
    special = [name for name in wanted if name in (NONE, HOST) or name.startswith(CONTAINER)]
    if special and len(wanted) > 1:
        raise UsageError(f'--network "{special[0]}" stands alone: it cannot be had together with other networks')
    if special and special[0] != NONE and (record.settings.ports or record.settings.publish_all):
        raise UsageError(f'--publish does not go with --network "{special[0]}": the ports are those of '
                         + ("the host already" if special[0] == HOST else "the other container"))
    return special[0] if special else ""


def check(places: Places, record: Record) -> None:
    """Raises what `reserve` would raise for networks that are not there, without reserving anything."""
    if not mode_of(record):
        with networks.lock(places):
            for entry in record.settings.networks:
                networks.find(places, entry["name"])


def reserve(container: Container, record: Record) -> Reservation:
    """Choose addresses and ports, and write the files. Raises UsageError, StateError, HostError; what has come about
    then is `detach`'s."""
    places, settings = container.places, record.settings
    mode = mode_of(record)
    reservation = Reservation(places)
    if mode.startswith(CONTAINER):
        return reservation   # it has all of that container's
    if not mode:
        reservation.endpoint = endpoint = Endpoint(
            id=record.id, names=_names(record), dns=settings.dns,
            links={alias: other[:12] for alias, other in settings.links.items()})
        enrol(places, endpoint, settings.networks)
        wanted_ports = ports.wanted(settings.ports, _exposed(record), every=settings.publish_all)
        if wanted_ports and endpoint.targets():
            reservation.bound = ports.bind(places, wanted_ports)
            endpoint.ports = [one.document() for one in reservation.bound]
    files.write(container, record, reservation.endpoint)
    return reservation


NEED_ROOT = ("networks between containers need root; without root there are pasta, slirp4netns, none, host and"
             " container:ID")


def enrol(places: Places, endpoint: Endpoint, wanted: Sequence[dict[str, Any]]) -> None:
    """Take addresses in networks, or without root the program that leads out; ``wanted`` is as in Settings.networks,
    nothing the default network. Raises as `reserve` does, and what has come about then is `detach`'s."""
    if not privileged():
        endpoint.outside = outside.choose(_program(wanted))
        endpoints.save(places, endpoint)
        return
    with networks.lock(places):
        for number, entry in enumerate(wanted or [{"name": DEFAULT}]):
            _join(places, endpoint, networks.find(places, entry["name"]), entry, number)
        # Now, so that the name server begins while the container is being made.
        _raise(places, [entry["network"] for entry in endpoint.joined])
    names.ensure(places)


def _program(wanted: Sequence[dict[str, Any]]) -> str:
    """The program that a user without root asks for by --network; "" for any. Raises HostError."""
    for entry in wanted:
        if entry["name"] not in (outside.PASTA, outside.SLIRP, DEFAULT):
            raise HostError(f'--network "{entry["name"]}": {NEED_ROOT}')
    return "" if not wanted or wanted[0]["name"] == DEFAULT else str(wanted[0]["name"])


def _names(record: Record) -> list[str]:
    return list(dict.fromkeys((record.name, record.id[:12], files.hostname_of(record))))


def _exposed(record: Record) -> list[str]:
    return [*record.image_config.get("ExposedPorts", {}), *record.settings.expose]


def _join(places: Places, endpoint: Endpoint, network: Network, wanted: dict[str, Any], number: int) -> dict[str, Any]:
    """Take addresses of a network; it is locked."""
    if endpoint.in_network(network.name):
        raise StateError(f'the container is connected to network "{network.name}" already')
    bridges.find_room(places, network)
    entry: dict[str, Any] = {
        "network": network.name, "interface": network.interface, "internal": network.internal, "ip": "", "ip6": "",
        "link": f"pk{endpoint.id[:10]}.{number}", "inside": f"eth{number}", "aliases": wanted.get("aliases") or []}
    endpoint.joined.append(entry)
    # Written down before an address is taken: it is given back whenever we are killed.
    endpoints.save(places, endpoint)
    for version, key in ((4, ""), (6, "6")):
        subnet = network.subnet(version)
        entry[f"ip{key}"] = endpoints.lease(places, network, version, endpoint.id, wanted.get(f"ip{key}") or "")
        entry[f"gateway{key}"] = subnet["gateway"] if subnet else ""
        entry[f"subnet{key}"] = subnet["subnet"] if subnet else ""
    entry["mac"] = _mac(wanted.get("mac") or "", entry["ip"])
    endpoints.save(places, endpoint)
    return entry


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
    endpoint, places = reservation.endpoint, reservation.places
    if endpoint is None:
        return
    endpoint.pid = pid
    if endpoint.outside:
        outside.start(endpoint)
        endpoints.save(places, endpoint)
    else:
        _plug(places, endpoint, endpoint.joined)
    if reservation.bound:
        ports.start_proxy(endpoint, reservation.bound)
        endpoints.save(places, endpoint)   # before anything else can fail: who detaches has to know of the proxy
        ports.release(reservation.bound)
        reservation.bound = []
        _publish(places, endpoint)
    else:
        endpoints.save(places, endpoint)


def _plug(places: Places, endpoint: Endpoint, entries: Sequence[dict[str, Any]]) -> None:
    """Make the interfaces of a container that runs."""
    namespace = os.open(f"/proc/{endpoint.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    host = Netlink()
    try:
        with networks.lock(places):
            links = _raise(places, [entry["network"] for entry in entries])
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


def _raise(places: Places, wanted: Sequence[str]) -> list[Link]:
    """Have networks up; their bridges. They are locked."""
    netlink, links = Netlink(), []
    try:
        for name in wanted:
            network = networks.read(places, name)
            if network is None:
                raise StateError(f'network "{name}" has been removed meanwhile')
            links.append(bridges.raise_up(places, netlink, network))
    finally:
        netlink.close()
    return links


def _visit(namespace: int, sysctls: Sequence[tuple[str, str]] = ()) -> Netlink:
    """A netlink socket of the container's namespace, where we set its sysctls too. A short visit is enough: a socket
    belongs to the namespace in which it was made, and we are single-threaded, so nobody else is moved."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        kernel.setns(namespace, _CLONE_NEWNET)
        try:
            if os.path.isdir("/proc/sys/net/ipv6"):
                for name, value in sysctls:
                    forwarding.put(name, value)
            return Netlink()
        finally:
            kernel.setns(home, _CLONE_NEWNET)
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


def _publish(places: Places, endpoint: Endpoint) -> None:
    """Add the rules of its published ports."""
    entry = endpoint.publisher()
    text = rules.elements(entry["interface"], endpoint.ports, endpoint.targets(), add=True) if entry else ""
    if not text or entry is None:
        return
    try:
        rules.apply(text)
    except PyruntimeError:
        # Somebody has flushed the rules, or an element was left there: with all that is true they are made anew.
        with networks.lock(places):
            network = networks.read(places, entry["network"])
            if network is None:
                raise
            bridges.rebuild(places, network)
    _forget_flows(endpoint)


def _forget_flows(endpoint: Endpoint) -> None:
    """Clients that have sent datagrams to its ports all the time shall find what is there now."""
    if any(port["protocol"] == "udp" for port in endpoint.ports):
        from pyruntime.networks.conntrack import forget

        forget(endpoint.ports, endpoint.targets())


def _unpublish(places: Places, endpoint: Endpoint, entry: dict[str, Any]) -> None:
    """Remove them; networks are locked, and the endpoint no longer says that it has ports."""
    text = rules.elements(entry["interface"], endpoint.ports, endpoint.targets(), add=False)
    if not text:
        return
    try:
        rules.apply(text)
    except PyruntimeError:
        network = networks.read(places, entry["network"])
        if network is not None and network.name in bridges.up(places):
            bridges.rebuild(places, network)


# --- detach -----------------------------------------------------------------------------------------------------------


class Departure:
    """A container leaves its networks: begun before its end, which goes on meanwhile, and finished after it. The
    kernel takes 20 ms to remove an interface."""

    __slots__ = ("_child", "_endpoint", "_places")

    def __init__(self, places: Places, container_id: str) -> None:
        """Begin it; nothing is fine."""
        self._places = places
        self._endpoint = endpoints.read(places, container_id)
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
        places, endpoint = self._places, self._endpoint
        if endpoint is None:
            return
        ports.stop_proxy(endpoint)
        ports.end(endpoint.helper)
        if self._child and os.waitpid(self._child, 0)[1]:
            _unplug(endpoint.joined)   # it is told why that cannot be
        self._child = 0
        with networks.lock(places):
            publisher = endpoint.publisher()
            for entry in endpoint.joined:
                endpoints.give_back(places, entry["network"], endpoint.id, entry["ip"], entry["ip6"])
            endpoints.drop(places, endpoint.id)   # last: as long as it is there, this is done again
            if publisher and endpoint.ports and endpoints.used(places, publisher["network"]):
                _unpublish(places, endpoint, publisher)
            _forget_flows(endpoint)
            idle = any(not endpoints.used(places, entry["network"]) for entry in endpoint.joined)
        if idle:
            names.ensure(places)   # the name server takes the network down


def detach(places: Places, container_id: str) -> None:
    """Give everything back that a container has of networks; nothing is fine. Raises PyruntimeError."""
    Departure(places, container_id).finish()


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


def sweep(places: Places) -> None:
    """Take away what belongs to no container, and have a name server. Raises PyruntimeError."""
    known = endpoints.identifiers(places)
    for container_id in known:
        if not os.path.isdir(f"{places.root}/containers/{container_id}") and not _of_a_build(places, container_id):
            detach(places, container_id)
    if bridges.up(places) and not names.alive(places):
        with networks.lock(places):
            endpoints.forget_lost(places)
            for name in bridges.up(places):
                if not endpoints.used(places, name):
                    bridges.take_down(places, name)
        names.ensure(places)


def _of_a_build(places: Places, identifier: str) -> bool:
    """Whether an endpoint belongs to a process that is not gone: a step of a build has no directory below ROOT."""
    endpoint = endpoints.read(places, identifier)
    return endpoint is not None and endpoint.of_a_build()


# --- networks of a container that is there already --------------------------------------------------------------------


def connect(container: Container, record: Record, wanted: dict[str, Any]) -> None:
    """Connect a container to a network, now if it runs, and at its next starts; it is locked. ``wanted`` is as in
    Settings.networks. Raises StateError, UsageError, HostError."""
    places = container.places
    if not privileged():
        raise HostError("networks between containers need root: a container of yours can share another one's with"
                        " --network container:ID")
    left = any(entry.get("left") for entry in record.settings.networks)
    if not left and (mode := mode_of(record)):
        raise StateError(f'container "{record.name}" has --network "{mode}": it cannot be connected to others')
    with networks.lock(places):
        network = networks.find(places, wanted["name"])
        have = [] if left else record.settings.networks or [{"name": DEFAULT}]
        if network.name in (networks.find(places, entry["name"]).name for entry in have):
            raise StateError(f'container "{record.name}" is connected to network "{network.name}" already')
        endpoint = endpoints.read(places, record.id)
        if endpoint is None and (pid := status_of(container).pid):   # started after it had left its last network
            endpoint = Endpoint(id=record.id, names=_names(record), dns=record.settings.dns, pid=pid)
        entry = _join(places, endpoint, network, wanted, _free_number(endpoint)) if endpoint else None
    if endpoint and entry:
        try:
            _plug(places, endpoint, [entry])
        except BaseException:
            _leave(places, endpoint, entry)
            raise
        names.ensure(places)
        files.write_hosts(container, record, endpoint)
        files.write_resolv(container, record, endpoint)   # the first network brings the name server
    record.settings.networks = [*have, wanted]
    container.write(record)
    history.note(places, "network", "connect", network.id, {"name": network.name, "container": record.id})


def _free_number(endpoint: Endpoint) -> int:
    taken = {entry["inside"] for entry in endpoint.joined}
    return next(number for number in range(len(taken) + 1) if f"eth{number}" not in taken)


def disconnect(container: Container, record: Record, name: str) -> None:
    """Take a container out of a network, now if it runs, and at its next starts; it is locked. Raises StateError."""
    places = container.places
    with networks.lock(places):
        network = networks.find(places, name)
        have = record.settings.networks or [{"name": DEFAULT}]
        rest = [entry for entry in have
                if entry["name"] in (NONE, HOST) or networks.find(places, entry["name"]).name != network.name]
    if len(rest) == len(have) or mode_of(record):
        raise StateError(f'container "{record.name}" is not connected to network "{network.name}"')
    endpoint = endpoints.read(places, record.id)
    entry = endpoint.in_network(network.name) if endpoint else None
    if endpoint and entry:
        republish = bool(endpoint.ports) and entry is endpoint.publisher()
        if republish:
            ports.stop_proxy(endpoint)
        _leave(places, endpoint, entry)
        _reroute(endpoint)
        if republish and endpoint.publisher():
            _republish(places, endpoint)
        files.write_hosts(container, record, endpoint)
        files.write_resolv(container, record, endpoint)
    record.settings.networks = rest or [{"name": NONE, "left": True}]   # unlike --network none, it may join others
    container.write(record)
    history.note(places, "network", "disconnect", network.id, {"name": network.name, "container": record.id})


def _leave(places: Places, endpoint: Endpoint, entry: dict[str, Any]) -> None:
    """Undo what `_join` and `_plug` did."""
    _unplug([entry])
    with networks.lock(places):
        publisher, before = endpoint.publisher(), Endpoint(**endpoint.document())
        before.joined = list(endpoint.joined)
        endpoint.joined.remove(entry)
        endpoints.save(places, endpoint)
        endpoints.give_back(places, entry["network"], endpoint.id, entry["ip"], entry["ip6"])
        if entry is publisher and endpoint.ports:
            _unpublish(places, before, entry)
    names.ensure(places)


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


def _republish(places: Places, endpoint: Endpoint) -> None:
    """The published ports lead to another network from now on."""
    bound = ports.bind(places, [{**port, "last": port["port"]} for port in endpoint.ports])
    try:
        ports.start_proxy(endpoint, bound)
        endpoints.save(places, endpoint)
    finally:
        ports.release(bound)
    _publish(places, endpoint)


def rename(places: Places, record: Record) -> None:
    """The container has another name: those who ask for it shall find it."""
    endpoint = endpoints.read(places, record.id)
    if endpoint:
        endpoint.names = _names(record)
        endpoints.save(places, endpoint)


def remove(places: Places, name: str) -> Network:
    """Remove a network that no container is in. Raises StateError."""
    with networks.lock(places):
        network = networks.find(places, name)
        if network.name == DEFAULT:
            raise StateError(f'network "{DEFAULT}" stays: containers without --network are in it')
        if users := _users(places).get(network.name):
            if all(user.startswith("a build ") for user in users):
                raise StateError(f'network "{network.name}" is used by {", ".join(users)}: wait for its end')
            raise StateError(f'network "{network.name}" is used by {", ".join(users)}: remove them, or'
                             f' "pocker network disconnect {network.name} {users[0]}"')
        endpoints.forget_lost(places)
        bridges.take_down(places, network.name)
        networks.remove(places, network)
    return network


def unused(places: Places) -> list[Network]:
    """The networks that no container is in, without the default one."""
    with networks.lock(places):
        users = _users(places)
        return [network for network in networks.every(places) if network.name not in {*users, DEFAULT}]


def _users(places: Places) -> dict[str, list[str]]:
    """Network -> names of the containers that are in it, or will be when they are started."""
    from pyruntime.pocker.containers.container import every

    result: dict[str, list[str]] = {}
    for _, record in every(places):
        for entry in record.settings.networks or [{"name": DEFAULT}]:
            if not mode_of(record):
                try:
                    result.setdefault(networks.find(places, entry["name"]).name, []).append(record.name)
                except StateError:
                    continue   # it never was there: the container has not been started yet, and cannot be
    for endpoint in endpoints.every(places):
        if endpoint.of_a_build():
            for entry in endpoint.joined:
                result.setdefault(entry["network"], []).append(f"a build (process {endpoint.owner[0]})")
    return result


def reload(places: Places) -> list[str]:
    """Make what stands for the networks that are up anew: the packet rules, the openings in other firewalls. Their
    names. Raises PyruntimeError."""
    with networks.lock(places):
        names_up = sorted(bridges.up(places))
        netlink = Netlink()
        try:
            for name in names_up:
                network = networks.read(places, name)
                if network is not None:
                    bridges.raise_up(places, netlink, network, anew=True)
        finally:
            netlink.close()
    names.ensure(places)
    return names_up
