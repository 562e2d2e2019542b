"""``pocker network prune``."""

from __future__ import annotations

from pyruntime.cli.parse import Command, Flag, Parsed
from pyruntime.cli.pocker.main import Context
from pyruntime.cli.program import out
from pyruntime.engine.ending import sweep
from pyruntime.engine.network import attach

COMMAND = Command("prune", "[options]", "remove the networks that no container is in",
                  Flag("force", "bool", "nothing is asked in any case", short="f"), most=0,
                  text="Example:\n  pocker network prune")


def run(context: Context, parsed: Parsed) -> int:
    """Remove them, and print their names."""
    sweep(context.places, context.warn)
    for name in attach.unused(context.places):
        attach.remove(context.places, name)
        out(f"{name}\n")
    return 0
