"""``pyruntime state ID``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.commandline.program import out
from pyruntime.runtime.cli.main import RuntimeContext
from pyruntime.runtime.lifecycle.status import document, status_of
from pyruntime.runtime.lifecycle.store import StateDirectory
from pyruntime.system.json import encode

COMMAND = Command("state", "ID", "print the state of a container", least=1, most=1)


def run(context: RuntimeContext, parsed: Parsed) -> int:
    """Print the state document (runtime.md#state)."""
    container = StateDirectory(context.root, parsed.arguments[0])
    record = container.read()
    out(encode(document(record, status_of(container, record)), 2) + "\n")
    return 0
