"""``pocker volume prune``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import StateError
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.cli.pruning import FORCE, LABELS, Aged, check_consent, filters, report
from pyruntime.pocker.containers import stop as ending
from pyruntime.pocker.volumes import every, remove, size, sweep, users

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.pocker.cli.filters import Filters

COMMAND = Command("prune", "[options]", "remove unused volumes",
                  Flag("all", "bool", "remove all unused volumes, not only anonymous ones", short="a"),
                  LABELS, FORCE, most=0,
                  text="Without --all, only anonymous volumes are removed.\n\n"
                       "Example:\n  pocker volume prune --all")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Remove the volumes and print the reclaimed space."""
    from pyruntime.images.progress import size as in_words  # lazy: only for printed sizes

    wanted = filters(parsed["filter"], by_age=False)
    check_consent(parsed, f"all {'' if parsed['all'] else 'anonymous '}volumes that no container uses")
    names, total = prune(context, wanted, everything=parsed["all"])
    report("Volumes", names)
    out(f"Total reclaimed space: {in_words(total)}\n")
    return 0


def prune(context: PockerContext, wanted: Filters, *, everything: bool) -> tuple[list[str], int]:
    """Remove the unused volumes that match the filters; their names, and the bytes that were in them."""
    ending.sweep(context.places, context.warn)
    sweep(context.places)
    using, names, total = users(context.places), [], 0
    for volume in list(every(context.places)):
        if volume.name not in using and (everything or volume.anonymous) and wanted.fit(
                Aged(volume.created, volume.labels)):
            room = size(context.places, volume.name)
            try:
                remove(context.places, volume.name)
            except StateError:
                continue   # in the meantime, a container has started to use it
            names.append(volume.name)
            total += room
    return names, total
