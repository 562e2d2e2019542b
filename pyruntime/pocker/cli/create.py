"""``pocker create IMAGE [COMMAND]``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.commandline.program import out
from pyruntime.pocker.cli.foreground import streams_of
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.cli.making import check_making, make
from pyruntime.pocker.options.flags import FLAGS, settings_of

COMMAND = Command(
    "create", "[options] IMAGE [COMMAND [ARGUMENT...]]", "create a container from an image", *FLAGS,
    least=1, stop_at_argument=True, text="Prints the container's ID.\n\nExample:\n  pocker create --name web nginx")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Create the container."""
    settings = settings_of(parsed)
    check_making(parsed)
    streams_of(parsed)   # `start --attach` decides what is attached
    container, _ = make(context, parsed, settings)
    out(container.id + "\n")
    return 0
