"""One run in a sandbox: from a command to its result.

The program is this process's child (CLONE_PARENT) and is waited for by its pidfd, in any thread and without signal
handlers. With cgroups, each run has a sub-cgroup, which is killed when the program ends or its time is over: programs
that have left its session, process group and parent are still in the cgroup. Without cgroups, init kills everything in
the pid namespace, and one run waits for the other.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, nullcontext, suppress
from select import POLLIN, poll
from time import monotonic, sleep

from pyruntime.errors import PyruntimeError, StateError, StepError, UsageError
from pyruntime.sandbox import result
from pyruntime.sandbox.apart import apart, favoured
from pyruntime.sandbox.pipes import DEVNULL, PIPE, KeptOutput, ProgramStreams, Pump
from pyruntime.sandbox.result import Done, Usage
from pyruntime.sandbox.tracers import end_tracers
from pyruntime.system.processes import SIGKILL, reaped_status, signal_pidfd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable, Sequence

    from pyruntime.runtime.cgroups.subgroup import Subgroup
    from pyruntime.runtime.lifecycle.preparation import Entrance
    from pyruntime.sandbox.checkpoint_record import SavedProgram

_PATIENCE = 10.0   # seconds for killed processes to end
_PAUSE = 0.05   # seconds until it is asked again whether a process has ended
_BLOCK = 512   # the unit of ru_inblock and ru_oublock (task_io_get_inblock of the kernel)


class Run:
    """One run. `start` it, or `take_over`; wait for ``pidfd``, `finish` it; `end` in any case.

    ``args``     the program and its arguments
    ``seconds``  until its time is over, from ``begun`` on; None: never
    ``number``, ``streams``, ``text``  what a checkpoint needs: which of the sandbox's runs it is; the names of its
                 pipes, "" for an empty stream; whether its user reads and writes text
    """

    def __init__(self, number: int, entrance: Entrance, group: Subgroup | None, kill_all: Callable[[], None],
                 closed: Callable[[], bool], held: ExitStack) -> None:
        """``kill_all`` kills the sandbox's processes; it is called only without cgroups. ``closed``: whether the
        sandbox is being closed. ``held`` is closed with the run."""
        self.number = number
        self.seconds: float | None = None
        self.streams: Sequence[str] = ()
        self.text = False
        self._entrance = entrance
        self._group = group
        self._kill_all = kill_all
        self._closed = closed
        self._held = held
        self.begun = monotonic()
        self._pid = 0
        self.args: Sequence[str] = ()
        self.pidfd = -1

    @property
    def pid(self) -> int:
        """The program's process ID, on the host; 0 when it has been waited for."""
        return self._pid

    def start(self, args: Sequence[str], env: Sequence[str] | None, cwd: str, streams: Sequence[int],
              console: socket | None = None, known: Callable[[], None] = lambda: None) -> None:
        """Start the program. ``known`` is called before it is executed. Raises StepError if it cannot be executed."""
        def on_pid(pid: int) -> None:
            try:
                self.pidfd = os.pidfd_open(pid)
            except ProcessLookupError:
                raise _lost(pid) from None
            self._pid = pid
            known()

        self.args = args
        if self._entrance.adopts:
            self.streams = _names(streams, terminal=console is not None)
        if self._group:
            try:
                self._group.create()
            except OSError as error:
                raise _failed(error) from None

        def enter() -> None:
            self._entrance.exec(args, env=env, cwd=cwd, group=self._group, streams=streams, console=console,
                                on_pid=on_pid)

        try:
            if favoured():
                apart(enter)
            else:
                enter()
        except StepError:
            if self._entrance.alive:
                raise
            raise StateError("the sandbox has ended: its init has been killed, or a checkpoint has ended it") from None

    def take_over(self, program: SavedProgram, pid: int, pidfd: int) -> None:
        """Go on with a program of a checkpoint, as if it had been started."""
        self.args, self.streams, self.text, self.seconds = program.args, program.pipes, program.text, program.seconds
        self._pid, self.pidfd = pid, pidfd

    def seconds_left(self) -> float | None:
        """Until its time is over; None: never."""
        return None if self.seconds is None else max(self.begun + self.seconds - monotonic(), 0)

    def signal(self, number: int) -> None:
        """Send a signal to the program; no effect if `finish` has begun. Not while another thread calls `finish` or
        `end`: the descriptor's number may be another file's then."""
        if self._pid:
            with self._entrance.changing if number == SIGKILL else nullcontext():
                signal_pidfd(self.pidfd, number)

    def finish(self, reason: str) -> Done:
        """Kill what is left of the run, and return the result, without output. ``reason``: why it ends, or "" if the
        program has ended. Raises StateError if its status is lost."""
        try:
            # Only those that are still there: the kernel forgets an ended process that nobody has waited for.
            others = self._group.disk_bytes(self._pid) if self._group else (0, 0)
            self._kill()
            pid, self._pid = self._pid, 0
            status, cpu, peak, read, written = self._wait(pid)
            kills = 0
            if self._group:
                cpu, peak, kills = self._group.cpu_seconds(), self._group.peak_memory(), self._group.oom_kills()
        except OSError as error:
            raise _failed(error) from None
        code = os.waitstatus_to_exitcode(status)
        if reason in (result.TIMEOUT, result.CANCELLED) and code != -SIGKILL:
            reason = ""   # it has ended by itself before it was killed
        if not reason:
            reason = (result.CANCELLED if self._closed() and code == -SIGKILL else result.OOM if kills and code
                      else result.SIGNAL if code < 0 else result.EXITED)
        usage = Usage(cpu, peak, monotonic() - self.begun, read + others[0], written + others[1])
        return Done(tuple(self.args), code, b"", b"", reason, kills > 0, False, usage)

    def _wait(self, pid: int) -> tuple[int, float, int, int, int]:
        """The wait status of the program, its processor time, peak memory, and bytes read and written. The last four
        are 0 if the program has been reaped already, as a child of init. Raises StateError if its status is lost, too.
        """
        try:
            self._await_end(pid)
            _, status, used = os.wait4(pid, 0)
        except ChildProcessError:
            lost = reaped_status(self.pidfd)
            if lost is None:
                raise _lost(pid) from None
            return lost, 0.0, 0, 0, 0
        return (status, used.ru_utime + used.ru_stime, used.ru_maxrss << 10, used.ru_inblock * _BLOCK,
                used.ru_oublock * _BLOCK)

    def _await_end(self, pid: int) -> None:
        """Wait until the program has ended and can be waited for: a program of another run may trace it. Raises
        ChildProcessError if it has been reaped."""
        adopted = self._entrance.adopts   # no child of ours, but another one may have got its pid
        waiting = poll()
        waiting.register(self.pidfd, 0 if adopted else POLLIN)   # 0: POLLHUP, it has been reaped (pidfd_poll of Linux)
        while not (waiting.poll(_PAUSE * 1000) and (adopted or os.waitid(
                os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT))):
            end_tracers([pid], self._entrance.pid)
            sleep(_PAUSE)
        if adopted:
            raise ChildProcessError

    def _kill(self) -> None:
        """Kill all processes of the run; with a cgroup, wait until all but the program itself have been reaped."""
        if self._group:
            with self._entrance.changing:
                self._group.kill()
        else:
            self._kill_all()

    def end(self) -> None:
        """Nothing is left: no process, no cgroup, no descriptor. May be called again."""
        with self._held:
            try:
                if self._pid:   # an exception, as KeyboardInterrupt
                    self._kill()
                    with suppress(ChildProcessError):   # the runtime has reaped a program that it could not execute
                        self._await_end(self._pid)
                        os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
                    self._pid = 0
                if self._group:
                    end_group(self._group, self._entrance)
                    self._group = None
            finally:
                if self.pidfd >= 0:
                    os.close(self.pidfd)
                    self.pidfd = -1


