"""``pocker unpause CONTAINER...``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.pocker.cli.each import LATEST_FLAG, each
from pyruntime.pocker.cli.main import Context
from pyruntime.pocker.containers.container import Container, Record
from pyruntime.pocker.containers.status import PAUSED
from pyruntime.pocker.events import of_container
from pyruntime.runtime.api import Runtime

COMMAND = Command("unpause", "CONTAINER...", "resume paused containers", LATEST_FLAG, least=1,
                  text="Example:\n  pocker unpause web")


def run(context: Context, parsed: Parsed) -> int:
    """Resume each container."""
    runtime = Runtime(context.places.runtime)

    def act(container: Container, record: Record) -> None:
        runtime.resume(container.id)
        of_container(context.places, record, "unpause")
    return each(context, parsed.arguments, act, only=PAUSED)
