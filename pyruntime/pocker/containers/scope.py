"""A systemd scope for a container and its monitor, on hosts where systemd manages cgroup v2.

    SLICE/pocker-ID.scope/monitor       the monitor
    SLICE/pocker-ID.scope/container     the container: created, limited and removed by the runtime

The scope is delegated (systemd's CGROUP_DELEGATION: systemd changes nothing below it). In the root cgroup, limits would
be lost when systemd rewrites the root's controllers, and a monitor in the cgroup of its caller would be killed with
that session or service. systemd removes a scope when its last process has ended.

Source: org.freedesktop.systemd1(5), systemd.scope(5).
"""

from __future__ import annotations

import os
import time

from pyruntime.errors import HostError, SystemdError
from pyruntime.images.rootless import privileged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyruntime.pocker.containers.container import ContainerRecord

RUNS = "/run/systemd/system"   # sd_booted(3)
_TOP = "/sys/fs/cgroup"
_PATIENCE = 10.0   # seconds for systemd to notice that the scope of the last run is empty
_GRACE = 10        # seconds for the monitor, in addition to the stop timeout of the container
_NEVER = (1 << 64) - 1


def usable() -> bool:
    """Whether systemd can make scopes for this user, with cgroup v2. Raises HostError for an invalid bus address."""
    if not os.path.isdir(RUNS) or not os.path.exists(f"{_TOP}/cgroup.controllers"):
        return False
    from pyruntime.runtime.cgroups.systemd_bus import address_of  # lazy: only with systemd

    socket = address_of(user=not privileged())[0]
    return socket.startswith("\0") or os.path.exists(socket)


def enter(record: ContainerRecord) -> str:
    """Move this process, which becomes the container's monitor, into a scope; the path of the container's cgroup in it.

    "" without a scope: without systemd, or below a parent cgroup that is not a slice. Raises PyruntimeError.
    """
    parent = record.settings.cgroup_parent
    if (parent and not parent.endswith(".slice")) or not usable():
        return ""
    unit = f"pocker-{record.id}.scope"
    if not _own().endswith(f"/{unit}/monitor"):   # else this is a restart, which stays in the scope
        seconds = record.settings.stop_timeout
        try:
            _start(unit, [
                f"Description='pocker container {record.id[:12]}'", "Delegate=true",
                "CollectMode='inactive-or-failed'",
                f"TimeoutStopUSec=uint64 {(seconds + _GRACE) * 1_000_000 if seconds >= 0 else _NEVER}",
                *([f"Slice='{parent}'"] if parent else [])], os.getpid())
        except (HostError, SystemdError):
            # A user's bus may belong to another program. Without a scope the runtime makes the cgroup where the user
            # may, and reports limits that cannot be set.
            if privileged() or parent:
                raise
            return ""
        # Before the container's cgroup gets controllers: a cgroup with processes cannot delegate them (cgroups(7)).
        directory = f"{_TOP}{_own()}/monitor"
        os.mkdir(directory)
        with open(f"{directory}/cgroup.procs", "w", encoding="ascii") as file:
            file.write(str(os.getpid()))
    return f"{os.path.dirname(_own())}/container"


def move(name: str, pid: int) -> None:
    """Move a process that serves several containers into a scope of its own: it would be killed with the first one."""
    if usable():
        _start(f"{name}-{pid}.scope", [f"Description='{name}'", "CollectMode='inactive-or-failed'"], pid)


def _own() -> str:
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        return file.read().rstrip("\n").partition("::")[2]


def _start(unit: str, properties: Sequence[str], pid: int) -> None:
    from pyruntime.runtime.cgroups.systemd_bus import start_scope  # lazy: only with systemd

    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            start_scope(unit, properties, [pid], user=not privileged())
            return
        except SystemdError as error:
            if error.name != "UnitExists" or time.monotonic() > deadline:
                raise
        time.sleep(0.02)
