"""``pocker kill CONTAINER...``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.errors import StateError
from pyruntime.pocker.cli.each import LATEST_FLAG, each
from pyruntime.pocker.cli.main import Context
from pyruntime.pocker.containers.container import Container, Record
from pyruntime.pocker.containers.status import PAUSED, RUNNING, status_of
from pyruntime.pocker.containers.stop import send_signal, settle, stop

COMMAND = Command("kill", "[options] CONTAINER...", "kill containers or send them a signal",
                  Flag("signal", "str", "signal to send", short="s", default="KILL", value="SIGNAL"),
                  LATEST_FLAG, least=1,
                  text="Example:\n  pocker kill -s HUP web")


def run(context: Context, parsed: Parsed) -> int:
    """Send the signal."""
    word: str = parsed["signal"]
    final = word.upper().removeprefix("SIG") in ("KILL", "9")

    def send(container: Container, record: Record) -> None:
        status = status_of(container).word
        if status not in (RUNNING, PAUSED):
            raise StateError(f'container "{record.name}" is not running: it is {status}')
        if final:   # a stop without a wait: the restart policy must not start the container again
            stop(container, record, signal="KILL", timeout=10)
            settle(container, record)
        else:
            send_signal(container, record, word)
    return each(context, parsed.arguments, send)
