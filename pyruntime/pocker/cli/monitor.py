"""``pocker monitor``: called by a container's monitor when a decision is needed. Not for users."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.containers import rootless
from pyruntime.pocker.containers.container import Container
from pyruntime.pocker.containers.monitor_events import EVENTS

COMMAND = Command("monitor", "EVENT ID", "decide for a container's monitor", least=2, most=2,
                  text="Events: finish, restart, health. The monitor executes this command, which then executes the\n"
                       "monitor again.")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Decide."""
    event, container_id = parsed.arguments
    rootless.uses(context.places, handed_on=False)   # the monitor has handed it on to us, and a health check must not
    return EVENTS[event](Container(context.places, container_id))
