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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

COMMAND = Command("start", "[options] CONTAINER...", "start stopped containers",
                  Flag("all", "bool", "start all containers instead of named ones"),
                  Flag("attach", "bool", "attach to the output, and exit with the container's exit status", short="a"),
                  Flag("interactive", "bool", "attach to the input too", short="i"), DETACH_KEYS,
                  Flag("filter", "list", "with --all: start only those that `pocker ps -a` lists with this filter",
                       short="f", value="KEY=VALUE"),
                  LATEST_FLAG, SIG_PROXY,
                  text="A running container stays as it is. After a boot, the service pocker-restart runs the\nsecond"
                       " example: it starts those whose restart policy asks for it.\n\nExample:\n  pocker start web\n"
                       "  pocker start --all --filter should-start-on-boot=true")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Start them."""
    names, attached = _names(context, parsed), parsed["attach"] or parsed["interactive"]
    sweep(context.places, context.warn)
    if not attached:
        return each(context, names, context.engine.start)
    if len(names) > 1 or parsed["all"]:
        raise UsageError("only one container can be attached to: name one, or leave out --attach and --interactive")
    container = context.find(names[0])
    record = container.read()
    ours, theirs = attach.pair()
    with container.lock() as lock:
        if status_of(container).word not in (CREATED, EXITED):
            raise UsageError(f'container "{record.name}" runs already: `pocker attach {record.name}`')
        monitor = launch(container, record, lock, StartOptions(client=theirs, owner=True, once=True))
        theirs.close()
    return follow(container, record, ours, monitor, parsed, stdin=parsed["interactive"])


def _names(context: PockerContext, parsed: Parsed) -> Sequence[str]:
    if not parsed["all"]:
        if parsed["filter"]:
            raise UsageError("--filter selects from all containers: add --all")
        if not parsed.arguments:
            raise UsageError("name a container, or select all with --all")
        return parsed.arguments
    if parsed.arguments:
        raise UsageError(f'--all starts all containers: leave out "{parsed.arguments[0]}" or --all')
    from pyruntime.pocker.cli.ps import matching  # lazy: only for all containers

    return matching(context, parsed["filter"])
