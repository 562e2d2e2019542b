"""The processes of a container, as numbers of the host."""

from __future__ import annotations

import os

from pyruntime.errors import HostError, StateError
from pyruntime.pocker.containers.status import PAUSED, RUNNING, status_of
from pyruntime.runtime.api import Runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyruntime.pocker.containers.container import Container


def pids(container: Container) -> Sequence[int]:
    """The process IDs on the host. Raises StateError for a container that is not running."""
    status = status_of(container)
    if status.word not in (RUNNING, PAUSED):
        raise StateError(f'container "{container.read().name}" is not running')
    try:
        return Runtime(container.places.runtime).pids(container.id)
    except HostError:   # without root, a container may have no cgroup
        found = _sharing(status.pid)
        if not found:
            raise
        return found


def _sharing(init: int) -> list[int]:
    """The processes in the PID namespace of the container's init process; none if it is the host's namespace."""
    wanted = os.readlink(f"/proc/{init}/ns/pid")
    found = []
    if wanted != os.readlink("/proc/self/ns/pid"):
        for name in filter(str.isdecimal, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{name}/ns/pid") == wanted:
                    found.append(int(name))
            except OSError:
                continue   # the process has exited, or belongs to another user
    return found
