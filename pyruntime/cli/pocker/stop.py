"""``pocker stop CONTAINER...``."""

from __future__ import annotations

from pyruntime.cli.parse import Command, Flag, Parsed
from pyruntime.cli.pocker.each import each
from pyruntime.cli.pocker.main import Context
from pyruntime.engine.container import Container, Record
from pyruntime.engine.ending import stop
from pyruntime.engine.history import of_container

SIGNAL = Flag("signal", "str", "signal to stop it with; default: the container's", short="s", value="SIGNAL")
TIME = Flag("time", "int", "seconds before it is killed, -1: never; default: the container's, or 10", short="t",
            default=0, value="SECONDS")
COMMAND = Command("stop", "[options] CONTAINER...", "stop containers", SIGNAL, TIME, least=1,
                  text="Example:\n  pocker stop web")


def run(context: Context, parsed: Parsed) -> int:
    """Stop them."""
    return each(context, parsed.arguments, lambda container, record: stop_it(container, record, parsed))


def stop_it(container: Container, record: Record, parsed: Parsed) -> None:
    """Stop one as the flags say."""
    timeout = parsed["time"] if "time" in parsed.given else record.settings.stop_timeout
    if stop(container, record, signal=parsed["signal"], timeout=timeout):
        of_container(container.places, record, "stop")
