"""``pocker stop CONTAINER...``."""

from __future__ import annotations

from pyruntime.cli.parse import Command, Flag, Parsed
from pyruntime.cli.pocker.main import Context
from pyruntime.cli.program import out
from pyruntime.engine.container import find
from pyruntime.engine.ending import stop

COMMAND = Command("stop", "[options] CONTAINER...", "stop containers",
                  Flag("signal", "str", "signal to send", short="s", value="SIGNAL"),
                  Flag("time", "int", "seconds before it is killed; -1: never", short="t", default=-2),
                  least=1, text="Example:\n  pocker stop web")


def run(context: Context, parsed: Parsed) -> int:
    """Stop them."""
    for name in parsed.arguments:
        container = find(context.places, name)
        record = container.read()
        timeout = parsed["time"] if parsed["time"] != -2 else record.settings.stop_timeout
        stop(container, record, signal=parsed["signal"], timeout=timeout)
        out(f"{name}\n")
    return 0
