"""``pocker unpause CONTAINER...``."""

from __future__ import annotations

from pyruntime.api import Runtime
from pyruntime.cli.parse import Command, Parsed
from pyruntime.cli.pocker.each import LATEST_FLAG, each
from pyruntime.cli.pocker.main import Context
from pyruntime.engine.container import Container, Record
from pyruntime.engine.history import of_container
from pyruntime.engine.status import PAUSED

COMMAND = Command("unpause", "CONTAINER...", "let the processes of paused containers go on", LATEST_FLAG, least=1,
                  text="Example:\n  pocker unpause web")


def run(context: Context, parsed: Parsed) -> int:
    """Do it to each."""
    runtime = Runtime(context.places.runtime)

    def act(container: Container, record: Record) -> None:
        runtime.resume(container.id)
        of_container(context.places, record, "unpause")
    return each(context, parsed.arguments, act, only=PAUSED)
