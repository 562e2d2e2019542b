"""``pocker update CONTAINER...``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.errors import UsageError
from pyruntime.pocker.cli.each import each
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.options.flags import SUBJECTS

_NAMES = {"blkio-weight", "cpu-period", "cpu-quota", "cpu-rt-period", "cpu-rt-runtime", "cpu-shares", "cpus",
          "cpuset-cpus", "cpuset-mems", "mem", "memory", "memory-reservation", "memory-swap", "pids", "pids-limit",
          "restart"}
_FLAGS = sorted((flag for subject in ("resources", "restart") for flag in SUBJECTS[subject]
                 if flag.name in _NAMES), key=lambda flag: flag.name)
COMMAND = Command("update", "[options] CONTAINER...",
                  "update the resource limits and the restart policy of containers", *_FLAGS, least=1,
                  text="Running containers are updated at once. Values that are not given stay as they are.\n\n"
                       "Example:\n  pocker update --memory 1g --cpus 2 web")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Update each container."""
    # lazy: after the flags are read
    from pyruntime.pocker.options.resources import change
    from pyruntime.pocker.options.restart import policy

    given = {name: parsed[name] for name in parsed.given}
    if not given:
        raise UsageError("nothing to change: give a limit, or --restart")
    restart = policy(given["restart"]) if "restart" in given else None
    engine = context.engine
    return each(context, parsed.arguments, lambda container: engine.update(
        container, change(given, engine.settings(container).resources), restart))
