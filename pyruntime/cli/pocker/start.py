"""``pocker start CONTAINER...``."""

from __future__ import annotations

from pyruntime.cli.parse import Command, Parsed
from pyruntime.cli.pocker.main import Context
from pyruntime.cli.program import out
from pyruntime.engine.container import find
from pyruntime.engine.ending import sweep
from pyruntime.engine.launch import Options, launch
from pyruntime.engine.status import CREATED, EXITED, status_of

COMMAND = Command("start", "[options] CONTAINER...", "start containers", least=1,
                  text="Nothing happens to one that runs.\n\nExample:\n  pocker start web")


def run(context: Context, parsed: Parsed) -> int:
    """Start them."""
    sweep(context.places, context.warn)
    for name in parsed.arguments:
        container = find(context.places, name)
        with container.lock() as lock:
            if status_of(container).word in (CREATED, EXITED):
                launch(container, container.read(), lock, Options())
        out(f"{name}\n")
    return 0
