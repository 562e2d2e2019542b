"""The result of a run: its status, its output, and what it used."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pyruntime.errors import RunFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyruntime.sandbox.pipes import KeptOutput

EXITED, SIGNAL, TIMEOUT, OOM, OUTPUT, CANCELLED = "exited", "signal", "timeout", "oom", "output", "cancelled"


@dataclass(frozen=True)
class Usage:
    """What all processes of a run have used together.

    ``cpu``     seconds of processor time
    ``memory``  the most bytes at once; on cgroup v2 those of the whole sandbox, without cgroups of the largest process
    ``wall``    seconds from the call to the end
    ``read``, ``written``  bytes that were read from disks, and bytes that are to be written to disks: of the program,
                of descendants whose parents have waited for them, and, with cgroups, of descendants that still ran
                when the program ended. The kernel forgets the numbers of all other descendants. Files in memory do
                not count: everything that a sandbox writes, except to mounts of the host
    """

    cpu: float
    memory: int
    wall: float
    read: int = 0
    written: int = 0


@dataclass(frozen=True)
class Done:
    """The end of a run.

    ``returncode``  the exit status, or -N if signal N killed the program, as in subprocess
    ``stdout``, ``stderr``  bytes, or with ``text=True`` text; at most ``max_output`` bytes each
    ``reason``      why it ended: "exited", "signal", "timeout", "oom" (out of memory), "output" (more than
                    ``max_output``, if that was to end it), or "cancelled" (the sandbox was closed)
    ``oom_killed``  whether a process of the run was killed for memory, the program itself or another one
    ``truncated``   whether there was more output
    ``files``, ``problems``  of `run_sandboxed`: the collected files, and for each other one why it could not be read
    """

    args: tuple[str, ...]
    returncode: int
    stdout: bytes | str
    stderr: bytes | str
    reason: str
    oom_killed: bool
    truncated: bool
    usage: Usage
    files: Mapping[str, bytes] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)

    @property
    def timed_out(self) -> bool:
        """Whether the time limit ended the run."""
        return self.reason == TIMEOUT

    def with_output(self, kept: KeptOutput) -> Done:
        """The same result, with the output."""
        first, second = kept.both()
        return replace(self, stdout=first, stderr=second, truncated=kept.truncated)

    def decoded(self) -> Done:
        """The same result with its output as text: UTF-8, with replacement characters for other bytes."""
        first, second = (data if isinstance(data, str) else data.decode("utf-8", "replace")
                         for data in (self.stdout, self.stderr))
        return replace(self, stdout=first, stderr=second)

    def check(self) -> Done:
        """Return the same value. Raises RunFailed unless the program exited with status 0."""
        if self.returncode != 0 or self.reason != EXITED:
            how = {EXITED: f"exit status {self.returncode}", SIGNAL: f"killed by signal {-self.returncode}",
                   TIMEOUT: f"killed after {self.usage.wall:.1f} s: its time was over",
                   OOM: "killed: out of memory", OUTPUT: "killed: too much output",
                   CANCELLED: "killed: the sandbox was closed"}[self.reason]
            raise RunFailed(f'"{self.args[0]}": {how}', self)
        return self
