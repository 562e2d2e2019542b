"""``pocker network inspect NETWORK...``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.pocker.cli.documents import FORMAT
from pyruntime.pocker.cli.inspect import inspect
from pyruntime.pocker.cli.main import PockerContext

COMMAND = Command("inspect", "[options] NETWORK...", "show detailed information about networks", FORMAT, least=1,
                  text="Example:\n  pocker network inspect bridge")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Show them."""
    return inspect(context, parsed, ["network"])
