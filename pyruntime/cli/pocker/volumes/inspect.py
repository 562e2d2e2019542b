"""``pocker volume inspect VOLUME...``."""

from __future__ import annotations

from pyruntime.cli.parse import Command, Parsed
from pyruntime.cli.pocker.documents import FORMAT
from pyruntime.cli.pocker.inspect import inspect
from pyruntime.cli.pocker.main import Context

COMMAND = Command("inspect", "[options] VOLUME...", "show everything about volumes", FORMAT, least=1,
                  text="Example:\n  pocker volume inspect -f '{{.Mountpoint}}' data")


def run(context: Context, parsed: Parsed) -> int:
    """Show them."""
    return inspect(context, parsed, ["volume"])
