"""``pocker volume prune``."""

from __future__ import annotations

from pyruntime.cli.parse import Command, Flag, Parsed
from pyruntime.cli.pocker.filters import Filters
from pyruntime.cli.pocker.main import Context
from pyruntime.cli.pocker.volumes.ls import label_fits
from pyruntime.cli.program import out
from pyruntime.engine import ending
from pyruntime.engine.volumes import every, remove, size, sweep, users
from pyruntime.errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.engine.volumes import Volume

COMMAND = Command("prune", "[options]", "remove volumes that no container uses",
                  Flag("all", "bool", "those with a name of their own too", short="a"),
                  Flag("filter", "list", "remove only those that fit: label", value="KEY=VALUE"),
                  Flag("force", "bool", "Docker's word for not asking, as we never do", short="f"), most=0,
                  text="Without --all only volumes that were invented for a container.\n\n"
                       "Example:\n  pocker volume prune --all")


def run(context: Context, parsed: Parsed) -> int:
    """Remove them, and say how much room that made."""
    from pyruntime.image.progress import size as in_words

    names, total = prune(context, Filters(parsed["filter"], {"label": _label}), everything=parsed["all"])
    if names:
        out("Deleted Volumes:\n" + "".join(f"{name}\n" for name in names) + "\n")
    out(f"Total reclaimed space: {in_words(total)}\n")
    return 0


def _label(volume: Volume, value: str) -> bool:
    return label_fits(volume.labels, value)


def prune(context: Context, filters: Filters, *, everything: bool) -> tuple[list[str], int]:
    """Remove the volumes that nobody uses and that fit; their names, and the bytes that were in them."""
    ending.sweep(context.places, context.warn)
    sweep(context.places)
    using, names, total = users(context.places), [], 0
    for volume in list(every(context.places)):
        if volume.name not in using and (everything or volume.anonymous) and filters.fit(volume):
            room = size(context.places, volume.name)
            try:
                remove(context.places, volume.name)
            except StateError:
                continue   # a container has come meanwhile
            names.append(volume.name)
            total += room
    return names, total
