"""``pyruntime sandbox ls``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.commandline.table import columns
from pyruntime.errors import UsageError
from pyruntime.runtime.cli.main import RuntimeContext
from pyruntime.sandbox.leftovers import every
from pyruntime.system.json import encode

COMMAND = Command("ls", "[options]", "list sandboxes",
                  Flag("format", "str", "output format: table or json", short="f", default="table"),
                  Flag("quiet", "bool", "print only names", short="q"), most=0,
                  text="PROGRAM is the process that made the sandbox. When it has ended, the sandbox is a leftover.")


def run(context: RuntimeContext, parsed: Parsed) -> int:
    """Print the sandboxes of this host, by name."""
    if parsed["format"] not in ("table", "json"):
        raise UsageError(f'invalid format option "{parsed["format"]}": write table or json')
    found = every()
    if parsed["quiet"]:
        out("".join(f"{one.name}\n" for one in found))
    elif parsed["format"] == "json":
        out(encode([{"name": one.name, "program": one.program, "status": one.status, "pid": one.pid,
                     "created": one.created} for one in found]) + "\n")
    else:
        out(columns([["NAME", "PROGRAM", "STATUS", "PID", "CREATED"],
                     *([one.name, str(one.program), one.status, str(one.pid), one.created] for one in found)]))
    return 0
