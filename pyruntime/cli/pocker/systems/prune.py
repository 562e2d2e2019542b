"""``pocker system prune``."""

from __future__ import annotations

from pyruntime.cli.image.prune import unused
from pyruntime.cli.parse import Command, Flag, Parsed
from pyruntime.cli.pocker.filters import Filters
from pyruntime.cli.pocker.main import Context
from pyruntime.cli.pocker.volumes.prune import prune as prune_volumes
from pyruntime.cli.program import out
from pyruntime.engine.container import every
from pyruntime.engine.ending import remove, sweep
from pyruntime.engine.status import CREATED, EXITED, status_of
from pyruntime.errors import StateError

COMMAND = Command("prune", "[options]", "remove what nothing uses",
                  Flag("all", "bool", "images that no container uses too", short="a"),
                  Flag("volumes", "bool", "anonymous volumes that no container uses too"),
                  Flag("force", "bool", "Docker's word for not asking, as we never do", short="f"), most=0,
                  text="Containers that do not run, content of images that have no name any more, and what commands\n"
                       "that were killed have left.\n\nExample:\n  pocker system prune --all --volumes")


def run(context: Context, parsed: Parsed) -> int:
    """Remove it, and say what, and how much room that made."""
    from pyruntime.image.progress import size

    sweep(context.places, context.warn)
    removed = []
    for container, record in list(every(context.places)):
        status = status_of(container)
        if status.word == EXITED or (status.word == CREATED and not status.run.watched()):
            try:
                remove(container, record, volumes=False)
            except StateError:
                continue   # it was started meanwhile
            removed.append(record.id)
    if removed:
        out("Deleted Containers:\n" + "".join(f"{one}\n" for one in removed) + "\n")
    total = 0
    if parsed["volumes"]:
        names, total = prune_volumes(context, Filters([], {}), everything=False)
        if names:
            out("Deleted Volumes:\n" + "".join(f"{name}\n" for name in names) + "\n")
    store = context.places.store
    names = unused(context.images, {bundle.manifest for bundle in store.bundles()}) if parsed["all"] else []
    for name in names:
        store.untag(name)
        out(f"untagged: {name}\n")
    collected = store.collect()
    total += sum(count for kind in ("blobs", "layers", "subvolumes", "partials")
                 for _, count in getattr(collected, kind))
    out(f"Total reclaimed space: {size(total)}\n")
    return 0
