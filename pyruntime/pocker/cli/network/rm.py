"""``pocker network rm NETWORK...``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import NoSuchNetwork
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.containers.network import remove
from pyruntime.pocker.containers.stop import sweep

COMMAND = Command("rm", "[options] NETWORK...", "remove networks",
                  Flag("force", "bool", "ignore networks that do not exist", short="f"), least=1,
                  text="A network with containers cannot be removed.\n\nExample:\n  pocker network rm backend")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Remove them."""
    sweep(context.places, context.warn)
    for name in parsed.arguments:
        try:
            remove(context.places, name)
        except NoSuchNetwork:
            if not parsed["force"]:
                raise
        out(f"{name}\n")
    return 0
