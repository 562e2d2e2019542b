"""``pocker image inspect NAME...``."""

from __future__ import annotations

from pyruntime.cli.parse import Command, Parsed
from pyruntime.cli.pocker.documents import FORMAT
from pyruntime.cli.pocker.inspect import inspect
from pyruntime.cli.pocker.main import Context

COMMAND = Command("inspect", "[options] IMAGE...", "show everything about images", FORMAT, least=1,
                  text="Example:\n  pocker image inspect -f '{{.Config.Cmd}}' debian")


def run(context: Context, parsed: Parsed) -> int:
    """Show them."""
    return inspect(context, parsed, ["image"])
