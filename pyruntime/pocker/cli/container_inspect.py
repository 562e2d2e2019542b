"""``pocker container inspect NAME...``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.pocker.cli.documents import FORMAT
from pyruntime.pocker.cli.each import LATEST_FLAG
from pyruntime.pocker.cli.inspect import SIZE, inspect
from pyruntime.pocker.cli.main import PockerContext

COMMAND = Command("inspect", "[options] CONTAINER...", "show detailed information about containers", FORMAT,
                  LATEST_FLAG, SIZE, least=1,
                  text="Example:\n  pocker container inspect -f '{{.State.ExitCode}}' web")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Show them."""
    return inspect(context, parsed, ["container"], sizes=parsed["size"])
