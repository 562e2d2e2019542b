"""``pocker stop CONTAINER...``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.pocker.cli.each import LATEST_FLAG, each
from pyruntime.pocker.cli.main import PockerContext

SIGNAL = Flag("signal", "str", "signal to send (default: the container's)", short="s", value="SIGNAL")
TIME = Flag("timeout", "int", "seconds to wait before the container is killed; -1: no limit"
            " (default: the container's, or 10)", short="t",
            default=0, value="SECONDS")
OLD_TIME = Flag("time", "int", "the same as --timeout", hidden=True)
COMMAND = Command("stop", "[options] CONTAINER...", "stop running containers", LATEST_FLAG, SIGNAL, TIME, OLD_TIME,
                  least=1,
                  text="Example:\n  pocker stop web")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Stop each container."""
    return each(context, parsed.arguments, lambda container: context.engine.stop(
        container, signal=parsed["signal"], timeout=timeout(parsed)))


def timeout(parsed: Parsed) -> float | None:
    """The seconds that the flags give; None for the container's own."""
    return next((parsed[name] for name in ("timeout", "time") if name in parsed.given), None)
