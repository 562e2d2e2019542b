"""``pocker network reload``."""

from __future__ import annotations

from pyruntime.cli.parse import Command, Parsed
from pyruntime.cli.pocker.main import Context
from pyruntime.cli.program import out
from pyruntime.engine.network import attach

COMMAND = Command("reload", "", "make bridges and packet rules anew, after somebody has flushed them", most=0,
                  text="\"nft flush ruleset\" and a restart of the service nftables remove everybody's rules:\n"
                       "published ports and the way out are gone then.\n\nExample:\n  pocker network reload")


def run(context: Context, parsed: Parsed) -> int:
    """Make them anew, and print the networks' names."""
    out("".join(f"{name}\n" for name in attach.reload(context.places)))
    return 0
