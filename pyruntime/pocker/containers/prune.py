"""Remove stopped containers."""

from __future__ import annotations

from pyruntime.errors import StateError
from pyruntime.pocker.containers.container import every
from pyruntime.pocker.containers.diff import written
from pyruntime.pocker.containers.status import CREATED, EXITED, status_of
from pyruntime.pocker.containers.stop import remove, sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.pocker.containers.container import ContainerRecord
    from pyruntime.pocker.directories import Directories


def prune(places: Directories, wanted: Callable[[ContainerRecord], bool], warn: Callable[[str],
          None]) -> tuple[list[str], int]:
    """Remove the stopped containers that are wanted; their IDs, and the bytes that they had written. Volumes stay."""
    sweep(places, warn)
    removed, freed = [], 0
    for container, record in list(every(places)):
        status = status_of(container)
        over = status.word == EXITED or (status.word == CREATED and not status.run.watched())
        if over and wanted(record):
            own = written(container)
            try:
                remove(container, record)
            except StateError:
                continue   # it has been started since
            removed.append(record.id)
            freed += own
    return removed, freed
