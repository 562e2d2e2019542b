"""``pocker container prune``."""

from __future__ import annotations

from pyruntime.cli.parse import Command, Flag, Parsed
from pyruntime.cli.pocker.main import Context
from pyruntime.cli.program import out
from pyruntime.engine.container import every
from pyruntime.engine.ending import remove, sweep
from pyruntime.engine.status import CREATED, EXITED, status_of
from pyruntime.errors import StateError

COMMAND = Command("prune", "[options]", "remove containers that do not run",
                  Flag("force", "bool", "Docker's word for not asking, as we never do", short="f"), most=0,
                  text="Example:\n  pocker container prune")


def run(context: Context, parsed: Parsed) -> int:
    """Remove them, and print their IDs."""
    prune(context)
    return 0


def prune(context: Context) -> None:
    """Remove the containers that do not run; their volumes stay."""
    sweep(context.places, context.warn)
    removed = []
    for container, record in list(every(context.places)):
        status = status_of(container)
        if status.word == EXITED or (status.word == CREATED and not status.run.watched()):
            try:
                remove(container, record)
            except StateError:
                continue   # it was started meanwhile
            removed.append(record.id)
    if removed:
        out("Deleted Containers:\n" + "".join(f"{one}\n" for one in removed) + "\n")
