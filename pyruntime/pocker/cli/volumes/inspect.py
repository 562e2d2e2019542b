"""``pocker volume inspect VOLUME...``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.pocker.cli.documents import FORMAT
from pyruntime.pocker.cli.inspect import inspect
from pyruntime.pocker.cli.main import PockerContext

COMMAND = Command("inspect", "[options] VOLUME...", "show detailed information about volumes", FORMAT, least=1,
                  text="Example:\n  pocker volume inspect -f '{{.Mountpoint}}' data")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Show them."""
    return inspect(context, parsed, ["volume"])
