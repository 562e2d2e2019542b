"""``pyruntime pause ID``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.runtime.cli.main import Context
from pyruntime.runtime.lifecycle.pause import pause

COMMAND = Command("pause", "ID", "suspend all processes of a container", least=1, most=1,
                  text="They stop where they are until `resume`: their cgroup is frozen.")


def run(context: Context, parsed: Parsed) -> int:
    """Suspend the processes."""
    pause(context.root, parsed.arguments[0])
    return 0
