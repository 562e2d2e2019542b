"""``pocker unpause CONTAINER...``."""

from __future__ import annotations

from pyruntime.api import Runtime
from pyruntime.cli.parse import Command, Parsed
from pyruntime.cli.pocker.each import each
from pyruntime.cli.pocker.main import Context
from pyruntime.engine.status import PAUSED

COMMAND = Command("unpause", "CONTAINER...", "let the processes of paused containers go on", least=1,
                  text="Example:\n  pocker unpause web")


def run(context: Context, parsed: Parsed) -> int:
    """Do it to each."""
    runtime = Runtime(context.places.runtime)
    return each(context, parsed.arguments, lambda container, record: runtime.resume(container.id), only=PAUSED)
