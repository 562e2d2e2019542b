"""``pyruntime ps ID [PS OPTIONS]``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import UsageError
from pyruntime.runtime.cli.main import RuntimeContext
from pyruntime.runtime.lifecycle.ps import DEFAULT, pids, table
from pyruntime.system.json import encode

COMMAND = Command("ps", "[--format table|json] ID [PS OPTIONS]", "list the processes in a container", Flag(
    "format", "str", "output format: table or json", short="f", default="table"), least=1, stop_at_argument=True,
    text="The table is the output of ps(1) with PS OPTIONS (default: -ef); json is a list of process IDs. All process\n"
         "IDs are those of the host.")


def run(context: RuntimeContext, parsed: Parsed) -> int:
    """Print the processes."""
    if parsed["format"] not in ("table", "json"):
        raise UsageError(f'invalid format option "{parsed["format"]}": write table or json')
    container_id, *options = parsed.arguments
    found = pids(context.root, container_id)
    if parsed["format"] == "json":
        out(encode(found or None) + "\n")   # runc prints null for an empty list, and its callers expect that
    else:
        out(table(found, options or DEFAULT))
    return 0
