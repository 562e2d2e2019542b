"""``pocker attach CONTAINER``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.errors import StateError
from pyruntime.pocker.cli.each import LATEST_FLAG
from pyruntime.pocker.cli.foreground import DETACH_KEYS, SIG_PROXY, check_terminal, forwarding
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.containers import attach
from pyruntime.pocker.containers.status import PAUSED, RUNNING, status_of

COMMAND = Command("attach", "[options] CONTAINER", "attach to the standard streams of a running container",
                  Flag("no-stdin", "bool", "do not attach standard input"), DETACH_KEYS,
                  LATEST_FLAG, SIG_PROXY, least=1, most=1,
                  text="Earlier output is in the container's log: `pocker logs`.\n"
                       "The exit status is that of the container.\n\n"
                       "Example:\n  pocker attach web")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Attach."""
    container = context.find(parsed.arguments[0])
    record = container.read()
    status = status_of(container).word
    if status != RUNNING:
        remedy = f"`pocker unpause {record.name}`" if status == PAUSED else f"`pocker start -a {record.name}`"
        raise StateError(f'cannot attach to container "{record.name}", which is {status}: {remedy}')
    settings = record.settings
    stdin = settings.stdin and not parsed["no-stdin"]
    check_terminal(terminal=settings.terminal, stdin=stdin)
    ended = attach.Attached(attach.connect(container.socket), terminal=settings.terminal, stdin=stdin,
                            keys=parsed["detach-keys"], forward=forwarding(container, parsed)).wait()
    return ended or 0
