"""A container's networks, as its record has them: asked for at its start, changed by `network connect`.

What is done for an endpoint stands in pyruntime.networks.attach.
"""

from __future__ import annotations

from pyruntime.errors import HostError, StateError, UsageError
from pyruntime.networks import attach, bridges, endpoints, ports
from pyruntime.networks import definitions as networks
from pyruntime.networks.attach import EndpointConfig
from pyruntime.networks.definitions import DEFAULT
from pyruntime.networks.present import CONTAINER, HOST, NONE
from pyruntime.pocker import events as history
from pyruntime.pocker.containers import etc_files
from pyruntime.pocker.containers.container import every
from pyruntime.pocker.containers.status import status_of
from pyruntime.system.user_namespace import privileged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.networks.attach import Reservation
    from pyruntime.networks.definitions import Network
    from pyruntime.pocker.containers.container import Container, Record
    from pyruntime.pocker.directories import Places


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


def reserve(container: Container, record: Record) -> Reservation | None:
    """Choose addresses and ports, and write the files; None for a container without networks of ours.

    Raises UsageError, StateError, HostError; what has come about then is `attach.detach`'s.
    """
    mode = mode_of(record)
    if mode.startswith(CONTAINER):
        return None   # it has all of that container's
    reservation = None if mode else attach.reserve(container.places.networks, _config(record))
    etc_files.write(container, record, reservation.endpoint if reservation else None)
    return reservation


def _config(record: Record) -> EndpointConfig:
    settings = record.settings
    exposed = [*record.image_config.get("ExposedPorts", {}), *settings.expose]
    return EndpointConfig(
        record.id, _names(record), settings.networks, dns=settings.dns,
        ports=ports.wanted(settings.ports, exposed, every=settings.publish_all),
        links={alias: other[:12] for alias, other in settings.links.items()})


def _names(record: Record) -> list[str]:
    return list(dict.fromkeys((record.name, record.id[:12], etc_files.hostname_of(record))))


def connect(container: Container, record: Record, wanted: dict[str, Any]) -> None:
    """Connect a container to a network, now if it runs, and at its next starts; it is locked. ``wanted`` is as in
    Settings.networks. Raises StateError, UsageError, HostError."""
    site = container.places.networks
    if not privileged():
        raise HostError("networks between containers need root: a container of yours can share another one's with"
                        " --network container:ID")
    left = any(entry.get("left") for entry in record.settings.networks)
    if not left and (mode := mode_of(record)):
        raise StateError(f'container "{record.name}" has --network "{mode}": it cannot be connected to others')
    with networks.lock(site):
        network = networks.find(site, wanted["name"])
        have = [] if left else record.settings.networks or [{"name": DEFAULT}]
        if network.name in (networks.find(site, entry["name"]).name for entry in have):
            raise StateError(f'container "{record.name}" is connected to network "{network.name}" already')
        endpoint = endpoints.read(site, record.id)
        if endpoint is None and (pid := status_of(container).pid):   # started after it had left its last network
            endpoint = EndpointConfig(record.id, _names(record), dns=record.settings.dns).endpoint(pid)
        entry = attach.join(site, endpoint, network, wanted) if endpoint else None
    if endpoint and entry:
        attach.connect(site, endpoint, entry)
        etc_files.write_hosts(container, record, endpoint)
        etc_files.write_resolv(container, record, endpoint)   # the first network brings the name server
    record.settings.networks = [*have, wanted]
    container.write(record)
    _note(container, "connect", network)


def disconnect(container: Container, record: Record, name: str) -> None:
    """Take a container out of a network, now if it runs, and at its next starts; it is locked. Raises StateError."""
    site = container.places.networks
    with networks.lock(site):
        network = networks.find(site, name)
        have = record.settings.networks or [{"name": DEFAULT}]
        rest = [entry for entry in have
                if entry["name"] in (NONE, HOST) or networks.find(site, entry["name"]).name != network.name]
    if len(rest) == len(have) or mode_of(record):
        raise StateError(f'container "{record.name}" is not connected to network "{network.name}"')
    endpoint = endpoints.read(site, record.id)
    entry = endpoint.in_network(network.name) if endpoint else None
    if endpoint and entry:
        attach.disconnect(site, endpoint, entry)
        etc_files.write_hosts(container, record, endpoint)
        etc_files.write_resolv(container, record, endpoint)
    record.settings.networks = rest or [{"name": NONE, "left": True}]   # unlike --network none, it may join others
    container.write(record)
    _note(container, "disconnect", network)


def _note(container: Container, action: str, network: Network) -> None:
    history.note(container.places, "network", action, network.id, {"name": network.name, "container": container.id})


def rename(places: Places, record: Record) -> None:
    """The container has another name: those who ask for it shall find it."""
    site = places.networks
    endpoint = endpoints.read(site, record.id)
    if endpoint:
        endpoint.names = _names(record)
        endpoints.save(site, endpoint)


def remove(places: Places, name: str) -> Network:
    """Remove a network that no container is in. Raises StateError."""
    site = places.networks
    with networks.lock(site):
        network = networks.find(site, name)
        if network.name == DEFAULT:
            raise StateError(f'network "{DEFAULT}" stays: containers without --network are in it')
        if users := _users(places).get(network.name):
            if all(user.startswith("a build ") for user in users):
                raise StateError(f'network "{network.name}" is used by {", ".join(users)}: wait for its end')
            raise StateError(f'network "{network.name}" is used by {", ".join(users)}: remove them, or'
                             f' "pocker network disconnect {network.name} {users[0]}"')
        endpoints.forget_lost(site)
        bridges.take_down(site, network.name)
        networks.remove(site, network)
    return network


def unused(places: Places) -> list[Network]:
    """The networks that no container is in, without the default one."""
    site = places.networks
    with networks.lock(site):
        users = _users(places)
        return [network for network in networks.every(site) if network.name not in {*users, DEFAULT}]


def _users(places: Places) -> dict[str, list[str]]:
    """Network -> names of the containers that are in it, or will be when they are started."""
    site = places.networks
    result: dict[str, list[str]] = {}
    for _, record in every(places):
        for entry in record.settings.networks or [{"name": DEFAULT}]:
            if not mode_of(record):
                try:
                    result.setdefault(networks.find(site, entry["name"]).name, []).append(record.name)
                except StateError:
                    continue   # it never was there: the container has not been started yet, and cannot be
    for endpoint in endpoints.every(site):
        if endpoint.of_a_build():
            for entry in endpoint.joined:
                result.setdefault(entry["network"], []).append(f"a build (process {endpoint.owner[0]})")
    return result
