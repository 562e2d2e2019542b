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

from pyruntime.errors import HostError, SystemdError
from pyruntime.runtime.cgroups import scope
from pyruntime.system.user_namespace import privileged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.pocker.containers.container import ContainerRecord

_GRACE = 10        # seconds for the monitor, in addition to the stop timeout of the container
_NEVER = (1 << 64) - 1


def enter(record: ContainerRecord) -> str:
    """Move this process, which becomes the container's monitor, into a scope; the path of the container's cgroup in it.

    "" without a scope: without systemd, or below a parent cgroup that is not a slice. Raises PyruntimeError.
    """
    parent = record.settings.cgroup_parent
    if (parent and not parent.endswith(".slice")) or not scope.usable():
        return ""
    unit = f"pocker-{record.id}.scope"
    if not _own().endswith(f"/{unit}/monitor"):   # else this is a restart, which stays in the scope
        seconds = record.settings.stop_timeout
        try:
            scope.start(unit, [
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
        directory = f"{scope.TOP}{_own()}/monitor"
        os.mkdir(directory)
        with open(f"{directory}/cgroup.procs", "w", encoding="ascii") as file:
            file.write(str(os.getpid()))
    return f"{os.path.dirname(_own())}/container"


def _own() -> str:
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        return file.read().rstrip("\n").partition("::")[2]
