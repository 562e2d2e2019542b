"""The status of a container: read from the kernel, the runtime and the files of the monitor each time."""

from __future__ import annotations

from pyruntime.errors import NoSuchContainer
from pyruntime.runtime.api import Runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.pocker.containers.container import Container, ContainerRun, Exit

CREATED, RUNNING, PAUSED, RESTARTING, EXITED = "created", "running", "paused", "restarting", "exited"


class Status:
    """The status at one moment.

    ``word``   created, running, paused, restarting or exited
    ``pid``    of the init process; 0 if there is none
    ``exit``   the end of the last run, for restarting and exited; for created the error of a failed start
    """

    __slots__ = ("exit", "pid", "run", "word")

    def __init__(self, word: str, run: ContainerRun, pid: int = 0, exit: Exit | None = None) -> None:
        self.word = word
        self.run = run
        self.pid = pid
        self.exit = exit


def status_of(container: Container) -> Status:
    """The current status."""
    run = container.run()
    if not run.started:
        return Status(CREATED, run, 0, container.exit())   # with an exit status if a start has failed
    if not run.over:
        try:
            state = Runtime(container.places.runtime).state(container.id)
        except NoSuchContainer:
            state = None   # it is being created or cleaned up
        if state is not None and state.pid:
            return Status(PAUSED if state.status == "paused" else RUNNING, run, state.pid)
    end = container.exit()
    if end is not None and not run.over and end.finished < run.started:
        end = None   # of the previous run: the container is being restarted
    if run.watched():
        if run.waiting:
            return Status(RESTARTING, run, 0, end)
        if end is None:   # it is being started
            return Status(CREATED, run)
    return Status(EXITED, run, 0, end or _unseen(run))


def start_status(text: str) -> int:
    """Docker's exit status of a container whose start failed with this message: 127 if the command is not found, 126 if
    it cannot be executed, 128 for all other errors."""
    if 'exec: "' not in text:
        return 128
    return 127 if "executable file not found" in text or "no such file or directory" in text else 126


def starts_on_boot(policy: str, status: Status) -> bool:
    """Whether a container with this restart policy is to run again after a boot: it ran when the host went down, or its
    policy is "always" and it has ever run. As under dockerd, "on-failure" ends with the host."""
    run = status.run
    return bool(run.started) and (policy == "always" or (policy == "unless-stopped" and not run.stopping))


def _unseen(run: ContainerRun) -> Exit:
    from pyruntime.pocker.containers.container import Exit  # lazy: only after a crash

    return Exit(finished=run.started, error="exit status unknown: the monitor was killed, or the host restarted")
