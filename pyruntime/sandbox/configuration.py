"""The configuration of a sandbox: the hardened preset."""

from __future__ import annotations

from pyruntime.profiles.seccomp import profile
from pyruntime.runtime.config.template import template
from pyruntime.system.environment import last_of_each
from pyruntime.system.installed import native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from pyruntime.sandbox.limits import Limits
    from pyruntime.sandbox.sources import HostMount, Prepared

INIT = "/.pyruntime-init"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Directories that a program may write to, all on one filesystem of bounded size: name there, place, mode.
WRITABLE = (("w", "/work", 0o755), ("t", "/tmp", 0o1777), ("s", "/dev/shm", 0o1777))
_OWN = ("/dev/shm", "/dev/mqueue", "/sys/fs/cgroup")   # of the template; a sandbox has its own, or none


def configuration(prepared: Prepared, limits: Limits, *, scratch: str, mounts: Sequence[HostMount],
                  user: tuple[int, int], env: Mapping[str, str], writable: bool, cgroup: str, swap: bool
                  ) -> dict[str, Any]:
    """config.json of a sandbox whose init only waits. ``cgroup``: its path; "" if there are no cgroups."""
    # No cgroup namespace: no cgroup filesystem is mounted, and with a namespace each run would have to be moved into
    # its cgroup, for which every fork on the host waits (compiler/sections/exec.py).
    document = template(rootless=False, uid=0, gid=0, unified=False)
    own = [f"{name}={value}" for name, value in env.items()]
    document["process"].update({
        "terminal": False, "args": [INIT, "wait=1"], "cwd": "/",
        "user": {"uid": user[0], "gid": user[1], "umask": 0o022},
        "env": last_of_each([PATH, "HOME=/work", "LANG=C.UTF-8", *prepared.env, *own]),
        "capabilities": {}, "noNewPrivileges": True,
        "rlimits": [{"type": name, "hard": number, "soft": number}
                    for name, number in (("RLIMIT_NOFILE", limits.files), ("RLIMIT_CORE", 0))]})
    document["root"] = {"path": prepared.rootfs, "readonly": not writable}
    document["hostname"] = "sandbox"
    document["mounts"] = [mount for mount in document["mounts"] if mount["destination"] not in _OWN]
    document["mounts"] += [_bind(mount.source, mount.target, writable=mount.writable)
                           for mount in (*prepared.mounts, *mounts)]
    document["mounts"] += [_bind(f"{scratch}/{name}", target, writable=True) for name, target, _ in WRITABLE]
    document["mounts"].append(_bind(native("init"), INIT, writable=False))
    linux = document["linux"]
    linux["seccomp"] = profile(())
    linux["resources"] |= limits.resources(swap=swap) if cgroup else {}
    if cgroup:
        linux["cgroupsPath"] = cgroup
    else:
        del linux["resources"]
    return document


def _bind(source: str, target: str, *, writable: bool) -> dict[str, Any]:
    return {"destination": target, "type": "bind", "source": source,
            "options": ["bind", "nosuid", "nodev", "rw" if writable else "ro"]}
