"""``pocker system prune``."""

from __future__ import annotations

from pyruntime.cli.image.prune import unused
from pyruntime.cli.parse import Command, Flag, Parsed
from pyruntime.cli.pocker.builders.prune import prune as prune_cache
from pyruntime.cli.pocker.container_prune import prune as prune_containers
from pyruntime.cli.pocker.filters import Filters
from pyruntime.cli.pocker.main import Context
from pyruntime.cli.pocker.volumes.prune import prune as prune_volumes
from pyruntime.cli.program import out

COMMAND = Command("prune", "[options]", "remove what nothing uses",
                  Flag("all", "bool", "images that no container uses, and all of the build cache, too", short="a"),
                  Flag("volumes", "bool", "anonymous volumes that no container uses too"),
                  Flag("force", "bool", "Docker's word for not asking, as we never do", short="f"), most=0,
                  text="Containers that do not run, content of images that have no name any more, what builds remember"
                       "\nand no image has, and what commands that were killed have left.\n\n"
                       "Example:\n  pocker system prune --all --volumes")


def run(context: Context, parsed: Parsed) -> int:
    """Remove it, and say what, and how much room that made."""
    from pyruntime.image.progress import size

    prune_containers(context)
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
    steps, mounts, freed = prune_cache(context, everything=parsed["all"])
    if steps or mounts:
        out(f"Deleted build cache: {len(steps)} steps, {mounts} cache mounts\n")
    out(f"Total reclaimed space: {size(total + freed)}\n")
    return 0
