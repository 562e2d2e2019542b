"""What is decided while a container has nobody but its monitor: at its end, whether it starts again, and its health.

``finish`` and ``restart`` run in the monitor's own process, which is pocker then and becomes the monitor again.
"""

from __future__ import annotations

import os

from pyruntime.errors import NoSuchContainer, PyruntimeError
from pyruntime.pocker.containers import rootless
from pyruntime.pocker.containers.start import MONITOR, Options, become_monitor, monitor_command
from pyruntime.pocker.containers.stop import clear_run, discard, finish
from pyruntime.system.processes import start_time
from pyruntime.system.times import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.containers.container import Container, Exit, Record, Run

_FIRST_WAIT, _LONGEST_WAIT = 100, 60_000   # milliseconds before a container is started again; doubled each time
_LASTING = 10                              # seconds that it has to live for the next wait to be the first one again


def at_end(container: Container) -> int:
    """The program has ended: clear up, and wait for the next start if it is to be started again."""
    try:
        record = container.read()
        with container.lock():
            run, end = container.run(), container.exit()
            if run.over:   # somebody was faster
                return 0
            if not _again(record, run, end):
                finish(container, record)
                return 0
            brief = 0 if _lasted(run, end) else run.brief   # the count of restarts goes on: on-failure:N is N at most
            run.brief, run.monitor = brief, [os.getpid(), start_time(os.getpid())]
            clear_run(container, record, waits=run)
    except NoSuchContainer:
        return 0   # it was removed
    rootless.uses(container.places, handed_on=True)
    wait = min(_FIRST_WAIT << min(brief, 20), _LONGEST_WAIT)
    os.execv(MONITOR, ["pocker-monitor", f"after={wait}", "--", *monitor_command(container.places, container.id)])


def decide_apart(container: Container) -> None:
    """Have a process of its own do what the monitor would have done at the end, had it not left that to a client."""
    words = ["finish" if word == "%" else word for word in monitor_command(container.places, container.id)]
    actions: list[tuple[Any, ...]] = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
    actions += [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in rootless.uses(container.places, handed_on=False)]
    os.posix_spawn(words[0], words, os.environ, file_actions=actions, setsid=True)


def _again(record: Record, run: Run, end: Exit | None) -> bool:
    """Whether the restart policy wants it to be started again."""
    settings = record.settings
    if run.stopping or settings.restart == "no":
        return False
    if settings.restart == "on-failure":
        failed = end is None or end.status != 0
        return failed and (not settings.restart_limit or run.restarts < settings.restart_limit)
    return True


def _lasted(run: Run, end: Exit | None) -> bool:
    return end is not None and parse(end.finished) - parse(run.started) >= _LASTING * 10**9


def again(container: Container) -> int:
    """The wait is over: start it again, in this process."""
    try:
        record = container.read()
        with container.lock() as lock:
            run = container.run()
            if run.stopping or not run.waiting:
                return 0
            try:
                become_monitor(container, record, lock, Options(), set())
            except PyruntimeError:
                if record.settings.remove:
                    discard(container, record, volumes=True)
                return 1
    except NoSuchContainer:
        return 0


def check_health(container: Container) -> int:
    """A health check is due: 0 where it was passed."""
    from pyruntime.pocker.containers.health import check

    try:
        return 0 if check(container) else 1
    except NoSuchContainer:
        return 1


EVENTS = {"finish": at_end, "restart": again, "health": check_health}
