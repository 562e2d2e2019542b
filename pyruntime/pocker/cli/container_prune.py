"""``pocker container prune``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.commandline.program import out
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.cli.pruning import FILTER, FORCE, Aged, check_consent, filters, report
from pyruntime.pocker.containers.inspect import labels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.pocker.cli.filters import Filters

COMMAND = Command("prune", "[options]", "remove stopped containers", FILTER, FORCE, most=0,
                  text="Example:\n  pocker container prune --filter until=24h")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Remove them, and print their IDs."""
    from pyruntime.images.progress import size  # lazy: only for printed sizes

    wanted = filters(parsed["filter"])
    check_consent(parsed, "all stopped containers")
    removed, freed = prune(context, wanted)
    report("Containers", removed)
    out(f"Total reclaimed space: {size(freed)}\n")
    return 0


def prune(context: PockerContext, wanted: Filters) -> tuple[list[str], int]:
    """Remove the stopped containers that match the filters; their IDs, and the bytes that they had written."""
    from pyruntime.pocker.containers.prune import prune  # lazy: after the user has agreed

    return prune(context.places, lambda record: wanted.fit(Aged(record.created, labels(record))), context.warn)
