"""The networks of a container: reserved at its start, changed by `network connect` and `network disconnect`.

pyruntime.networks.attach makes the interfaces and rules.
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
from pyruntime.pocker.settings import NetworkAttachment
from pyruntime.system.user_namespace import privileged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.networks.attach import Reservation
    from pyruntime.networks.definitions import Network
    from pyruntime.pocker.containers.container import Container, ContainerRecord
    from pyruntime.pocker.directories import Directories


def mode_of(record: ContainerRecord) -> str:
    """none, host, container:ID, or "" for networks of pocker. Raises UsageError."""
    wanted = [entry.name for entry in record.settings.networks]
    special = [name for name in wanted if name in (NONE, HOST) or name.startswith(CONTAINER)]
    if special and len(wanted) > 1:
        raise UsageError(f'network "{special[0]}" cannot be combined with other networks: omit those')
    if special and special[0] != NONE and (record.settings.publish or record.settings.publish_all):
        raise UsageError(f'ports cannot be published with network "{special[0]}": the container uses the ports of '
                         + ("the host" if special[0] == HOST else "the other container"))
    return special[0] if special else ""


def reserve(container: Container, record: ContainerRecord) -> Reservation | None:
    """Reserve addresses and ports, and write the files below /etc; None for a container without networks of pocker.

    Raises UsageError, StateError, HostError; `attach.detach` cleans up then.
    """
    mode = mode_of(record)
    if mode.startswith(CONTAINER):
        return None   # it uses the network and the files of that container
    reservation = None if mode else attach.reserve(container.places.networks, _config(record))
    etc_files.write(container, record, reservation.endpoint if reservation else None)
    return reservation


def _config(record: ContainerRecord) -> EndpointConfig:
    settings = record.settings
    exposed = [*record.image_config.get("ExposedPorts", {}), *settings.expose]
    return EndpointConfig(
        record.id, _names(record), [one.document() for one in settings.networks], dns=settings.dns,
        ports=ports.wanted([port.document() for port in settings.publish], exposed, every=settings.publish_all),
        links={alias: other[:12] for alias, other in settings.links.items()})


def _names(record: ContainerRecord) -> list[str]:
    return list(dict.fromkeys((record.name, record.id[:12], etc_files.hostname_of(record))))


def connect(container: Container, record: ContainerRecord, wanted: NetworkAttachment) -> None:
    """Connect a container to a network, at once if it runs, and at its next starts. The container is locked. Raises
    StateError, UsageError, HostError."""
    site = container.places.networks
    if not privileged():
        raise HostError("networks between containers need root; without root, a container can share another container's"
                        " network: container:ID")
    left = any(entry.left for entry in record.settings.networks)
    if not left and (mode := mode_of(record)):
        raise StateError(f'container "{record.name}" has network "{mode}" and cannot be connected to other networks')
    with networks.lock(site):
        network = networks.find(site, wanted.name)
        have = () if left else record.settings.networks or (NetworkAttachment(name=DEFAULT),)
        if network.name in (networks.find(site, entry.name).name for entry in have):
            raise StateError(f'container "{record.name}" is already connected to network "{network.name}"')
        endpoint = endpoints.read(site, record.id)
        if endpoint is None and (pid := status_of(container).pid):   # started without a network
            endpoint = EndpointConfig(record.id, _names(record), dns=record.settings.dns).endpoint(pid)
        entry = attach.join(site, endpoint, network, wanted.document()) if endpoint else None
    if endpoint and entry:
        attach.connect(site, endpoint, entry)
        etc_files.write_hosts(container, record, endpoint)
        etc_files.write_resolv(container, record, endpoint)   # the first network brings the name server
    record.settings = record.settings.replace(networks=[*have, wanted])
    container.write(record)
    _note(container, "connect", network)


def disconnect(container: Container, record: ContainerRecord, name: str) -> None:
    """Disconnect a container from a network, at once if it runs, and at its next starts. It is locked. Raises
    StateError."""
    site = container.places.networks
    with networks.lock(site):
        network = networks.find(site, name)
        have = record.settings.networks or (NetworkAttachment(name=DEFAULT),)
        rest = [entry for entry in have
                if entry.name in (NONE, HOST) or networks.find(site, entry.name).name != network.name]
    if len(rest) == len(have) or mode_of(record):
        raise StateError(f'container "{record.name}" is not connected to network "{network.name}"')
    endpoint = endpoints.read(site, record.id)
    entry = endpoint.in_network(network.name) if endpoint else None
    if endpoint and entry:
        attach.disconnect(site, endpoint, entry)
        etc_files.write_hosts(container, record, endpoint)
        etc_files.write_resolv(container, record, endpoint)
    # Without networks, but free to join others; a container that was created with none is not.
    record.settings = record.settings.replace(networks=rest or [NetworkAttachment(name=NONE, left=True)])
    container.write(record)
    _note(container, "disconnect", network)


def _note(container: Container, action: str, network: Network) -> None:
    history.note(container.places, "network", action, network.id, {"name": network.name, "container": container.id})


def rename(places: Directories, record: ContainerRecord) -> None:
    """Tell the name server the new name of a container."""
    site = places.networks
    endpoint = endpoints.read(site, record.id)
    if endpoint:
        endpoint.names = _names(record)
        endpoints.save(site, endpoint)


def remove(places: Directories, name: str) -> Network:
    """Remove a network. Raises NoSuchNetwork, StateError for a network that is in use."""
    site = places.networks
    with networks.lock(site):
        network = networks.find(site, name)
        if network.name == DEFAULT:
            raise StateError(f'network "{DEFAULT}" cannot be removed: it is the default network')
        if users := _users(places).get(network.name):
            if all(user.startswith("a build ") for user in users):
                raise StateError(f'network "{network.name}" is in use by {", ".join(users)}: wait for its end')
            raise StateError(f'network "{network.name}" is in use by {", ".join(users)}: remove them, or'
                             f' "pocker network disconnect {network.name} {users[0]}"')
        endpoints.forget_lost(site)
        bridges.take_down(site, network.name)
        networks.remove(site, network)
    return network


def unused(places: Directories) -> list[Network]:
    """The networks without containers, except the default one."""
    site = places.networks
    with networks.lock(site):
        users = _users(places)
        return [network for network in networks.every(site) if network.name not in {*users, DEFAULT}]


def _users(places: Directories) -> dict[str, list[str]]:
    """Network -> names of the containers that are connected to it, or will be when they start."""
    site = places.networks
    result: dict[str, list[str]] = {}
    for _, record in every(places):
        for entry in record.settings.networks or (NetworkAttachment(name=DEFAULT),):
            if not mode_of(record):
                try:
                    result.setdefault(networks.find(site, entry.name).name, []).append(record.name)
                except StateError:
                    continue   # the network never existed: the container was never started, and cannot be
    for endpoint in endpoints.every(site):
        if endpoint.of_a_build():
            for joined in endpoint.joined:
                result.setdefault(joined["network"], []).append(f"a build (process {endpoint.owner[0]})")
    return result
