"""``pocker container prune``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import StateError
from pyruntime.pocker.cli.main import Context
from pyruntime.pocker.cli.pruning import FILTER, FORCE, Aged, check_consent, filters, report
from pyruntime.pocker.containers.container import every
from pyruntime.pocker.containers.inspect import labels
from pyruntime.pocker.containers.status import CREATED, EXITED, status_of
from pyruntime.pocker.containers.stop import remove, sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.pocker.cli.filters import Filters

COMMAND = Command("prune", "[options]", "remove stopped containers", FILTER, FORCE, most=0,
                  text="Example:\n  pocker container prune --filter until=24h")


def run(context: Context, parsed: Parsed) -> int:
    """Remove them, and print their IDs."""
    from pyruntime.images.progress import size

    wanted = filters(parsed["filter"])
    check_consent(parsed, "all stopped containers")
    removed, freed = prune(context, wanted)
    report("Containers", removed)
    out(f"Total reclaimed space: {size(freed)}\n")
    return 0


def prune(context: Context, wanted: Filters) -> tuple[list[str], int]:
    """Remove the stopped containers that match the filters; their IDs, and the bytes that they had written. Volumes are
    kept."""
    from pyruntime.pocker.containers.diff import written

    sweep(context.places, context.warn)
    removed, freed = [], 0
    for container, record in list(every(context.places)):
        status = status_of(container)
        over = status.word == EXITED or (status.word == CREATED and not status.run.watched())
        if over and wanted.fit(Aged(record.created, labels(record))):
            own = written(container)
            try:
                remove(container, record)
            except StateError:
                continue   # it has been started since
            removed.append(record.id)
            freed += own
    return removed, freed