def carry_out(run: Run, args: Sequence[str], env: Sequence[str] | None, cwd: str, data: bytes | None, *,
              seconds: float | None, kept: KeptOutput, output_kills: bool, stop: int) -> Done:
    """Run a program until it ends or the descriptor ``stop`` is readable, with its output in ``kept``; whatever
    happens, no process of it is left. Raises StepError if it cannot be executed."""
    with ExitStack() as stack:
        stack.callback(run.end)
        streams = ProgramStreams(DEVNULL if data is None else PIPE, PIPE, PIPE)
        stack.callback(streams.close)
        run.start(args, env, cwd, streams.theirs)
        streams.started()
        return complete(run, streams, data or b"", seconds=seconds, kept=kept, output_kills=output_kills, stop=stop)


def complete(run: Run, streams: ProgramStreams, data: bytes, *, seconds: float | None, kept: KeptOutput,
             output_kills: bool, stop: int) -> Done:
    """The rest of `carry_out`, for a program that has been started."""
    run.seconds = seconds
    deadline = run.begun + seconds if seconds is not None else float("inf")
    with ExitStack() as stack:
        stack.callback(run.end)
        pump = Pump(streams.ours, data)
        streams.ours = [-1, -1, -1]   # the pump closes them
        stack.callback(pump.close)
        reason = follow(pump, kept, run.pidfd, deadline, stop=stop, enough=output_kills)
        done = run.finish(reason)
        for number, part in pump.rest():
            kept.add(number, part)
        return done.with_output(kept)


