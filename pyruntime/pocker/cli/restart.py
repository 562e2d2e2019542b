"""``pocker restart CONTAINER...``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.pocker.cli.each import LATEST_FLAG, each
from pyruntime.pocker.cli.main import Context
from pyruntime.pocker.cli.start import start
from pyruntime.pocker.cli.stop import OLD_TIME, SIGNAL, TIME, stop_it
from pyruntime.pocker.containers.container import Container, Record
from pyruntime.pocker.events import of_container

COMMAND = Command("restart", "[options] CONTAINER...", "restart containers", LATEST_FLAG, SIGNAL,
                  TIME, OLD_TIME, least=1, text="Example:\n  pocker restart web")


def run(context: Context, parsed: Parsed) -> int:
    """Restart them."""
    def again(container: Container, record: Record) -> None:
        stop_it(container, record, parsed, keep=True)
        start(container, record)
        of_container(context.places, record, "restart")
    return each(context, parsed.arguments, again)
