"""``pocker top CONTAINER``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import StateError
from pyruntime.pocker.cli.each import LATEST_FLAG
from pyruntime.pocker.cli.main import Context
from pyruntime.pocker.containers.container import find
from pyruntime.pocker.containers.status import PAUSED, RUNNING, status_of
from pyruntime.runtime.api import Runtime
from pyruntime.runtime.lifecycle.ps import DEFAULT, table

COMMAND = Command("top", "CONTAINER [PS OPTIONS]", "show the processes of a container",
                  LATEST_FLAG, least=1, stop_at_argument=True,
                  text="What ps(1) of this machine says of them; the numbers are the machine's.\n\n"
                       "Example:\n  pocker top web -o pid,args")


def run(context: Context, parsed: Parsed) -> int:
    """Show them."""
    container = find(context.places, parsed.arguments[0])
    if status_of(container).word not in (RUNNING, PAUSED):
        raise StateError(f'container "{container.read().name}" is not running')
    out(table(Runtime(context.places.runtime).pids(container.id), parsed.arguments[1:] or DEFAULT))
    return 0
