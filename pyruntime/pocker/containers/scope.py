"""A scope of systemd around a container and its monitor, where systemd manages one tree of cgroups (v2).

    SLICE/pocker-ID.scope/monitor       the monitor
    SLICE/pocker-ID.scope/container     the container: made, limited and removed by the runtime itself

The scope is delegated (systemd's CGROUP_DELEGATION: below it systemd changes nothing). Beside systemd, in the root
cgroup, limits would be lost when it writes the root's controllers anew; and a monitor that stayed where it was started
would end with the session or service that started it. A scope is gone when it is empty, however its processes went.

Source: org.freedesktop.systemd1(5), systemd.scope(5).
"""

from __future__ import annotations

import os

from pyruntime.errors import HostError, SystemdError
from pyruntime.runtime.cgroups import scope
from pyruntime.system.user_namespace import privileged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.pocker.containers.container import Record

_GRACE = 10        # seconds for the monitor, after those that the container has to end by itself
_NEVER = (1 << 64) - 1


def enter(record: Record) -> str:
    """Move this process, the container's monitor to be, into a scope; where in it the container's cgroup is to be.

    "" where there is none: without such a systemd, or below a directory that the user has named. Raises PyruntimeError.
    """
    parent = record.settings.cgroup_parent
    if (parent and not parent.endswith(".slice")) or not scope.usable():
        return ""
    unit = f"pocker-{record.id}.scope"
    if not _own().endswith(f"/{unit}/monitor"):   # else its restart policy starts the container again
        seconds = record.settings.stop_timeout
        try:
            scope.start(unit, [
                f"Description='pocker container {record.id[:12]}'", "Delegate=true",
                "CollectMode='inactive-or-failed'",
                f"TimeoutStopUSec=uint64 {(seconds + _GRACE) * 1_000_000 if seconds >= 0 else _NEVER}",
                *([f"Slice='{parent}'"] if parent else [])], os.getpid())
        except (HostError, SystemdError):
            # A user's bus need not be systemd's. Without a scope the runtime makes the cgroup where the user may, and
            # says so where a limit cannot be.
            if privileged() or parent:
                raise
            return ""
        # Before a cgroup beside it has controllers: one with processes cannot hand any down (cgroups(7)).
        directory = f"{scope.TOP}{_own()}/monitor"
        os.mkdir(directory)
        with open(f"{directory}/cgroup.procs", "w", encoding="ascii") as file:
            file.write(str(os.getpid()))
    return f"{os.path.dirname(_own())}/container"


def _own() -> str:
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        return file.read().rstrip("\n").partition("::")[2]
