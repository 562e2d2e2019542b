"""``pocker rename CONTAINER NAME``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.pocker.cli.main import PockerContext

COMMAND = Command("rename", "CONTAINER NAME", "rename a container", least=2, most=2,
                  text="Example:\n  pocker rename web old-web")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Rename the container."""
    context.engine.rename(*parsed.arguments)
    return 0
