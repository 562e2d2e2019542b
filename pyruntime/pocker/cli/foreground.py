"""Shared by `run`, `start`, `attach` and `exec`: keep a command of a container in the foreground."""

from __future__ import annotations

import os

from pyruntime.commandline.parse import Flag, Parsed
from pyruntime.errors import Interrupted, NoSuchContainer, PyruntimeError, UsageError
from pyruntime.pocker.containers.attach import DETACH_KEYS as KEYS
from pyruntime.pocker.containers.attach import ERR, OUT, Attached
from pyruntime.pocker.containers.status import start_status
from pyruntime.pocker.containers.stop import clear_run, finish, settle
from pyruntime.runtime.api import Runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from pyruntime.pocker.containers.container import Container, ContainerRecord

DETACH_KEYS = Flag("detach-keys", "str", "key sequence that detaches from the container", default=KEYS, value="KEYS")
SIG_PROXY = Flag("sig-proxy", "bool", "forward received signals to the container", default=True)


def failure(error: PyruntimeError) -> int:
    """Docker's exit status of a command that could not be started: 127 if it is not found, 126 if it cannot be
    executed, 125 for all other errors."""
    if isinstance(error, Interrupted):
        return error.exit_code
    status = start_status(str(error))
    return 125 if status == 128 else status


def check_terminal(*, terminal: bool, stdin: bool) -> None:
    """Raise UsageError if --tty and --interactive are given and standard input is not a terminal."""
    if terminal and stdin and not os.isatty(0):
        raise UsageError("the input device is not a TTY: leave out --tty, or --interactive")


def streams_of(parsed: Parsed) -> frozenset[str]:
    """The streams that --attach names; an empty set without --attach. Raises UsageError."""
    named = frozenset(text.lower() for text in parsed["attach"])
    for name in named - {"stdin", "stdout", "stderr"}:
        raise UsageError(f'--attach "{name}": write stdin, stdout or stderr')
    if named and "detach" in parsed.values and parsed["detach"]:
        raise UsageError("--attach and --detach do not go together: leave one out")
    return named


def forwarding(container: Container, parsed: Parsed) -> Callable[[int], None] | None:
    """The function that forwards a signal to the container; None for --sig-proxy=false."""
    if not parsed["sig-proxy"]:
        return None
    runtime = Runtime(container.places.runtime)

    def forward(number: int) -> None:
        try:
            runtime.kill(container.id, number)
        except PyruntimeError:
            return   # the container has stopped, which the monitor is about to report
    return forward


def follow(container: Container, record: ContainerRecord, ours: _socket.socket, monitor: int, parsed: Parsed, *,
           stdin: bool, outputs: frozenset[bytes] = frozenset((OUT, ERR))) -> int:
    """Attach to a container that this process has just started, until it stops; its exit status."""
    settings = record.settings
    attached = Attached(ours, terminal=settings.terminal, stdin=stdin, outputs=outputs, keys=parsed["detach-keys"],
                        forward=forwarding(container, parsed), patient=True)
    status = attached.wait()
    if status is None:
        return 0   # detached: the monitor goes on
    if settings.restart.name != "no" or not attached.owner:
        settle(container, record)   # the monitor decides, or did not wait for us, since we were slow
        return status
    try:
        with container.lock():
            policy = container.read().settings.restart.name   # `update` may have changed it
            if policy == "no" and not container.run().over:
                clear_run(container, record)    # while the monitor exits, and its mounts with it
            os.waitpid(monitor, 0)
            if policy == "no":
                finish(container, record)
                return status
        from pyruntime.pocker.containers.monitor_events import decide_apart  # lazy: only if the policy has changed

        decide_apart(container)
    except NoSuchContainer:
        os.waitpid(monitor, 0)      # `rm --force` was faster, and there is nothing to lock
    return status
