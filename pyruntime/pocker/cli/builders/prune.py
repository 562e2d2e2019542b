"""``pocker builder prune``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import UsageError
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.cli.pruning import FORCE, check_consent
from pyruntime.system.times import parse

COMMAND = Command("prune", "[options]", "remove build cache",
                  Flag("all", "bool", "remove all build cache, not only dangling entries", short="a"),
                  Flag("filter", "list", "until=24h: only entries unused for 24 hours; type=regular: build steps;"
                       " type=exec.cachemount: cache mounts", value="KEY=VALUE"),
                  FORCE,
                  Flag("keep-mounts", "bool", "keep the cache mounts of RUN --mount=type=cache"),
                  Flag("unused-for", "str", "only entries that no build has used for TIME: 24h, 7d", value="TIME"),
                  most=0,
                  text="Removes build steps whose layers no image has, and cache mounts; with --all, all build steps.\n"
                       "Images keep their layers.\n\nExample:\n  pocker builder prune --filter until=168h")
_KEYS = ("until", "unused-for", "type")
_TYPES = ("regular", "exec.cachemount")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Remove the entries and print the reclaimed space."""
    from pyruntime.images.progress import size  # lazy: only for printed sizes

    times = [moment_of(parsed["unused-for"], "--unused-for")] if parsed["unused-for"] else []
    kinds = set()
    for text in parsed["filter"]:
        key, equals, value = text.partition("=")
        if not equals or key not in _KEYS or (key == "type" and value not in _TYPES):
            raise UsageError(f'--filter "{text}": write until=24h, unused-for=24h, or type={"|".join(_TYPES)}')
        if key == "type":
            kinds.add(value)
        else:
            times.append(moment_of(value, f"--filter {key}"))
    kinds = (kinds or set(_TYPES)) - ({"exec.cachemount"} if parsed["keep-mounts"] else set())
    check_consent(parsed, "all build cache" if parsed["all"] else "all dangling build cache")
    steps, mounts, freed = prune(context, oldest=min(times, default=None), everything=parsed["all"], kinds=kinds)
    out("".join(f"forgot: {title}\n" for title in steps) + (f"removed cache mounts: {mounts}\n" if mounts else ""))
    out(f"Total reclaimed space: {size(freed)}\n")
    return 0


def prune(context: PockerContext, *, oldest: float | None = None, everything: bool = False,
          kinds: set[str] | None = None) -> tuple[list[str], int, int]:
    """Remove build cache: the titles of removed steps, the number of removed cache mounts, and the reclaimed bytes.

    ``oldest``: keep entries used after this time, in seconds since 1970; ``everything``: also steps whose layer an
    image has; ``kinds`` of --filter type=.
    """
    # lazy: after the user has agreed
    from pyruntime.images.store import steps
    from pyruntime.images.store.usage import digests_of_images, mounts_size

    store = context.places.store
    keep = set() if everything else digests_of_images(store.layout)
    before = mounts_size(store.layout)
    found = steps.prune(store.layout, oldest=oldest, keep=keep, steps=kinds is None or "regular" in kinds,
                        mounts=kinds is None or "exec.cachemount" in kinds)
    freed = max(0, before - mounts_size(store.layout)) if found.mounts else 0
    return found.steps, len(found.mounts), store.collect().size + freed


def moment_of(text: str, flag: str) -> float:
    """A time, or a duration before now (Go's form, or days and weeks), as seconds since 1970."""
    from pyruntime.pocker.cli.times import moment  # lazy: only with a time

    hours = {"d": 24, "w": 168}.get(text[-1:])
    if hours and text[:-1].isascii() and text[:-1].isdigit():
        text = f"{int(text[:-1]) * hours}h"
    elif text.isdecimal() and flag == "--unused-for":
        raise UsageError(f'{flag} "{text}": write a number and m, h, d or w, for example "24h"')
    return parse(moment(text, flag)) / 10**9
