"""Threads in which the state of the calling program has no effect on sandboxes."""

from __future__ import annotations

import os
from threading import Event, Thread

from pyruntime.errors import HostError
from pyruntime.system import kernel
from pyruntime.system.uapi import CLONE_FS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_ORDINARY = (os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_IDLE)


def favoured() -> bool:
    """Whether this thread has a real-time policy or a negative nice value, which its children would inherit."""
    return (os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK not in _ORDINARY
            or os.getpriority(os.PRIO_PROCESS, 0) < 0)


def apart(work: Callable[[], None]) -> None:
    """Call ``work`` in a thread with a working directory, a umask and a priority of its own. With the program's umask,
    directories of sandboxes could be closed to this user, or open to others; real-time processes would not be limited
    by cgroups, and cannot enter a cgroup of version 1. Raises HostError, and what ``work`` raises."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            try:
                kernel.unshare(CLONE_FS)
            except PermissionError as error:   # filters of containers refuse all of unshare(2)
                raise HostError(f"cannot use a sandbox: {error.strerror}: it needs CAP_SYS_ADMIN") from None
            os.umask(0o022)
            if favoured():
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
                os.setpriority(os.PRIO_PROCESS, 0, 0)
            work()
        except BaseException as error:
            failures.append(error)
        finally:
            over.set()

    over = Event()
    thread = Thread(target=run, name="pyruntime-sandbox")
    thread.start()
    try:
        over.wait()   # Thread.join cannot be called again after an exception (before Python 3.13)
    except BaseException:   # of a signal's handler: the thread uses and makes what the caller will undo
        over.wait()
        raise
    thread.join()
    try:
        if failures:
            raise failures[0]
    finally:
        failures.clear()   # it is in the frames of the failure: all that they hold would wait for the garbage collector
