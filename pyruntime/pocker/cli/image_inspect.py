"""``pocker image inspect NAME...``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.pocker.cli.documents import FORMAT
from pyruntime.pocker.cli.inspect import inspect
from pyruntime.pocker.cli.main import PockerContext

COMMAND = Command("inspect", "[options] IMAGE...", "show detailed information about images", FORMAT, least=1,
                  text="Example:\n  pocker image inspect -f '{{.Config.Cmd}}' debian")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Show them."""
    return inspect(context, parsed, ["image"])
