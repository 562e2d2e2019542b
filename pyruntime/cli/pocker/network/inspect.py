"""``pocker network inspect NETWORK...``."""

from __future__ import annotations

from pyruntime.cli.parse import Command, Parsed
from pyruntime.cli.pocker.documents import FORMAT
from pyruntime.cli.pocker.inspect import inspect
from pyruntime.cli.pocker.main import Context

COMMAND = Command("inspect", "[options] NETWORK...", "show everything about networks", FORMAT, least=1,
                  text="Example:\n  pocker network inspect bridge")


def run(context: Context, parsed: Parsed) -> int:
    """Show them."""
    return inspect(context, parsed, ["network"])
