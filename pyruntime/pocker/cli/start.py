"""``pocker start CONTAINER...``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.errors import UsageError
from pyruntime.pocker.cli.each import LATEST_FLAG, each
from pyruntime.pocker.cli.foreground import DETACH_KEYS, SIG_PROXY, follow
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.containers import attach
from pyruntime.pocker.containers.start import StartOptions, launch
from pyruntime.pocker.containers.status import CREATED, EXITED, status_of
from pyruntime.pocker.containers.stop import sweep

COMMAND = Command("start", "[options] CONTAINER...", "start stopped containers",
                  Flag("attach", "bool", "attach to the output, and exit with the container's exit status", short="a"),
                  Flag("interactive", "bool", "attach to the input too", short="i"), DETACH_KEYS,
                  LATEST_FLAG, SIG_PROXY, least=1,
                  text="A running container stays as it is.\n\nExample:\n  pocker start web")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Start them."""
    sweep(context.places, context.warn)
    if not parsed["attach"] and not parsed["interactive"]:
        return each(context, parsed.arguments, context.engine.start)
    if len(parsed.arguments) > 1:
        raise UsageError(f"only one container can be attached to, not {len(parsed.arguments)}: leave out --attach")
    container = context.find(parsed.arguments[0])
    record = container.read()
    ours, theirs = attach.pair()
    with container.lock() as lock:
        if status_of(container).word not in (CREATED, EXITED):
            raise UsageError(f'container "{record.name}" runs already: `pocker attach {record.name}`')
        monitor = launch(container, record, lock, StartOptions(client=theirs, owner=True, once=True))
        theirs.close()
    return follow(container, record, ours, monitor, parsed, stdin=parsed["interactive"])
