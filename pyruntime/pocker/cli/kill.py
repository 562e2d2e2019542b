"""``pocker kill CONTAINER...``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.pocker.cli.each import LATEST_FLAG, each
from pyruntime.pocker.cli.main import PockerContext

COMMAND = Command("kill", "[options] CONTAINER...", "kill containers or send them a signal",
                  Flag("signal", "str", "signal to send", short="s", default="KILL", value="SIGNAL"),
                  LATEST_FLAG, least=1,
                  text="Example:\n  pocker kill -s HUP web")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Send the signal to each container."""
    return each(context, parsed.arguments, lambda container: context.engine.kill(container, parsed["signal"]))
