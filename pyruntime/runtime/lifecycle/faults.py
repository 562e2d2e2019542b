"""Fault injection. Tests set ``PYRUNTIME_FAULT`` to prove that nothing is left behind:

    fail:N        step N reports an error instead of being performed
    kill:N        the process that performs step N is killed before the step: the stub, init, or for a host step the
                  runtime itself
    after:N       the same, after the step
    parent:N      the runtime is killed while the stub or init performs step N, or before host step N

Every other step is performed as usual. The variable is read once, at the start of a plan.
"""

from __future__ import annotations

import errno
import os

from pyruntime.runtime.plan.encode import FAULT_FAIL, FAULT_KILL, FAULT_KILL_AFTER, FAULT_KILL_PARENT
from pyruntime.system.processes import SIGKILL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.runtime.plan.steps import Step

_CODES = {"fail": FAULT_FAIL, "kill": FAULT_KILL, "after": FAULT_KILL_AFTER, "parent": FAULT_KILL_PARENT}


class Fault:
    """The fault of one plan: what happens, at the step of an index; none if the variable is not set."""

    __slots__ = ("index", "kind")

    def __init__(self) -> None:
        self.kind, _, number = os.environ.get("PYRUNTIME_FAULT", "").partition(":")
        self.index = int(number) if self.kind in _CODES and number.isdecimal() else -1

    def for_stub(self, steps: list[Step]) -> dict[int, int]:
        """The faults to encode into the plan's records."""
        return {self.index: _CODES[self.kind]} if 0 <= self.index < len(steps) else {}

    def before(self, index: int) -> None:
        """Called before each host step."""
        if index != self.index:
            return
        if self.kind == "fail":
            raise OSError(errno.EIO, "injected fault")
        if self.kind in ("kill", "parent"):
            die()

    def after(self, index: int) -> None:
        """Called after each host step."""
        if index == self.index and self.kind == "after":
            die()


def die() -> None:
    """Kill this process at once."""
    os.kill(os.getpid(), SIGKILL)
