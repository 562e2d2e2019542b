"""``pocker diff CONTAINER``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.commandline.table import printable
from pyruntime.images.cli.show import show
from pyruntime.pocker.cli.each import LATEST_FLAG
from pyruntime.pocker.cli.main import PockerContext

COMMAND = Command("diff", "[options] CONTAINER", "list changes to the files of a container",
                  Flag("format", "str", "output format: table, json, or a template such as '{{.Path}}'",
                       default="table"),
                  LATEST_FLAG, least=1, most=1,
                  text="A: added, C: changed, D: deleted, since the container was created. Changes in volumes and\n"
                       "other mounts are not listed.\n\nExample:\n  pocker diff web")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Print the changes."""
    found = context.engine.diff(context.find(parsed.arguments[0]).id)
    if not show(parsed["format"], [{"Kind": kind, "Path": path} for kind, path in found]):
        out("".join(f"{kind} {printable(path)}\n" for kind, path in found))
    return 0
