"""``pocker logs CONTAINER``."""

from __future__ import annotations

import os

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.errors import UsageError
from pyruntime.pocker.cli.each import LATEST_FLAG
from pyruntime.pocker.cli.main import PockerContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.pocker.containers.container import ContainerRecord

COMMAND = Command(
    "logs", "[options] CONTAINER", "show the logs of a container",
    Flag("details", "bool", "print the labels and variables that --log-opt labels=NAME,... and env=NAME,... name"),
    Flag("follow", "bool", "follow the log output", short="f"),
    LATEST_FLAG,
    Flag("since", "str", "print lines since a timestamp (RFC 3339 or seconds since 1970) or relative time (10m)",
         value="TIME"),
    Flag("until", "str", "print lines before a timestamp or relative time", value="TIME"),
    Flag("tail", "str", "number of lines to print from the end of the logs", short="n", default="all", value="N"),
    Flag("timestamps", "bool", "print the time of each line", short="t"), least=1, most=1,
    text="Example:\n  pocker logs -f --tail 20 web")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Show the log."""
    container = context.find(parsed.arguments[0])
    record = container.read()
    tail = parsed["tail"]
    if tail != "all" and not tail.isdecimal():
        raise UsageError(f'--tail "{tail}": write a number of lines, or all')
    details = f"{_details(record)} ".encode() if parsed["details"] else b""
    begun = {"stdout": True, "stderr": True}   # whether a new line begins there
    for entry in context.engine.logs(container.id, since=_time(parsed, "since"), until=_time(parsed, "until"),
                                     tail=-1 if tail == "all" else int(tail), follow=parsed["follow"]):
        stamp = b""
        if begun[entry.stream]:
            stamp = (f"{entry.when} ".encode() if parsed["timestamps"] else b"") + details
        begun[entry.stream] = entry.text.endswith(b"\n")
        data = memoryview(stamp + entry.text)
        while data:
            data = data[os.write(2 if entry.stream == "stderr" else 1, data):]
    return 0


def _details(record: ContainerRecord) -> str:
    """The labels and variables that --log-opt names, in Docker's form: NAME=VALUE,NAME=VALUE."""
    from pyruntime.pocker.containers.inspect import labels  # lazy: only with --details

    env = [*(record.image_config.get("Env") or []), *record.settings.env]
    there = {"labels": labels(record), "env": dict(entry.partition("=")[::2] for entry in env)}
    found = {name: there[kind][name] for kind, names in record.settings.logging.details.items() for name in names
             if name in there[kind]}
    return ",".join(f"{name}={value}" for name, value in sorted(found.items()))


def _time(parsed: Parsed, flag: str) -> str:
    if not parsed[flag]:
        return ""
    from pyruntime.pocker.cli.times import moment  # lazy: only with a time

    return moment(parsed[flag], f"--{flag}")
