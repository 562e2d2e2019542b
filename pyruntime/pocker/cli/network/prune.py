"""``pocker network prune``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.cli.pruning import FILTER, FORCE, Aged, check_consent, filters, report
from pyruntime.pocker.containers.network import remove, unused
from pyruntime.pocker.containers.stop import sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.pocker.cli.filters import Filters

COMMAND = Command("prune", "[options]", "remove unused networks", FILTER, FORCE, most=0,
                  text="Example:\n  pocker network prune")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Remove them, and print their names."""
    wanted = filters(parsed["filter"])
    check_consent(parsed, "all networks that no container uses")
    sweep(context.places, context.warn)
    report("Networks", prune(context, wanted))
    return 0


def prune(context: PockerContext, wanted: Filters) -> list[str]:
    """Remove the unused networks that match the filters; their names."""
    names = []
    for network in unused(context.places):
        if wanted.fit(Aged(network.created, network.labels)):
            remove(context.places, network.name)
            names.append(network.name)
    return names
