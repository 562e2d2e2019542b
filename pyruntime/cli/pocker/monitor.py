"""``pocker monitor``: what a container's monitor calls when something is to be decided. Not for people."""

from __future__ import annotations

from pyruntime.cli.parse import Command, Parsed
from pyruntime.cli.pocker.main import Context
from pyruntime.engine import rootless
from pyruntime.engine.container import Container
from pyruntime.engine.supervise import EVENTS

COMMAND = Command("monitor", "EVENT ID", "decide for a container's monitor", least=2, most=2,
                  text="Events: finish, restart, health. Called by the monitor, which it becomes again.")


def run(context: Context, parsed: Parsed) -> int:
    """Decide."""
    event, container_id = parsed.arguments
    rootless.uses(context.places, handed_on=False)   # the monitor has handed it on to us, and a health check must not
    return EVENTS[event](Container(context.places, container_id))
