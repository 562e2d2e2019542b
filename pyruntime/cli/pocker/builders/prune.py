"""``pocker builder prune``."""

from __future__ import annotations

from pyruntime.cli.parse import Command, Flag, Parsed
from pyruntime.cli.pocker.main import Context
from pyruntime.cli.program import out
from pyruntime.errors import UsageError

COMMAND = Command("prune", "[options]", "remove what builds remember",
                  Flag("all", "bool", "Docker's word for everything, which we always mean", short="a"),
                  Flag("force", "bool", "Docker's word for not asking, as we never do", short="f"),
                  Flag("keep-mounts", "bool", "leave the directories of RUN --mount=type=cache"),
                  Flag("unused-for", "str", "only what no build has used for so long: 24h, 7d", value="TIME"), most=0,
                  text="Steps and their layers, the directories of cache mounts, and what is known of files.\n"
                       "Layers that an image has stay.\n\nExample:\n  pocker builder prune --unused-for 7d")
_UNITS = {"m": 1 / 1440, "h": 1 / 24, "d": 1.0, "w": 7.0}


def run(context: Context, parsed: Parsed) -> int:
    """Remove it, and say how much room that made."""
    from pyruntime.image.progress import size

    steps, mounts, freed = prune(context, _days(parsed["unused-for"]), mounts=not parsed["keep-mounts"])
    out("".join(f"forgot: {title}\n" for title in steps) + (f"removed cache mounts: {mounts}\n" if mounts else ""))
    out(f"Total reclaimed space: {size(freed)}\n")
    return 0


def prune(context: Context, days: float = 0, *, mounts: bool = True) -> tuple[list[str], int, int]:
    """What was forgotten, how many cache mounts were removed, and the bytes that the store has now less."""
    from pyruntime.image.store import steps

    store = context.places.store
    found = steps.prune(store.layout, days=days, mounts=mounts)
    return found.steps, len(found.mounts), store.collect().size


def _days(text: str) -> float:
    if not text:
        return 0
    number = text[:-1]
    if text[-1:] not in _UNITS or not number.isascii() or not number.isdigit():
        raise UsageError(f'--unused-for "{text}": write a number and m, h, d or w, for example "24h"')
    return int(number) * _UNITS[text[-1]]
