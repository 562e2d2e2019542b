"""``pocker system prune``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import UsageError
from pyruntime.images.cli.prune import collected_lines
from pyruntime.pocker.cli.builders.prune import prune as prune_cache
from pyruntime.pocker.cli.container_prune import prune as prune_containers
from pyruntime.pocker.cli.image_prune import untag
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.cli.network.prune import prune as prune_networks
from pyruntime.pocker.cli.pruning import FILTER, FORCE, check_consent, filters, report
from pyruntime.pocker.cli.volumes.prune import prune as prune_volumes

COMMAND = Command("prune", "[options]", "remove unused data",
                  Flag("all", "bool", "remove all unused images and build cache, not only dangling ones", short="a"),
                  Flag("volumes", "bool", "remove unused anonymous volumes too"), FILTER, FORCE, most=0,
                  text="Removes stopped containers, unused networks, dangling images, dangling build cache, and files\n"
                       "that killed commands have left behind.\n\n"
                       "Example:\n  pocker system prune --all --volumes")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Remove the data; print what was removed and the reclaimed space."""
    from pyruntime.images.progress import size  # lazy: only for printed sizes

    wanted = filters(parsed["filter"])
    if parsed["volumes"] and wanted.asks("until"):
        raise UsageError('--filter "until=" and --volumes do not go together: `pocker volume prune` removes volumes')
    check_consent(parsed, "all stopped containers, all networks that no container uses, "
                  + ("anonymous volumes that no container uses, " if parsed["volumes"] else "")
                  + ("all images that no container uses, " if parsed["all"] else "dangling images, ") + "build cache")
    containers, freed = prune_containers(context, wanted)
    report("Containers", containers)
    if parsed["volumes"]:
        volumes, there = prune_volumes(context, wanted, everything=False)
        report("Volumes", volumes)
        freed += there
    report("Networks", prune_networks(context, wanted))
    lines = untag(context, wanted, everything=parsed["all"])
    steps: list[str] = []
    mounts = 0
    if not wanted.asks("label", "label!"):   # build cache has no labels
        steps, mounts, there = prune_cache(context, oldest=_oldest(parsed), everything=parsed["all"])
        freed += there
    collected = context.places.store.collect()
    report("Images", [*lines, *collected_lines(collected)])
    report("build cache objects", [*steps, *([f"{mounts} cache mounts"] if mounts else [])])
    out(f"Total reclaimed space: {size(freed + collected.size)}\n")
    return 0


def _oldest(parsed: Parsed) -> float | None:
    """The time of --filter until=, in seconds since 1970."""
    from pyruntime.pocker.cli.builders.prune import moment_of  # lazy: only with a time

    return min((moment_of(text.partition("=")[2], "--filter until") for text in parsed["filter"]
                if text.startswith("until=")), default=None)
