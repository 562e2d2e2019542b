"""``pocker pause CONTAINER...``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.pocker.cli.each import LATEST_FLAG, each
from pyruntime.pocker.cli.main import PockerContext

COMMAND = Command("pause", "CONTAINER...", "pause all processes of containers", LATEST_FLAG, least=1,
                  text="Example:\n  pocker pause web")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Pause each container."""
    return each(context, parsed.arguments, context.engine.pause)
