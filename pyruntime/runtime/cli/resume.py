"""``pyruntime resume ID``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.runtime.cli.main import RuntimeContext
from pyruntime.runtime.lifecycle.pause import resume

COMMAND = Command("resume", "ID", "resume all processes in a paused container", least=1, most=1)


def run(context: RuntimeContext, parsed: Parsed) -> int:
    """Resume the processes."""
    resume(context.root, parsed.arguments[0])
    return 0
