"""Programs of a sandbox that trace others (ptrace(2)): while a tracer lives, it can keep a killed program from its end,
and an ended one from being waited for by anybody else."""

from __future__ import annotations

import os
import re
from contextlib import suppress

from pyruntime.system.processes import SIGKILL, signal_pidfd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_TRACER = re.compile(r"^TracerPid:\t([1-9]\d*)$", re.M)


def end_tracers(pids: Iterable[int], init: int) -> None:
    """Kill the processes that trace one of ``pids``, if they are in the pid namespace of ``init``, as those of its
    sandbox are: a debugger of the host goes on."""
    for pid in pids:
        # One of them may have ended meanwhile; without root, others may be hidden.
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if tracer := _tracer(pid):
                pidfd = os.pidfd_open(tracer)
                try:
                    if _tracer(pid) == tracer and _namespace(tracer) == _namespace(init):
                        signal_pidfd(pidfd, SIGKILL)
                finally:
                    os.close(pidfd)


def _tracer(pid: int) -> int:
    """The process that traces this one, 0 for none (TracerPid of proc_pid_status(5))."""
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="surrogateescape") as file:
        found = _TRACER.search(file.read())
    return int(found[1]) if found else 0


def _namespace(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/ns/pid")
