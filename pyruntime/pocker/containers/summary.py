"""A container in a list: `ps`."""

from __future__ import annotations

from pyruntime.networks import endpoints
from pyruntime.networks.definitions import DEFAULT
from pyruntime.pocker.containers.inspect import labels, program
from pyruntime.system.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyruntime.networks.endpoints import Endpoint
    from pyruntime.pocker.containers.container import Container, ContainerRecord
    from pyruntime.pocker.containers.status import Status
    from pyruntime.pocker.settings import MountPoint


class ContainerSummary(Value):
    """One container at one moment.

    ``image``        as it was named at creation; ``image_id`` is the digest of its configuration
    ``created``      RFC 3339, UTC
    ``state``        created, running, paused, restarting or exited
    ``pid``          of the init process on the host; 0 if the container is not running
    ``exit_status``  of the last run; None if there was none, or it goes on
    ``health``       starting, healthy or unhealthy; "" without a health check
    ``endpoint``     its addresses and published ports; None if it has none at the moment
    """

    id: str
    name: str
    image: str
    image_id: str
    created: str
    state: str
    pid: int = 0
    exit_status: int | None = None
    command: Sequence[str] = ()
    labels: Mapping[str, str]
    health: str = ""
    networks: Sequence[str] = ()
    mounts: Sequence[MountPoint] = ()
    endpoint: Endpoint | None = None


def summary(container: Container, record: ContainerRecord, status: Status) -> ContainerSummary:
    """The summary of a container whose status is known."""
    health = ""
    if record.settings.health.test:
        from pyruntime.pocker.containers.health import health_of  # lazy: only with a health check

        found = health_of(container, record, status.run)
        health = found.status if found else ""
    return ContainerSummary(
        id=record.id, name=record.name, image=record.image, image_id=record.image_id, created=record.created,
        state=status.word, pid=status.pid, exit_status=status.exit.status if status.exit else None,
        command=program(record), labels=labels(record), health=health, mounts=record.settings.mounts,
        networks=[network.name for network in record.settings.networks] or [DEFAULT],
        endpoint=endpoints.read(container.places.networks, record.id))
