"""``pocker rename CONTAINER NAME``."""

from __future__ import annotations

from pyruntime.cli.parse import Command, Parsed
from pyruntime.cli.pocker.main import Context
from pyruntime.engine.container import find, rename
from pyruntime.engine.network import attach

COMMAND = Command("rename", "CONTAINER NAME", "give a container another name", least=2, most=2,
                  text="Example:\n  pocker rename web old-web")


def run(context: Context, parsed: Parsed) -> int:
    """Rename it."""
    container = find(context.places, parsed.arguments[0])
    rename(container, parsed.arguments[1])
    attach.rename(context.places, container.read())
    return 0
