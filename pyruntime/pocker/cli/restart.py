"""``pocker restart CONTAINER...``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.pocker.cli.each import LATEST_FLAG, each
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.cli.stop import OLD_TIME, SIGNAL, TIME, timeout

COMMAND = Command("restart", "[options] CONTAINER...", "restart containers", LATEST_FLAG, SIGNAL,
                  TIME, OLD_TIME, least=1, text="Example:\n  pocker restart web")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Restart each container."""
    return each(context, parsed.arguments, lambda container: context.engine.restart(
        container, signal=parsed["signal"], timeout=timeout(parsed)))
