"""``pocker ps``."""

from __future__ import annotations

from pyruntime.cli.parse import Command, Flag, Parsed
from pyruntime.cli.pocker.main import Context
from pyruntime.cli.program import out
from pyruntime.cli.table import columns
from pyruntime.engine.container import every
from pyruntime.engine.ending import sweep
from pyruntime.engine.status import CREATED, EXITED, status_of

COMMAND = Command("ps", "[options]", "list containers",
                  Flag("all", "bool", "those that do not run too", short="a"),
                  Flag("quiet", "bool", "print IDs only", short="q"),
                  most=0, text="Example:\n  pocker ps -a")


def run(context: Context, parsed: Parsed) -> int:
    """List them."""
    sweep(context.places, context.warn)
    rows = []
    for container, record in every(context.places):
        status = status_of(container)
        if not parsed["all"] and status.word in (CREATED, EXITED):
            continue
        rows.append([record.id[:12], record.image, status.word + (f" ({status.exit.status})" if status.exit else ""),
                     record.name])
    if parsed["quiet"]:
        out("".join(f"{row[0]}\n" for row in rows))
    else:
        out(columns([["CONTAINER ID", "IMAGE", "STATUS", "NAMES"], *rows]))
    return 0
