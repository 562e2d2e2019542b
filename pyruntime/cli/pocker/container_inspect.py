"""``pocker container inspect NAME...``."""

from __future__ import annotations

from pyruntime.cli.parse import Command, Parsed
from pyruntime.cli.pocker.documents import FORMAT
from pyruntime.cli.pocker.each import LATEST_FLAG
from pyruntime.cli.pocker.inspect import SIZE, inspect
from pyruntime.cli.pocker.main import Context

COMMAND = Command("inspect", "[options] CONTAINER...", "show everything about containers", FORMAT,
                  LATEST_FLAG, SIZE, least=1,
                  text="Example:\n  pocker container inspect -f '{{.State.ExitCode}}' web")


def run(context: Context, parsed: Parsed) -> int:
    """Show them."""
    return inspect(context, parsed, ["container"], sizes=parsed["size"])
