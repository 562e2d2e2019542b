"""``pocker diff CONTAINER``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.commandline.table import printable
from pyruntime.images.cli.show import show
from pyruntime.pocker.cli.each import LATEST_FLAG
from pyruntime.pocker.cli.main import Context
from pyruntime.pocker.containers.container import find
from pyruntime.pocker.containers.diff import changed

COMMAND = Command("diff", "[options] CONTAINER", "show what a container has changed in its files",
                  Flag("format", "str", "table, json, or a template such as '{{.Path}}'", default="table"),
                  LATEST_FLAG, least=1, most=1,
                  text="A: added, C: changed, D: removed, since the container was made. What is in volumes and other\n"
                       "mounts is no part of it.\n\nExample:\n  pocker diff web")


def run(context: Context, parsed: Parsed) -> int:
    """Show it."""
    container = find(context.places, parsed.arguments[0])
    found = changed(container, container.read())
    if not show(parsed["format"], [{"Kind": kind, "Path": path} for kind, path in found]):
        out("".join(f"{kind} {printable(path)}\n" for kind, path in found))
    return 0
