"""``pocker stop CONTAINER...``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.pocker.cli.each import LATEST_FLAG, each
from pyruntime.pocker.cli.main import Context
from pyruntime.pocker.containers.container import Container, Record
from pyruntime.pocker.containers.stop import stop
from pyruntime.pocker.events import of_container

SIGNAL = Flag("signal", "str", "signal to send (default: the container's)", short="s", value="SIGNAL")
TIME = Flag("timeout", "int", "seconds to wait before the container is killed; -1: no limit"
            " (default: the container's, or 10)", short="t",
            default=0, value="SECONDS")
OLD_TIME = Flag("time", "int", "the same as --timeout", hidden=True)
COMMAND = Command("stop", "[options] CONTAINER...", "stop running containers", LATEST_FLAG, SIGNAL, TIME, OLD_TIME,
                  least=1,
                  text="Example:\n  pocker stop web")


def run(context: Context, parsed: Parsed) -> int:
    """Stop them."""
    return each(context, parsed.arguments, lambda container, record: stop_it(container, record, parsed))


def stop_it(container: Container, record: Record, parsed: Parsed, *, keep: bool = False) -> None:
    """Stop one container as the flags say; ``keep``: do not remove it, even if it was created with --rm."""
    given = [parsed[name] for name in ("timeout", "time") if name in parsed.given]
    timeout = given[0] if given else record.settings.stop_timeout
    if stop(container, record, signal=parsed["signal"], timeout=timeout, keep=keep):
        of_container(container.places, record, "stop")
