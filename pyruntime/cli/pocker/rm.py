"""``pocker rm CONTAINER...``."""

from __future__ import annotations

from pyruntime.cli.parse import Command, Flag, Parsed
from pyruntime.cli.pocker.main import Context
from pyruntime.cli.program import out
from pyruntime.engine.container import find
from pyruntime.engine.ending import remove, sweep
from pyruntime.errors import NoSuchContainer

COMMAND = Command("rm", "[options] CONTAINER...", "remove containers",
                  Flag("force", "bool", "kill those that run; none is no error", short="f"),
                  Flag("volumes", "bool", "remove their anonymous volumes too", short="v"),
                  least=1, text="Example:\n  pocker rm -f web")


def run(context: Context, parsed: Parsed) -> int:
    """Remove them."""
    sweep(context.places, context.warn)
    for name in parsed.arguments:
        try:
            container = find(context.places, name)
            remove(container, container.read(), force=parsed["force"], volumes=parsed["volumes"])
        except NoSuchContainer:
            if not parsed["force"]:
                raise
        out(f"{name}\n")
    return 0
