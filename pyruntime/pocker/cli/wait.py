"""``pocker wait CONTAINER...``."""

from __future__ import annotations

from pyruntime.commandline.log import LOG
from pyruntime.commandline.parse import Command, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import PyruntimeError
from pyruntime.pocker.cli.each import LATEST_FLAG
from pyruntime.pocker.cli.main import PockerContext

COMMAND = Command("wait", "CONTAINER...", "wait until containers stop, then print their exit statuses",
                  LATEST_FLAG, least=1,
                  text="Example:\n  pocker wait job")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Wait for each container and print its exit status; a failure is logged, and the others are still waited for."""
    status = 0
    for name in parsed.arguments:
        try:
            out(f"{context.engine.wait(context.find(name).id)}\n")
        except PyruntimeError as error:
            LOG.error(error)
            status = 1
    return status
