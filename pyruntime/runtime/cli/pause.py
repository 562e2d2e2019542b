"""``pyruntime pause ID``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.runtime.cli.main import RuntimeContext
from pyruntime.runtime.lifecycle.pause import pause

COMMAND = Command("pause", "ID", "pause all processes in a container", least=1, most=1,
                  text="Freezes the cgroup of the container until `resume`.")


def run(context: RuntimeContext, parsed: Parsed) -> int:
    """Pause the processes."""
    pause(context.root, parsed.arguments[0])
    return 0
