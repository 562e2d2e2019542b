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



def _wanted() -> tuple[str, int]:
    kind, _, number = os.environ.get("PYRUNTIME_FAULT", "").partition(":")
    return kind, int(number) if number.isdecimal() else -1


def for_stub(steps: list[Step]) -> dict[int, int]:
    """The faults to encode into the plan's records."""
    kind, index = _wanted()
    code = {"fail": FAULT_FAIL, "kill": FAULT_KILL, "after": FAULT_KILL_AFTER,
            "parent": FAULT_KILL_PARENT}.get(kind)
    if code is None or not 0 <= index < len(steps):
        return {}
    return {index: code}


def before(index: int) -> None:
    """Called before each host step."""
    kind, wanted = _wanted()
    if index != wanted:
        return
    if kind == "fail":
        raise OSError(errno.EIO, "injected fault")
    if kind in ("kill", "parent"):
        die()


def die() -> None:
    """Kill this process at once."""
    os.kill(os.getpid(), SIGKILL)


def after(index: int) -> None:
    """Called after each host step."""
    if _wanted() == ("after", index):
        die()
