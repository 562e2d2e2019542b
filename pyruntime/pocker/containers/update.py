"""Other resource limits and another restart policy for an existing container, running or not."""

from __future__ import annotations

from pyruntime.errors import StateError, UsageError
from pyruntime.pocker import events as history
from pyruntime.pocker.containers.status import status_of
from pyruntime.runtime.api import Runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.pocker.containers.container import Container
    from pyruntime.pocker.settings import Resources, RestartPolicy


def update(container: Container, resources: Resources, restart: RestartPolicy | None = None) -> None:
    """Change the limits that are set in ``resources``, and the restart policy; the others stay. All or nothing.

    Raises UsageError, StateError, HostError for limits that the host does not support.
    """
    with container.lock():
        record = container.read()
        settings = record.settings
        if restart is not None:
            if settings.remove and restart.name != "no":
                raise UsageError(f'restart policy "{restart.name}": container "{record.name}" is removed when it exits')
            settings = settings.replace(restart=restart)
        if resources.changed():
            settings = settings.replace(resources=settings.resources.merged(resources))
            if status_of(container).pid:
                _apply(container, resources)
        record.settings = settings
        container.write(record)
    history.of_container(container.places, record, "update")


def _apply(container: Container, resources: Resources) -> None:
    try:
        Runtime(container.places.runtime).update(container.id, resources.document())
    except StateError:
        if status_of(container).pid:   # otherwise the container has just exited; its next start has the limits
            raise
