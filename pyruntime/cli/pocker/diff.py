"""``pocker diff CONTAINER``."""

from __future__ import annotations

from pyruntime.cli.image.show import show
from pyruntime.cli.parse import Command, Flag, Parsed
from pyruntime.cli.pocker.each import LATEST_FLAG
from pyruntime.cli.pocker.main import Context
from pyruntime.cli.program import out
from pyruntime.cli.table import printable
from pyruntime.engine.changes import changed
from pyruntime.engine.container import find

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
