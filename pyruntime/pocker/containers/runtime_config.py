"""A container's config.json: its settings, its image's configuration, and what every container has.

The default container is described here. Settings that change it are applied by the module of their subject, which is
loaded only then: ``apply(settings, document)`` of each changes a document that is complete without it.
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

    from pyruntime.pocker.containers.container import Container, ContainerRecord
    from pyruntime.pocker.settings import ContainerSettings

INIT = native("init")
INIT_PLACE = "/.pocker-init"
# Paths that show the host's state, and paths that would change it.
MASKED = ("/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
          "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
          "/sys/firmware")
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_CLOSED = ["nosuid", "noexec", "nodev"]


def document(container: Container, record: ContainerRecord, root: int, cgroup: str = "") -> dict[str, Any]:
    """The configuration of a container whose root filesystem has the descriptor ``root``; ``cgroup``: the path of its
    cgroup, "" for the default.

    Raises ImageError, UsageError, HostError.
    """
    settings = record.settings
    hostname = settings.hostname or record.id[:12]
    entrypoint = None if settings.entrypoint is None else list(settings.entrypoint)
    wishes = Wishes(args=list(settings.args), entrypoint=entrypoint, env=list(settings.env), user=settings.user,
                    workdir=settings.workdir, terminal=settings.terminal, readonly=settings.read_only,
                    hostname=hostname, home=False)
    image = ImageConfig(b"", {"config": record.image_config, "rootfs": {}})
    unified = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    result = convert(image, root, wishes, uid=os.geteuid(), gid=os.getegid(), unified=unified)
    result["annotations"] = dict(settings.annotations)
    result["mounts"] = _mounts(settings)
    if settings.domainname:
        result["domainname"] = settings.domainname
    linux = result["linux"]
    linux["maskedPaths"], linux["readonlyPaths"] = [*MASKED, *_thermal()], list(READONLY)
    if cgroup:
        linux["cgroupsPath"] = cgroup
    elif privileged():   # without root, the runtime makes the cgroup where it may, or none
        # No common parent of all containers: it would never be known when to remove it.
        parent = settings.cgroup_parent
        linux["cgroupsPath"] = f"{parent}/{record.id}" if parent else f"/pocker-{record.id}"
    linux.setdefault("resources", {}).update(settings.resources.document())
    _process(result["process"], settings, root)
    if not settings.privileged:
        linux["seccomp"] = profile(result["process"]["capabilities"]["bounding"])
    if _by_default(settings) and privileged():
        apparmor.confine(result["process"], container.places.below_run())
    _namespaces(container, record, result)
    _files(container, settings, result)
    if settings.privileged or settings.security:
        from pyruntime.pocker.containers.security import apply  # lazy: only with security options

        apply(settings, result)
    if settings.privileged or settings.devices or settings.device_rules:
        from pyruntime.pocker.containers import devices  # lazy: only with devices

        devices.apply(settings, result)
    environment = result["process"]["env"]
    if not any(entry.startswith("HOSTNAME=") for entry in environment):
        environment.insert(1, f"HOSTNAME={result.get('hostname') or os.uname().nodename}")
    return result


def _process(process: dict[str, Any], settings: ContainerSettings, root: int) -> None:
    process["noNewPrivileges"] = False
    process["user"]["umask"] = 0o022   # as with Docker, whatever the caller's umask
    process["rlimits"] = [limit.changed() for limit in settings.ulimits]
    if settings.oom_score is not None:
        process["oomScoreAdj"] = settings.oom_score
    if settings.privileged or settings.cap_add or settings.cap_drop:
        from pyruntime.pocker.containers.capabilities import capabilities  # lazy: only with other capabilities

        names = capabilities(settings)
        process["capabilities"] = {kind: names for kind in process["capabilities"]}
    if settings.group_add:
        from pyruntime.images.users import find_group  # lazy: only with added groups

        groups = [*process["user"].get("additionalGids", []), *(find_group(text, root) for text in settings.group_add)]
        process["user"]["additionalGids"] = list(dict.fromkeys(groups))
    if settings.init:
        process["args"] = [INIT_PLACE, "--", *process["args"]]


def _by_default(settings: ContainerSettings) -> bool:
    """Whether the default AppArmor profile is used, which has to be loaded then."""
    named = [option.value for option in settings.security if option.name == "apparmor"]
    return named[-1] == "pocker-default" if named else not settings.privileged


def _mounts(settings: ContainerSettings) -> list[dict[str, Any]]:
    """The mounts of every container, as with Docker."""
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
    """The thermal counters of the CPUs, which show the activity of other programs."""
    top = "/sys/devices/system/cpu"
    if not os.path.exists(f"{top}/cpu0/thermal_throttle"):
        return []
    return [f"{top}/{name}/thermal_throttle" for name in os.listdir(top)
            if name.startswith("cpu") and name[3:].isdecimal()]


def _namespaces(container: Container, record: ContainerRecord, result: dict[str, Any]) -> None:
    settings, linux = record.settings, result["linux"]
    network = settings.networks[0].name if settings.networks else ""
    others = network == "host" or network.startswith("container:")
    if not others:
        # As with Docker: any user of the container may bind ports below 1024, and ping.
        linux["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "0"}
        if privileged() and settings.userns in ("", "host"):   # the kernel refuses groups that are not mapped
            linux["sysctl"]["net.ipv4.ping_group_range"] = "0 2147483647"
    if settings.sysctls:
        linux["sysctl"] = {**linux.get("sysctl", {}), **settings.sysctls}
    if settings.ipc or settings.pid or settings.uts or settings.cgroupns or settings.userns or others:
        from pyruntime.pocker.containers import namespaces  # lazy: only with shared namespaces

        namespaces.apply(container, record, result)


def _files(container: Container, settings: ContainerSettings, result: dict[str, Any]) -> None:
    """The mounts of files, and those of the settings, which override the default ones."""
    mounts = result["mounts"]
    if settings.init:
        mounts.append({"destination": INIT_PLACE, "type": "bind", "source": INIT, "options": ["bind", "ro"]})
    options = ["rbind", "rprivate", *(["ro"] if settings.read_only else [])]
    mounts += [{"destination": f"/etc/{name}", "type": "bind", "source": path, "options": options}
               for name, path in network_files(container, settings)]
    if settings.mounts:
        from pyruntime.pocker.containers.mounts import entries  # lazy: only with mounts

        own = entries(container, settings)
        if any(not {"shared", "rshared"}.isdisjoint(mount["options"]) for mount in own):
            result["linux"]["rootfsPropagation"] = "shared"   # else the runtime makes all mounts private
        places = {mount["destination"] for mount in own}
        result["mounts"] = [mount for mount in mounts if mount["destination"] not in places] + own


def network_files(container: Container, settings: ContainerSettings) -> list[tuple[str, str]]:
    """hosts, resolv.conf and hostname: the name below /etc, and the path of the file to mount there."""
    network = settings.networks[0].name if settings.networks else ""
    directory = container.directory
    if network.startswith("container:"):
        from pyruntime.pocker.containers.container import find  # lazy: only with another container's network

        directory = find(container.places, network.removeprefix("container:")).directory
    there = [(name, f"{directory}/{name}") for name in NAMES]
    return [(name, path) for name, path in there if os.path.exists(path)]
