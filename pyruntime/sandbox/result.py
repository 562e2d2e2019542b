"""What a run has left: its status, its output, and what it used."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyruntime.errors import RunFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

EXITED, SIGNAL, TIMEOUT, OOM, OUTPUT, CANCELLED = "exited", "signal", "timeout", "oom", "output", "cancelled"


@dataclass(frozen=True)
class Usage:
    """What all processes of a run used together.

    ``cpu``     seconds of processor time
    ``memory``  the most bytes at once; on cgroup v2 those of the whole sandbox, without cgroups of the largest process
    ``wall``    seconds from the call to the end
    """

    cpu: float
    memory: int
    wall: float


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

    def check(self) -> Done:
        """Return the same value. Raises RunFailed unless the program exited with status 0."""
        if self.returncode != 0 or self.reason != EXITED:
            how = {EXITED: f"exit status {self.returncode}", SIGNAL: f"killed by signal {-self.returncode}",
                   TIMEOUT: f"killed after {self.usage.wall:.1f} s: its time was over",
                   OOM: "killed: out of memory", OUTPUT: "killed: too much output",
                   CANCELLED: "killed: the sandbox was closed"}[self.reason]
            raise RunFailed(f'"{self.args[0]}": {how}', self)
        return self