def follow(pump: Pump, kept: KeptOutput, pidfd: int, deadline: float, *, stop: int = -1, enough: bool = False) -> str:
    """Serve the pipes until the program ends. Returns "", or the reason for which it has to be killed: the deadline (of
    the monotonic clock), ``stop`` (a descriptor) is readable, or, with ``enough``, there is too much output."""
    pump.watch(pidfd)
    pump.watch(stop)
    while True:
        left = deadline - monotonic()
        if left <= 0:
            return result.TIMEOUT
        ready, read = pump.turn(left)
        for number, data in read:
            kept.add(number, data)
        if pidfd in ready:
            return ""
        if stop in ready:
            return result.CANCELLED
        if kept.truncated and enough:
            return result.OUTPUT


def _names(streams: Sequence[int], *, terminal: bool) -> list[str]:
    """The names of pipes, as "pipe:[N]", and "" for /dev/null. Raises UsageError for anything else."""
    names = [os.readlink(f"/proc/self/fd/{fd}") for fd in streams]
    if terminal or any(name != "/dev/null" and not name.startswith("pipe:[") for name in names):
        raise UsageError("programs of a checkpointable sandbox have pipes and empty streams, no terminals, files or"
                         " sockets of this program: give PIPE, STDOUT or DEVNULL")
    return ["" if name == "/dev/null" else name for name in names]


def _failed(error: OSError) -> PyruntimeError:
    return PyruntimeError(f"a run in a sandbox failed: {error.strerror or error}")


def _lost(pid: int) -> StateError:
    return StateError(f"the exit status of process {pid} is lost: this program ignores SIGCHLD"
                      " (signal.signal(signal.SIGCHLD, signal.SIG_DFL) ends that), or another part of it waits for all"
                      " children; from Linux 6.15 on neither matters")


def end_group(group: Subgroup, entrance: Entrance) -> None:
    """Kill the processes of a sub-cgroup, wait for their end, and remove it. Raises StateError if they do not die."""
    pause, end = 0.0002, monotonic() + _PATIENCE
    while not group.empty():
        if monotonic() > end:
            raise StateError("processes of a run in a sandbox do not die (uninterruptible sleep?)")
        with entrance.changing:
            group.kill()
        if pause == _PAUSE:
            end_tracers(group.pids(), entrance.pid)
        sleep(pause)
        pause = min(pause * 2, _PAUSE)
    group.remove()
