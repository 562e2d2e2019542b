"""The events of a container's monitor: the program has ended, the wait before a restart is over, a health check is due.

``finish`` and ``restart`` are decided in the monitor's own process, which executes Python then, and the monitor again.
"""

from __future__ import annotations

import os

from pyruntime.errors import NoSuchContainer, PyruntimeError
from pyruntime.pocker.containers import rootless
from pyruntime.pocker.containers.start import MONITOR, StartOptions, become_monitor, monitor_command
from pyruntime.pocker.containers.stop import clear_run, discard, finish
from pyruntime.system.processes import start_time
from pyruntime.system.times import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.containers.container import Container, ContainerRecord, ContainerRun, Exit

_FIRST_WAIT, _LONGEST_WAIT = 100, 60_000   # milliseconds before a restart; doubled each time
_LASTING = 10                              # seconds of a run after which the wait is the first one again


def at_end(container: Container) -> int:
    """The program has exited: clean up, and wait for the restart if the policy asks for one."""
    try:
        record = container.read()
        with container.lock():
            run, end = container.run(), container.exit()
            if run.over:   # another process was faster
                return 0
            if not _again(record, run, end):
                finish(container, record)
                return 0
            brief = 0 if _lasted(run, end) else run.brief   # the number of restarts goes on: on-failure:N is at most N
            run.brief, run.monitor = brief, [os.getpid(), start_time(os.getpid())]
            clear_run(container, record, waits=run)
    except NoSuchContainer:
        return 0   # it was removed
    rootless.uses(container.places, handed_on=True)
    wait = min(_FIRST_WAIT << min(brief, 20), _LONGEST_WAIT)
    os.execv(MONITOR, ["pocker-monitor", f"after={wait}", "--", *monitor_command(container.places, container.id)])


def decide_apart(container: Container) -> None:
    """Start a process that does what the monitor would have done at the exit if a client had not taken that over."""
    words = ["finish" if word == "%" else word for word in monitor_command(container.places, container.id)]
    actions: list[tuple[Any, ...]] = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
    actions += [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in rootless.uses(container.places, handed_on=False)]
    os.posix_spawn(words[0], words, os.environ, file_actions=actions, setsid=True)


def _again(record: ContainerRecord, run: ContainerRun, end: Exit | None) -> bool:
    """Whether the restart policy asks for a restart."""
    settings = record.settings
    if run.stopping or settings.restart.name == "no":
        return False
    if settings.restart.name == "on-failure":
        failed = end is None or end.status != 0
        return failed and (not settings.restart.limit or run.restarts < settings.restart.limit)
    return True


def _lasted(run: ContainerRun, end: Exit | None) -> bool:
    return end is not None and parse(end.finished) - parse(run.started) >= _LASTING * 10**9


def again(container: Container) -> int:
    """The wait is over: start the container, in this process."""
    try:
        record = container.read()
        with container.lock() as lock:
            run = container.run()
            if run.stopping or not run.waiting:
                return 0
            try:
                become_monitor(container, record, lock, StartOptions(), set())
            except PyruntimeError:
                if record.settings.remove:
                    discard(container, record, volumes=True)
                return 1
    except NoSuchContainer:
        return 0


def check_health(container: Container) -> int:
    """A health check is due: 0 if it succeeds."""
    from pyruntime.pocker.containers.health import check  # lazy: only with a health check

    try:
        return 0 if check(container) else 1
    except NoSuchContainer:
        return 1


EVENTS = {"finish": at_end, "restart": again, "health": check_health}
