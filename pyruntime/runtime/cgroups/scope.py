"""Scopes of systemd for processes that must outlive the command that started them, where systemd manages cgroup v2.

Source: org.freedesktop.systemd1(5), systemd.scope(5).
"""

from __future__ import annotations

import os
import time

from pyruntime.errors import SystemdError
from pyruntime.system.user_namespace import privileged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

RUNS = "/run/systemd/system"   # sd_booted(3)
TOP = "/sys/fs/cgroup"
_PATIENCE = 10.0   # seconds for systemd to notice that a scope of the same name is empty


def usable() -> bool:
    """Whether systemd manages cgroup v2 and can create scopes for this user. Raises HostError for an invalid bus
    address."""
    if not os.path.isdir(RUNS) or not os.path.exists(f"{TOP}/cgroup.controllers"):
        return False
    from pyruntime.runtime.cgroups.systemd_bus import address_of  # lazy: a bus is needed only here

    socket = address_of(user=not privileged())[0]
    return socket.startswith("\0") or os.path.exists(socket)


def start(unit: str, properties: Sequence[str], pid: int) -> None:
    """Create a scope and move a process into it. Raises HostError, SystemdError."""
    from pyruntime.runtime.cgroups.systemd_bus import start_scope  # lazy: start-up

    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            start_scope(unit, properties, [pid], user=not privileged())
            return
        except SystemdError as error:
            if error.name != "UnitExists" or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def move(name: str, pid: int) -> None:
    """Move a process that serves several containers into a scope of its own: in the scope of the first container, it
    would end with that container."""
    if usable():
        start(f"{name}-{pid}.scope", [f"Description='{name}'", "CollectMode='inactive-or-failed'"], pid)
