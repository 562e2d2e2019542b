"""``pocker image prune``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.images.cli.prune import collected_lines
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.cli.pruning import FILTER, FORCE, Aged, check_consent, filters, report
from pyruntime.pocker.containers.stop import sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.pocker.cli.filters import Filters

COMMAND = Command("prune", "[options]", "remove unused images",
                  Flag("all", "bool", "remove all images that no container uses, not only dangling ones", short="a"),
                  FILTER, FORCE, most=0,
                  text="Example:\n  pocker image prune --all --filter until=168h")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Remove the images and print which."""
    from pyruntime.images.progress import size  # lazy: only for printed sizes

    wanted = filters(parsed["filter"])
    check_consent(parsed, "all images that no container uses" if parsed["all"] else "all dangling images")
    sweep(context.places, context.warn)
    lines = untag(context, wanted, everything=parsed["all"])
    collected = context.places.store.collect()
    report("Images", [*lines, *collected_lines(collected)])
    out(f"Total reclaimed space: {size(collected.size)}\n")
    return 0


def untag(context: PockerContext, wanted: Filters, *, everything: bool) -> list[str]:
    """Untag the images that no container uses and that match the filters: all of them, or only dangling ones. Returns a
    line for each; the next collection removes their blobs and layers."""
    # lazy: only for images
    from pyruntime.errors import PyruntimeError
    from pyruntime.images.lookup import find
    from pyruntime.images.reference import familiar
    from pyruntime.images.remove import unused
    from pyruntime.images.store.names import is_nameless

    store = context.places.store
    lines = []
    for name in unused(context.places.store, everything=everything):
        try:
            image = find(store, name).config
            aged = Aged(str(image.document.get("created", "")), image.config.get("Labels") or {})
        except PyruntimeError:
            aged = Aged("", {})   # it cannot be read, so no container can use it
        if wanted.fit(aged):
            store.untag(name)
            lines.append(f"untagged: {name.partition('@')[2] if is_nameless(name) else familiar(name)}")
    return lines
