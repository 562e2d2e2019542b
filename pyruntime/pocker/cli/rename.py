"""``pocker rename CONTAINER NAME``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.pocker.cli.main import Context
from pyruntime.pocker.containers import network
from pyruntime.pocker.containers.container import rename

COMMAND = Command("rename", "CONTAINER NAME", "rename a container", least=2, most=2,
                  text="Example:\n  pocker rename web old-web")


def run(context: Context, parsed: Parsed) -> int:
    """Rename it."""
    container = context.find(parsed.arguments[0])
    rename(container, parsed.arguments[1])
    network.rename(context.places, container.read())
    return 0
