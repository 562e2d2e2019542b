"""What a program that was killed has left of its sandboxes: their processes have ended with it, directories and cgroups
remain until another program uses sandboxes.

A sandbox is named after its program: ``sandbox-PID-STARTTIME-NUMBER``.
"""

from __future__ import annotations

import os
from itertools import count

from pyruntime.errors import NoSuchContainer
from pyruntime.runtime.api import Runtime
from pyruntime.system import processes

PLACE = "/run/pyruntime-sandbox"
_numbers = count(1)


def new_name() -> str:
    """A name for a sandbox of this program."""
    return f"sandbox-{os.getpid()}-{processes.start_time(os.getpid())}-{next(_numbers)}"


def runtime(*, cgroups: bool = True) -> Runtime:
    """The runtime of all sandboxes of this host."""
    return Runtime(f"{PLACE}/state", rootless=False, cgroup_manager="cgroupfs" if cgroups else "disabled")


def prune() -> list[str]:
    """Remove what ended programs have left; the names of these sandboxes. The first sandbox of each program does this.
    Raises StateError if something cannot be removed."""
    removed = []
    try:
        names = os.listdir(f"{PLACE}/state")
    except FileNotFoundError:
        return []
    for name in sorted(names):
        kind, *numbers = name.split("-")
        if kind != "sandbox" or len(numbers) != 3 or not all(number.isdigit() for number in numbers):
            continue
        pid, started, _ = map(int, numbers)
        if processes.alive(pid, started):
            continue
        try:
            runtime().delete(name, force=True)
        except NoSuchContainer:
            continue   # another program was faster
        removed.append(name)
    return removed
