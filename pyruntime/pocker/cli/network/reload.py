"""``pocker network reload``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.commandline.program import out
from pyruntime.networks import attach
from pyruntime.pocker.cli.main import PockerContext

COMMAND = Command("reload", "", "restore bridges and packet rules after a flush of the ruleset", most=0,
                  text="\"nft flush ruleset\" and a restart of the nftables service remove the rules of all programs:\n"
                       "published ports and connections to the outside then fail.\n\nExample:\n  pocker network reload")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Restore the bridges and rules, and print the networks' names."""
    out("".join(f"{name}\n" for name in attach.reload(context.places.networks)))
    return 0
