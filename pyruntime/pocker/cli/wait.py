"""``pocker wait CONTAINER...``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.pocker.cli.each import LATEST_FLAG, each
from pyruntime.pocker.cli.main import Context
from pyruntime.pocker.containers.wait import wait

COMMAND = Command("wait", "CONTAINER...", "wait until containers stop, then print their exit statuses",
                  LATEST_FLAG, least=1,
                  text="Example:\n  pocker wait job")


def run(context: Context, parsed: Parsed) -> int:
    """Wait for each."""
    return each(context, parsed.arguments, lambda container, record: str(wait(container)))
