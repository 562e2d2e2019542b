"""The status of a container, as read from the kernel (runtime.md#state)."""

from __future__ import annotations

import os

from pyruntime.runtime.cgroups.group import Cgroup
from pyruntime.runtime.lifecycle.store import StateDirectory, StateRecord
from pyruntime.system import processes, sockets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CREATING, CREATED, RUNNING, PAUSED, STOPPED = "creating", "created", "running", "paused", "stopped"


def status_of(container: StateDirectory, record: StateRecord) -> str:
    """One of the five statuses. A `create` that was killed leaves a stopped container behind."""
    if record.being_created():
        return CREATING
    if not record.alive():
        return STOPPED
    if record.cgroup and _paused(Cgroup(record.cgroup), record.pid):
        return PAUSED
    return CREATED if sockets.waits(os.path.join(container.directory, "start.sock")) else RUNNING


def _paused(group: Cgroup, init: int) -> bool:
    # A command that was killed after it had killed init leaves a container that would end if it were thawed.
    if group.frozen() and processes.dying(init):
        group.thaw_for_death()
    return group.frozen()


def document(record: StateRecord, status: str) -> dict[str, Any]:
    """The state document of the specification, with runc's additional properties rootfs, created and owner."""
    state: dict[str, Any] = {
        "ociVersion": record.ociVersion, "id": record.id, "pid": 0 if status == STOPPED else record.pid,
        "status": status, "bundle": record.bundle, "rootfs": record.rootfs, "created": record.created}
    if record.annotations:
        state["annotations"] = record.annotations
    state["owner"] = ""
    return state


def hook_state(record: StateRecord, status: str) -> dict[str, Any]:
    """The state document for a hook: only the specification's properties, and no pid if the process has exited."""
    state: dict[str, Any] = {"ociVersion": record.ociVersion, "id": record.id, "status": status}
    if status != STOPPED:
        state["pid"] = record.pid
    state["bundle"] = record.bundle
    if record.annotations:
        state["annotations"] = record.annotations
    return state
