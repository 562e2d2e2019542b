"""Read the facts of the host that a plan is compiled for."""

from __future__ import annotations

import os

from pyruntime.runtime.cgroups.host import CgroupHost, discover
from pyruntime.runtime.compiler.setup import Host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.runtime.cgroups.systemd import Systemd


def read_host(rootless: bool | None = None, *, cgroups: bool = True, systemd: bool = False) -> Host:
    """The host as it is now. ``rootless`` overrides the detection by effective user ID and user namespace
    (``--rootless``). Without ``cgroups`` the host's cgroups are not read, for plans that create none. With ``systemd``
    systemd is queried, too."""
    uid_map = _read("/proc/self/uid_map").split()
    user_namespace = bool(uid_map) and uid_map[:3] != ["0", "0", "4294967295"]
    status = dict(line.partition(":")[::2] for line in _read("/proc/self/status").splitlines())
    bounding = int(status.get("CapBnd", "0"), 16)
    mountinfo = _read("/proc/self/mountinfo")
    resctrl, proc_mounts = "", []
    for line in mountinfo.splitlines():
        if " - resctrl " in line:
            resctrl = line.split(" ", 5)[4]
        elif " - proc " in line or " - sysfs " in line:
            proc_mounts.append(line.split(" ", 5)[4].replace("\\040", " "))
    return Host(
        cgroup=discover(mountinfo) if cgroups else CgroupHost((), None),
        euid=os.geteuid(),
        egid=os.getegid(),
        user_namespace=user_namespace,
        # In a user namespace of the container, init has all capabilities there; only the runtime's bounding set limits
        # them.
        capabilities=bounding,
        last_cap=int(_read("/proc/sys/kernel/cap_last_cap") or 40),
        apparmor=_read("/sys/module/apparmor/parameters/enabled").startswith("Y"),
        selinux=os.path.exists("/sys/fs/selinux/status"),
        resctrl=resctrl,
        proc_mounts=tuple(sorted(proc_mounts, key=len, reverse=True)),
        rootless=rootless,
        nodename=os.uname().nodename,
        systemd=_systemd(user=user_namespace or os.geteuid() != 0) if systemd else None,
    )


def _systemd(*, user: bool) -> Systemd:
    from pyruntime.runtime.cgroups.systemd_bus import ask  # lazy: jeepney (30 ms): only for the systemd driver

    return ask(user=user)


def _read(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        parts = []
        while part := os.read(fd, 65536):
            parts.append(part)
        return b"".join(parts).decode("utf-8", "surrogateescape")
    finally:
        os.close(fd)
