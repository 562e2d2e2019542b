"""``pocker rename CONTAINER NAME``."""

from __future__ import annotations

from pyruntime.cli.parse import Command, Parsed
from pyruntime.cli.pocker.main import Context
from pyruntime.engine.container import find, rename

COMMAND = Command("rename", "CONTAINER NAME", "give a container another name", least=2, most=2,
                  text="Example:\n  pocker rename web old-web")


def run(context: Context, parsed: Parsed) -> int:
    """Rename it."""
    rename(find(context.places, parsed.arguments[0]), parsed.arguments[1])
    return 0
