"""``pocker run IMAGE [COMMAND]``."""

from __future__ import annotations

import os

from pyruntime.cli.parse import Command, Flag, Parsed
from pyruntime.cli.pocker.flags import FLAGS, settings_of
from pyruntime.cli.pocker.main import Context
from pyruntime.cli.program import out
from pyruntime.engine import attach
from pyruntime.engine.creating import create
from pyruntime.engine.ending import discard, finish, settle, sweep
from pyruntime.engine.launch import Options, StartError, launch
from pyruntime.errors import PyruntimeError
from pyruntime.image.images import find

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from pyruntime.engine.container import Container, Record

COMMAND = Command(
    "run", "[options] IMAGE [COMMAND [ARGUMENT...]]", "make a container of an image and run it", *FLAGS,
    Flag("detach", "bool", "print the container's ID and leave it running", short="d"),
    Flag("detach-keys", "str", "keys that leave it running", default=attach.DETACH_KEYS, value="KEYS"),
    Flag("sig-proxy", "bool", "send signals that we get to the program", default=True),
    least=1, stop_at_argument=True, glued=True,
    text="The exit status is the program's (128 + N when signal N killed it), 127 where there is no such program, 126\n"
         "where it cannot be run, and 125 for all other failures.\n\n"
         "Example:\n  pocker run --rm -it debian bash")


def run(context: Context, parsed: Parsed) -> int:
    """Run the container."""
    try:
        return _run(context, parsed)
    except PyruntimeError as error:
        error.exit_code = failure(error)
        raise


def failure(error: PyruntimeError) -> int:
    """Docker's exit code for a container that could not be run."""
    text = str(error)
    if not isinstance(error, StartError):
        return 125
    if "executable file not found" in text or ('exec: "' in text and "no such file or directory" in text):
        return 127
    return 126 if 'exec: "' in text else 125


def _run(context: Context, parsed: Parsed) -> int:
    settings = settings_of(parsed)
    sweep(context.places, context.warn)
    image = find(context.places.store, parsed.arguments[0])
    container, record = create(context.places, image, parsed.arguments[0], settings, name=parsed["name"])
    with container.lock() as lock:
        try:
            if parsed["detach"]:
                launch(container, record, lock, Options())
                out(container.id + "\n")
                return 0
            ours, theirs = attach.pair()
            monitor = launch(container, record, lock, Options(client=theirs, owner=True, once=True))
            theirs.close()
        except PyruntimeError:
            if settings.remove:
                discard(container, record, volumes=True)
            raise
    return follow(container, record, ours, monitor, parsed)


def follow(container: Container, record: Record, ours: _socket.socket, monitor: int, parsed: Parsed) -> int:
    """Be attached to a container that has just been started by this process, and see to its end."""
    from pyruntime.api import Runtime

    runtime = Runtime(container.places.runtime)

    def forward(number: int) -> None:
        try:
            runtime.kill(container.id, number)
        except PyruntimeError:
            return   # it has ended: that is on its way to us

    settings = record.settings
    status = attach.Attached(ours, terminal=settings.terminal, stdin=settings.stdin, keys=parsed["detach-keys"],
                             forward=forward if parsed["sig-proxy"] else None).wait()
    if status is None:
        return 0   # detached: the monitor goes on
    if settings.restart != "no":
        settle(container, record)
        return status
    os.waitpid(monitor, 0)
    with container.lock():
        finish(container, record)
    return status
