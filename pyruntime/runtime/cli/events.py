"""``pyruntime events ID``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import UsageError
from pyruntime.runtime.cli.main import RuntimeContext
from pyruntime.system.json import encode

COMMAND = Command(
    "events", "[options] ID", "print container events: resource usage statistics and OOM notifications",
    Flag("interval", "str", "interval between statistics, for example 500ms or 1m30s", default="5s",
         value="DURATION"),
    Flag("stats", "bool", "print the statistics once and exit"), least=1, most=1)
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def run(context: RuntimeContext, parsed: Parsed) -> int:
    """Print one JSON object a line until the container's cgroup is gone."""
    from pyruntime.runtime.lifecycle.events import events, statistics

    container_id = parsed.arguments[0]
    interval = seconds(parsed["interval"])
    if interval <= 0:
        raise UsageError("duration interval must be greater than 0")
    if parsed["stats"]:
        out(encode({"type": "stats", "id": container_id, "data": statistics(context.root, container_id)}) + "\n")
        return 0
    for event in events(context.root, container_id, interval):
        out(encode(event) + "\n")
    return 0


def seconds(text: str) -> float:
    """Go's durations: 100ms, 1m30s, 1.5h."""
    total, rest = 0.0, text
    while rest:
        length = next((index for index, sign in enumerate(rest) if sign not in "0123456789."), len(rest))
        number, rest = rest[:length], rest[length:]
        unit = next((name for name in sorted(_UNITS, key=len, reverse=True) if rest.startswith(name)), "")
        if not number.replace(".", "", 1).isdigit() or not unit:
            total = -1.0
            break
        total += float(number) * _UNITS[unit]
        rest = rest[len(unit):]
    if total < 0 or not text:
        raise UsageError(f'Incorrect Usage: invalid value "{text}" for flag -interval: parse error: write 500ms or'
                         " 1m30s")
    return total
