"""Waiting for the end of a container."""

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
    """The exit status of a container, once it does not run any more, also of one that is removed then (--rm). Raises
    StateError for one that never ran, NoSuchContainer for one that was removed before it ran."""
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
    """The last exit status of a container that was removed: its end is in the journal before its files go."""
    found = [event for event in events(container.places, since=0, follow=False)
             if event["Action"] == "die" and event["Actor"]["ID"] == container.id]
    if not found:
        raise NoSuchContainer(f'container "{container.id[:12]}" was removed, and its status with it')
    return int(found[-1]["Actor"]["Attributes"]["exitCode"])


def _until_gone(status: Status) -> None:
    """Wait for the monitor, which outlives the program and decides whether it is started again; without one for the
    program."""
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
