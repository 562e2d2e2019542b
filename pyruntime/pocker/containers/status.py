"""What a container is doing: asked of the kernel, the runtime and the monitor's last words, never remembered."""

from __future__ import annotations

from pyruntime.errors import NoSuchContainer
from pyruntime.runtime.api import Runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.pocker.containers.container import Container, Exit, Run

CREATED, RUNNING, PAUSED, RESTARTING, EXITED = "created", "running", "paused", "restarting", "exited"


class Status:
    """One moment of a container.

    ``word``   created, running, paused, restarting or exited
    ``pid``    of its init process; 0 where there is none
    ``exit``   how it ended, for restarting and exited; why it could not be started, for created
    """

    __slots__ = ("exit", "pid", "run", "word")

    def __init__(self, word: str, run: Run, pid: int = 0, exit: Exit | None = None) -> None:
        self.word = word
        self.run = run
        self.pid = pid
        self.exit = exit


def status_of(container: Container) -> Status:
    """What it is doing now."""
    run = container.run()
    if not run.started:
        return Status(CREATED, run, 0, container.exit())   # with an exit status where a start has failed
    if not run.over:
        try:
            state = Runtime(container.places.runtime).state(container.id)
        except NoSuchContainer:
            state = None   # it is being made, or cleared away
        if state is not None and state.pid:
            return Status(PAUSED if state.status == "paused" else RUNNING, run, state.pid)
    end = container.exit()
    if end is not None and not run.over and end.finished < run.started:
        end = None   # of the run before it: it is being started again at this moment
    if run.watched():
        if run.waiting:
            return Status(RESTARTING, run, 0, end)
        if end is None:   # it is being started
            return Status(CREATED, run)
    return Status(EXITED, run, 0, end or _unseen(run))


def start_status(text: str) -> int:
    """Docker's exit status of a container whose start failed with this message: 127 where there is no such program, 126
    where it cannot be run, 128 for everything else."""
    if 'exec: "' not in text:
        return 128
    return 127 if "executable file not found" in text or "no such file or directory" in text else 126


def _unseen(run: Run) -> Exit:
    from pyruntime.pocker.containers.container import Exit

    return Exit(finished=run.started, error="nobody saw how it ended: its monitor was killed, or the machine restarted")
