"""``pocker volume inspect``."""

from __future__ import annotations

from pyruntime.cli.image.show import show
from pyruntime.cli.log import LOG
from pyruntime.cli.parse import Command, Flag, Parsed
from pyruntime.cli.pocker.main import Context
from pyruntime.engine.volumes import describe, find, users
from pyruntime.errors import PyruntimeError

COMMAND = Command("inspect", "[options] VOLUME...", "show everything about volumes",
                  Flag("format", "str", "json, or a template such as '{{.Mountpoint}}'", short="f", default="json"),
                  least=1, text="Example:\n  pocker volume inspect -f '{{.Mountpoint}}' data")


def run(context: Context, parsed: Parsed) -> int:
    """Show what is found; what is not found is told."""
    found, status = [], 0
    using = users(context.places)
    for name in parsed.arguments:
        try:
            found.append({**describe(context.places, find(context.places, name)), "Containers": using.get(name, [])})
        except PyruntimeError as error:
            LOG.error(error)
            status = 1
    show(parsed["format"], found)
    return status
