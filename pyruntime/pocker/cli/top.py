"""``pocker top CONTAINER``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.commandline.program import out
from pyruntime.pocker.cli.each import LATEST_FLAG
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.runtime.api import Runtime

COMMAND = Command("top", "CONTAINER [PS OPTIONS]", "list the processes of a container",
                  LATEST_FLAG, least=1, stop_at_argument=True,
                  text="The list is the output of ps(1) on the host, with process IDs of the host.\n\n"
                       "Example:\n  pocker top web -o pid,args")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Print the list."""
    pids = context.engine.top(context.find(parsed.arguments[0]).id)
    out(Runtime.process_table(pids, parsed.arguments[1:]))
    return 0
