"""``pocker run IMAGE [COMMAND]``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import PyruntimeError
from pyruntime.pocker.cli.foreground import DETACH_KEYS, SIG_PROXY, check_terminal, failure, follow, streams_of
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.cli.making import check_making, make
from pyruntime.pocker.containers import attach
from pyruntime.pocker.containers.start import StartOptions, launch
from pyruntime.pocker.containers.stop import discard
from pyruntime.pocker.options.flags import FLAGS, settings_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.pocker.cli.trace import Trace

COMMAND = Command(
    "run", "[options] IMAGE [COMMAND [ARGUMENT...]]", "create a container from an image and run it", *FLAGS,
    Flag("detach", "bool", "run the container in the background and print its ID", short="d"),
    Flag("trace", "bool", "print the effect of each flag on the container's configuration"),
    DETACH_KEYS, SIG_PROXY,
    least=1, stop_at_argument=True,
    text="The exit status is that of the command (128 + N if signal N killed the command), 127 if the\n"
         "command is not found, 126 if the command cannot be executed, and 125 for all other errors.\n\n"
         "Example:\n  pocker run --rm -it debian bash")

_STREAMS = frozenset(("stdin", "stdout", "stderr"))


def run(context: PockerContext, parsed: Parsed) -> int:
    """Run the container."""
    try:
        return _run(context, parsed)
    except PyruntimeError as error:
        error.exit_code = failure(error)
        raise


def _run(context: PockerContext, parsed: Parsed) -> int:
    settings = settings_of(parsed)
    check_making(parsed)
    streams = streams_of(parsed) or _STREAMS
    stdin = settings.stdin and "stdin" in streams
    outputs = frozenset(kind for kind, name in ((attach.OUT, "stdout"), (attach.ERR, "stderr")) if name in streams)
    if not parsed["detach"]:
        check_terminal(terminal=settings.terminal, stdin=stdin)
    trace = _trace(parsed) if parsed["trace"] else None
    container, record = make(context, parsed, settings)
    with container.lock() as lock:
        try:
            if parsed["detach"]:
                out(container.id + "\n")   # before the start, which may fail: the container exists then
                launch(container, record, lock, StartOptions(trace=trace))
                return 0
            ours, theirs = attach.pair()
            monitor = launch(container, record, lock, StartOptions(client=theirs, owner=True, once=True, trace=trace))
            theirs.close()
            if not outputs:
                out(container.id + "\n")   # as for a container in the background
        except (PyruntimeError, OSError):
            if settings.remove:
                discard(container, record, volumes=True)
            raise
    return follow(container, record, ours, monitor, parsed, stdin=stdin, outputs=outputs)


def _trace(parsed: Parsed) -> Trace:
    from pyruntime.pocker.cli.trace import Trace  # lazy: only with --trace

    return Trace(COMMAND, parsed)
