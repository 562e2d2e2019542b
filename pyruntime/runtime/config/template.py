"""The configuration that `spec` writes: a shell in a container that is as restricted as runc's."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
MASKED = ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
          "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"]
READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def _mount(destination: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def template(*, rootless: bool, uid: int, gid: int, unified: bool) -> dict[str, Any]:
    """A new configuration. ``rootless``: with a user namespace that maps ``uid`` and ``gid`` to root; ``unified``: the
    host has only cgroup v2, so a cgroup namespace can be used."""
    closed = ("nosuid", "noexec", "nodev")
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620",
               *([] if rootless else ["gid=5"])),
        _mount("/dev/shm", "tmpfs", "shm", *closed, "mode=1777", "size=65536k"),
        _mount("/dev/mqueue", "mqueue", "mqueue", *closed),
        _mount("/sys", "none", "/sys", "rbind", *closed, "ro") if rootless
        else _mount("/sys", "sysfs", "sysfs", *closed, "ro"),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", *closed, "relatime", "ro"),
    ]
    kinds = ["pid", *([] if rootless else ["network"]), "ipc", "uts", "mount", *(["cgroup"] if unified else []),
             *(["user"] if rootless else [])]
    linux: dict[str, Any] = {"namespaces": [{"type": kind} for kind in kinds], "maskedPaths": MASKED,
                             "readonlyPaths": READONLY}
    if rootless:
        linux["uidMappings"] = [{"containerID": 0, "hostID": uid, "size": 1}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": gid, "size": 1}]
    else:
        linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    return {
        "ociVersion": "1.3.0",
        "process": {
            "terminal": True, "user": {"uid": 0, "gid": 0}, "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"], "cwd": "/",
            "capabilities": {name: list(CAPABILITIES) for name in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}], "noNewPrivileges": True},
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "pyruntime",
        "mounts": mounts,
        "linux": linux,
    }
