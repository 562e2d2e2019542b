"""A container's config.json: its settings, what its image says, and what pocker adds.

The usual container is made here; what is asked for by a flag stands in the module of its subject, which is loaded then
alone: ``apply(settings, document)`` of each changes a document that is complete without it.
"""

from __future__ import annotations

import os

from pyruntime.images.document import ImageConfig
from pyruntime.images.runtime_config import Wishes, convert
from pyruntime.pocker.containers.etc_files import NAMES
from pyruntime.profiles import apparmor
from pyruntime.profiles.devpts import terminal_group
from pyruntime.profiles.seccomp import profile
from pyruntime.system.installed import native
from pyruntime.system.user_namespace import privileged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.containers.container import Container, Record
    from pyruntime.pocker.options.settings import Settings

INIT = native("init")
INIT_PLACE = "/.pocker-init"
# What shows of the machine what is none of the container's business; what would change it.
MASKED = ("/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
          "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
          "/sys/firmware")
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_CLOSED = ["nosuid", "noexec", "nodev"]


def document(container: Container, record: Record, root: int, cgroup: str = "") -> dict[str, Any]:
    """The configuration for a container whose root filesystem is behind the descriptor ``root``; ``cgroup``: where its
    cgroup is to be, "" for the usual place.

    Raises ImageError, UsageError, HostError.
    """
    settings = record.settings
    hostname = settings.hostname or record.id[:12]
    wishes = Wishes(args=settings.args, entrypoint=settings.entrypoint, env=settings.env, user=settings.user,
                    workdir=settings.workdir, terminal=settings.terminal, readonly=settings.read_only,
                    hostname=hostname, home=False)
    image = ImageConfig(b"", {"config": record.image_config, "rootfs": {}})
    unified = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    result = convert(image, root, wishes, uid=os.geteuid(), gid=os.getegid(), unified=unified)
    result["annotations"] = settings.annotations
    result["mounts"] = _mounts(settings)
    if settings.domainname:
        result["domainname"] = settings.domainname
    linux = result["linux"]
    linux["maskedPaths"], linux["readonlyPaths"] = [*MASKED, *_thermal()], list(READONLY)
    if cgroup:
        linux["cgroupsPath"] = cgroup
    elif privileged():   # others make their cgroups where they are allowed to, or nowhere
        # Without a directory of ours above them all: nobody would know when it may go.
        parent = settings.cgroup_parent
        linux["cgroupsPath"] = f"{parent}/{record.id}" if parent else f"/pocker-{record.id}"
    linux.setdefault("resources", {}).update(settings.limits)
    _process(result["process"], settings, root)
    if not settings.privileged:
        linux["seccomp"] = profile(result["process"]["capabilities"]["bounding"])
    if _by_default(settings) and privileged():
        apparmor.confine(result["process"], container.places.below_run())
    _namespaces(container, record, result)
    _files(container, settings, result)
    if settings.privileged or settings.security:
        from pyruntime.pocker.options.security import apply

        apply(settings, result)
    if settings.privileged or settings.devices or settings.device_rules:
        from pyruntime.pocker.options import devices

        devices.apply(settings, result)
    environment = result["process"]["env"]
    if not any(entry.startswith("HOSTNAME=") for entry in environment):
        environment.insert(1, f"HOSTNAME={result.get('hostname') or os.uname().nodename}")
    return result


def _process(process: dict[str, Any], settings: Settings, root: int) -> None:
    process["noNewPrivileges"] = False
    process["user"]["umask"] = 0o022   # as with Docker, whatever ours is
    process["rlimits"] = settings.ulimits
    if settings.oom_score is not None:
        process["oomScoreAdj"] = settings.oom_score
    if settings.privileged or settings.cap_add or settings.cap_drop:
        from pyruntime.pocker.options.security import capabilities

        names = capabilities(settings)
        process["capabilities"] = {kind: names for kind in process["capabilities"]}
    if settings.group_add:
        from pyruntime.images.users import find_group

        groups = [*process["user"].get("additionalGids", []), *(find_group(text, root) for text in settings.group_add)]
        process["user"]["additionalGids"] = list(dict.fromkeys(groups))
    if settings.init:
        process["args"] = [INIT_PLACE, "--", *process["args"]]


def _by_default(settings: Settings) -> bool:
    """Whether our AppArmor profile is wanted: it has to be loaded then."""
    named = [text for text in settings.security if text.startswith("apparmor")]
    return named[-1].endswith("pocker-default") if named else not settings.privileged


def _mounts(settings: Settings) -> list[dict[str, Any]]:
    """What every container has, as Docker makes it."""
    return [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": _CLOSED},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", *terminal_group()]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": [*_CLOSED, "mode=1777", f"size={settings.shm_size}"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": _CLOSED},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*_CLOSED, "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": [*_CLOSED, "ro"]},
    ]


def _thermal() -> list[str]:
    """How often each CPU was too hot, where this machine tells: it shows what others do."""
    top = "/sys/devices/system/cpu"
    if not os.path.exists(f"{top}/cpu0/thermal_throttle"):
        return []
    return [f"{top}/{name}/thermal_throttle" for name in os.listdir(top)
            if name.startswith("cpu") and name[3:].isdecimal()]


def _namespaces(container: Container, record: Record, result: dict[str, Any]) -> None:
    settings, linux = record.settings, result["linux"]
    network = settings.networks[0]["name"] if settings.networks else ""
    others = network == "host" or network.startswith("container:")
    if not others:
        # Ports below 1024 belong to nobody but the container, and whoever is in it may ping: as with Docker.
        linux["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "0"}
        if privileged() and settings.userns in ("", "host"):   # all groups must be mapped to name them
            linux["sysctl"]["net.ipv4.ping_group_range"] = "0 2147483647"
    if settings.sysctls:
        linux["sysctl"] = linux.get("sysctl", {}) | settings.sysctls
    if settings.ipc or settings.pid or settings.uts or settings.cgroupns or settings.userns or others:
        from pyruntime.pocker.options import namespaces

        namespaces.apply(container, record, result)


def _files(container: Container, settings: Settings, result: dict[str, Any]) -> None:
    """The files and volumes: what the settings mount takes the place of what is usual there."""
    mounts = result["mounts"]
    if settings.init:
        mounts.append({"destination": INIT_PLACE, "type": "bind", "source": INIT, "options": ["bind", "ro"]})
    options = ["rbind", "rprivate", *(["ro"] if settings.read_only else [])]
    mounts += [{"destination": f"/etc/{name}", "type": "bind", "source": path, "options": options}
               for name, path in network_files(container, settings)]
    if settings.mounts:
        from pyruntime.pocker.options.mounts import entries

        own = entries(container, settings)
        if any(not {"shared", "rshared"}.isdisjoint(mount["options"]) for mount in own):
            result["linux"]["rootfsPropagation"] = "shared"   # else the runtime cuts all mounts off from the host
        places = {mount["destination"] for mount in own}
        result["mounts"] = [mount for mount in mounts if mount["destination"] not in places] + own


def network_files(container: Container, settings: Settings) -> list[tuple[str, str]]:
    """hosts, resolv.conf and hostname: the name below /etc, and the file that is mounted there."""
    network = settings.networks[0]["name"] if settings.networks else ""
    directory = container.directory
    if network.startswith("container:"):
        from pyruntime.pocker.containers.container import find

        directory = find(container.places, network.removeprefix("container:")).directory
    there = [(name, f"{directory}/{name}") for name in NAMES]
    return [(name, path) for name, path in there if os.path.exists(path)]
