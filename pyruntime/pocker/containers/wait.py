"""Wait until a container has stopped."""

from __future__ import annotations

import os
import select

from pyruntime.errors import NoSuchContainer, StateError
from pyruntime.pocker.containers.status import CREATED, EXITED, Status, status_of
from pyruntime.pocker.events import events
from pyruntime.system.processes import start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.pocker.containers.container import Container


def wait(container: Container) -> int:
    """Wait until a container has stopped, and perhaps been removed; its exit status. Raises StateError for a container
    that was never started, NoSuchContainer if its exit status was removed with it."""
    status = status_of(container)
    while status.word != EXITED:
        if status.word == CREATED and not status.run.watched():
            if not os.path.isdir(container.directory):
                return _last(container)
            raise StateError(f'container "{container.id[:12]}" was never started')
        _until_gone(status)
        if not os.path.isdir(container.directory):
            return _last(container)
        status = status_of(container)
    assert status.exit is not None
    return status.exit.status


def _last(container: Container) -> int:
    """The last exit status of a removed container: the events have it before the files are removed."""
    found = [event for event in events(container.places, since=0, follow=False)
             if event["Action"] == "die" and event["Actor"]["ID"] == container.id]
    if not found:
        raise NoSuchContainer(f'container "{container.id[:12]}" was removed, and its exit status with it')
    return int(found[-1]["Actor"]["Attributes"]["exitCode"])


def _until_gone(status: Status) -> None:
    """Wait for the end of the monitor, which outlives the program and decides about a restart; without a monitor,
    wait for the end of the program."""
    run = status.run
    pid, started = run.monitor if run.watched() else (status.pid, 0)
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not started or start_time(pid) == started:
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            poll.poll(1000)   # the status may change while the monitor stays
    finally:
        os.close(pidfd)
