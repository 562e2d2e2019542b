"""``pocker unpause CONTAINER...``."""

from __future__ import annotations

from pyruntime.api import Runtime
from pyruntime.cli.parse import Command, Parsed
from pyruntime.cli.pocker.each import each
from pyruntime.cli.pocker.main import Context
from pyruntime.engine.status import PAUSED, status_of
from pyruntime.errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.engine.container import Container, Record

COMMAND = Command("unpause", "CONTAINER...", "let the processes of paused containers go on", least=1,
                  text="Example:\n  pocker unpause web")


def run(context: Context, parsed: Parsed) -> int:
    """Do it to each."""
    runtime = Runtime(context.places.runtime)

    def act(container: Container, record: Record) -> None:
        status = status_of(container).word
        if status != PAUSED:
            raise StateError(f'container "{record.name}" is not paused: it is {status}')
        runtime.resume(container.id)
    return each(context, parsed.arguments, act)
