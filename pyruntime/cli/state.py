"""``pyruntime state ID``."""

from __future__ import annotations

from pyruntime.cli.main import Context
from pyruntime.cli.parse import Command, Parsed
from pyruntime.cli.program import out
from pyruntime.config.decode import encode
from pyruntime.lifecycle.status import document, status_of
from pyruntime.lifecycle.store import Container

COMMAND = Command("state", "ID", "print the state of a container", least=1, most=1)


def run(context: Context, parsed: Parsed) -> int:
    """Print the state document (runtime.md#state)."""
    container = Container(context.root, parsed.arguments[0])
    record = container.read()
    out(encode(document(record, status_of(container, record)), 2) + "\n")
    return 0
