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
import time

from pyruntime.errors import HostError, SystemdError
from pyruntime.images.rootless import privileged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyruntime.pocker.containers.container import Record

RUNS = "/run/systemd/system"   # sd_booted(3)
_TOP = "/sys/fs/cgroup"
_PATIENCE = 10.0   # seconds for systemd to notice that the scope of the run before is empty
_GRACE = 10        # seconds for the monitor, after those that the container has to end by itself
_NEVER = (1 << 64) - 1


def usable() -> bool:
    """Whether there is a systemd that makes scopes for us, and one tree of cgroups. Raises HostError for a bus address
    that is none."""
    if not os.path.isdir(RUNS) or not os.path.exists(f"{_TOP}/cgroup.controllers"):
        return False
    from pyruntime.runtime.cgroups.systemd_bus import address_of

    socket = address_of(user=not privileged())[0]
    return socket.startswith("\0") or os.path.exists(socket)


def enter(record: Record) -> str:
    """Move this process, the container's monitor to be, into a scope; where in it the container's cgroup is to be.

    "" where there is none: without such a systemd, or below a directory that the user has named. Raises PyruntimeError.
    """
    parent = record.settings.cgroup_parent
    if (parent and not parent.endswith(".slice")) or not usable():
        return ""
    unit = f"pocker-{record.id}.scope"
    if not _own().endswith(f"/{unit}/monitor"):   # else its restart policy starts the container again
        seconds = record.settings.stop_timeout
        try:
            _start(unit, [
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
        directory = f"{_TOP}{_own()}/monitor"
        os.mkdir(directory)
        with open(f"{directory}/cgroup.procs", "w", encoding="ascii") as file:
            file.write(str(os.getpid()))
    return f"{os.path.dirname(_own())}/container"


def move(name: str, pid: int) -> None:
    """Give a process that serves several containers a scope of its own: it would end with the first of them."""
    if usable():
        _start(f"{name}-{pid}.scope", [f"Description='{name}'", "CollectMode='inactive-or-failed'"], pid)


def _own() -> str:
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        return file.read().rstrip("\n").partition("::")[2]


def _start(unit: str, properties: Sequence[str], pid: int) -> None:
    from pyruntime.runtime.cgroups.systemd_bus import start_scope

    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            start_scope(unit, properties, [pid], user=not privileged())
            return
        except SystemdError as error:
            if error.name != "UnitExists" or time.monotonic() > deadline:
                raise
        time.sleep(0.02)
