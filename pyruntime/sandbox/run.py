"""One run in a sandbox: from a command to its result.

The program is this process's child (CLONE_PARENT) and is waited for by its pidfd, in any thread and without signal
handlers. With cgroups, each run has a sub-cgroup, which is killed when the program ends or its time is over: programs
that have left its session, process group and parent are still in the cgroup. Without cgroups, init kills everything in
the pid namespace, and one run waits for the other.
"""

from __future__ import annotations

import os
from contextlib import suppress
from time import monotonic, sleep

from pyruntime.errors import PyruntimeError, StateError
from pyruntime.sandbox import result
from pyruntime.sandbox.output import Pipes
from pyruntime.sandbox.result import Done, Usage
from pyruntime.system.processes import SIGKILL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyruntime.runtime.cgroups.subgroup import Subgroup
    from pyruntime.runtime.lifecycle.preparation import Entrance

_PATIENCE = 10.0   # seconds for killed processes to end


class Run:
    """One run. ``kill_all`` kills the sandbox's processes; it is called only without cgroups."""

    def __init__(self, entrance: Entrance, group: Subgroup | None, kill_all: Callable[[], None]) -> None:
        self._entrance = entrance
        self._group = group
        self._kill_all = kill_all
        self._pid = 0
        self._pidfd = -1

    def carry_out(self, argv: Sequence[str], env: Sequence[str] | None, cwd: str, data: bytes | None, *,
                  seconds: float | None, limit: int, output_kills: bool, stop: int, closed: Callable[[], bool]) -> Done:
        """Run it until it ends or the descriptor ``stop`` is readable; whatever happens, no process of it is left.
        ``closed``: whether the sandbox is being closed. Raises StepError if the program cannot be executed."""
        begun = monotonic()
        deadline = begun + seconds if seconds is not None else float("inf")
        pipes = Pipes(data, limit)
        reason, status, used, kills, peak = "", -1, 0.0, 0, 0
        try:
            if self._group:
                self._group.create()
            self._start(argv, env, cwd, pipes.theirs)
            pipes.started()
            reason = pipes.follow(self._pidfd, deadline, stop=stop, enough=output_kills)
            self._kill()
            status, used, peak = self._reap()
            stdout, stderr = pipes.finish()
            if self._group:
                used, peak = self._group.cpu_seconds(), self._group.peak_memory()
                kills = self._group.oom_kills()
        except OSError as error:
            raise PyruntimeError(f"a run in a sandbox failed: {error.strerror or error}") from None
        finally:
            pipes.close()
            self._end()
        code = os.waitstatus_to_exitcode(status)
        if not reason:
            reason = (result.CANCELLED if closed() and code == -SIGKILL else result.OOM if kills and code
                      else result.SIGNAL if code < 0 else result.EXITED)
        return Done(tuple(argv), code, stdout, stderr, reason, kills > 0, pipes.truncated,
                    Usage(used, peak, monotonic() - begun))

    def _start(self, argv: Sequence[str], env: Sequence[str] | None, cwd: str, streams: Sequence[int]) -> None:
        def known(pid: int) -> None:
            self._pidfd = os.pidfd_open(pid)
            self._pid = pid

        self._entrance.exec(argv, env=env, cwd=cwd, group=self._group, streams=streams, on_pid=known)

    def _kill(self) -> None:
        """Kill all processes of the run; with a cgroup, wait until all but the program itself have been reaped."""
        if self._group:
            self._group.kill()
        else:
            self._kill_all()

    def _reap(self) -> tuple[int, float, int]:
        """Wait for the program, which was killed or has ended: its status, and what its rusage says."""
        pid, self._pid = self._pid, 0
        try:
            _, status, usage = os.wait4(pid, 0)
        except ChildProcessError:
            raise StateError(f"the status of process {pid} is lost: another part of this program waits for all children"
                             ) from None
        return status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10

    def _end(self) -> None:
        """Nothing is left: no process, no cgroup, no descriptor."""
        if self._pid:   # an exception, as KeyboardInterrupt
            self._kill()
            with suppress(ChildProcessError):   # the runtime has reaped a program that it could not execute
                os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        if self._pidfd >= 0:
            os.close(self._pidfd)
        if self._group:
            _remove(self._group)


def _remove(group: Subgroup) -> None:
    pause, end = 0.0002, monotonic() + _PATIENCE
    while not group.empty():
        if monotonic() > end:
            raise StateError("processes of a run in a sandbox do not die (uninterruptible sleep?)")
        group.kill()
        sleep(pause)
        pause = min(pause * 2, 0.05)
    group.remove()
