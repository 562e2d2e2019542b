"""`pause` and `resume`: freeze and thaw the processes of a container by its cgroup.

Nothing is recorded: a container is paused if its cgroup is frozen (docs/decisions/0003-no-lock.md).
"""

from __future__ import annotations

from pyruntime.errors import HostError
from pyruntime.runtime.cgroups.group import Cgroup
from pyruntime.runtime.lifecycle.status import CREATED, PAUSED, RUNNING, status_of
from pyruntime.runtime.lifecycle.store import StateDirectory, StateRecord, refuse


def pause(root: str, container_id: str) -> None:
    """Pause every process of a created or running container; returns when all are frozen. Raises StateError."""
    container = StateDirectory(root, container_id)
    record = container.read()
    status = status_of(container, record)
    if status not in (CREATED, RUNNING):
        refuse("container not running", container_id, status)
    _group(record).freeze()


def resume(root: str, container_id: str) -> None:
    """Resume the processes of a paused container. Raises StateError."""
    container = StateDirectory(root, container_id)
    record = container.read()
    status = status_of(container, record)
    if status != PAUSED:
        refuse("container not paused", container_id, status)
    _group(record).thaw()


def _group(record: StateRecord) -> Cgroup:
    group = Cgroup(record.cgroup)
    if not group.exists():   # rootless, if no hierarchy was writable
        raise HostError(f'"{record.id}" has no cgroup, and only a cgroup can be frozen: give it a cgroupsPath that'
                        " you may write")
    return group
