"""``pocker pause CONTAINER...``."""

from __future__ import annotations

from pyruntime.api import Runtime
from pyruntime.cli.parse import Command, Parsed
from pyruntime.cli.pocker.each import each
from pyruntime.cli.pocker.main import Context
from pyruntime.engine.status import RUNNING, status_of
from pyruntime.errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.engine.container import Container, Record

COMMAND = Command("pause", "CONTAINER...", "stop all processes of containers until unpause", least=1,
                  text="Example:\n  pocker pause web")


def run(context: Context, parsed: Parsed) -> int:
    """Do it to each."""
    runtime = Runtime(context.places.runtime)

    def act(container: Container, record: Record) -> None:
        status = status_of(container).word
        if status != RUNNING:
            raise StateError(f'container "{record.name}" is not running: it is {status}')
        runtime.pause(container.id)
    return each(context, parsed.arguments, act)
