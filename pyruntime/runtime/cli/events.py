"""``pyruntime events ID``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import UsageError
from pyruntime.runtime.cli.main import RuntimeContext
from pyruntime.system import durations
from pyruntime.system.json import encode

COMMAND = Command(
    "events", "[options] ID", "print container events: resource usage statistics and OOM notifications",
    Flag("interval", "str", "interval between statistics, for example 500ms or 1m30s", default="5s",
         value="DURATION"),
    Flag("stats", "bool", "print the statistics once and exit"), least=1, most=1)


def run(context: RuntimeContext, parsed: Parsed) -> int:
    """Print one JSON object per line until the container's cgroup is gone."""
    # lazy: help and completion load every command's module
    from pyruntime.runtime.lifecycle.events import events, statistics

    container_id = parsed.arguments[0]
    interval = interval_of(parsed["interval"])
    if parsed["stats"]:
        out(encode({"type": "stats", "id": container_id, "data": statistics(context.root, container_id)}) + "\n")
        return 0
    for event in events(context.root, container_id, interval):
        out(encode(event) + "\n")
    return 0


def interval_of(text: str) -> float:
    """The seconds of --interval."""
    nanoseconds = durations.parse(text)
    if nanoseconds is None:
        raise UsageError(f'Incorrect Usage: invalid value "{text}" for flag -interval: parse error: write 500ms or'
                         " 1m30s")
    if not nanoseconds:
        raise UsageError("duration interval must be greater than 0")
    return nanoseconds / 10**9
