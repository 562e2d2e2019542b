"""``pocker network reload``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.commandline.program import out
from pyruntime.networks import attach
from pyruntime.pocker.cli.main import Context

COMMAND = Command("reload", "", "make bridges and packet rules anew, after somebody has flushed them", most=0,
                  text="\"nft flush ruleset\" and a restart of the service nftables remove everybody's rules:\n"
                       "published ports and the way out are gone then.\n\nExample:\n  pocker network reload")


def run(context: Context, parsed: Parsed) -> int:
    """Make them anew, and print the networks' names."""
    out("".join(f"{name}\n" for name in attach.reload(context.places.networks)))
    return 0
