"""``pocker network disconnect NETWORK CONTAINER``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.errors import NoSuchContainer, StateError
from pyruntime.pocker.cli.main import PockerContext

COMMAND = Command("disconnect", "[options] NETWORK CONTAINER", "disconnect a container from a network",
                  Flag("force", "bool", "ignore a container that does not exist or is not connected", short="f"),
                  least=2, most=2,
                  text="Example:\n  pocker network disconnect backend postgres1")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Disconnect it."""
    network, name = parsed.arguments
    try:
        context.engine.disconnect(name, network)
    except (NoSuchContainer, StateError):
        if not parsed["force"]:
            raise
    return 0
