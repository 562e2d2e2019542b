"""``HostConfig``: a container's settings under the names of Docker's `inspect`."""

from __future__ import annotations

from pyruntime.pocker.settings import CPU_PERIOD
from pyruntime.system.json import NullList

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from pyruntime.pocker.settings import ContainerSettings, MountPoint, PublishedPort


def host_config(settings: ContainerSettings) -> dict[str, Any]:
    """The document. Numbers are bytes, billionths of a CPU, and microseconds; 0 is no limit."""
    limits, security = settings.resources, [option.document() for option in settings.security]
    period, quota = limits.cpu_period or 0, limits.cpu_quota or 0
    if limits.cpus is not None:
        period, quota = CPU_PERIOD, round(limits.cpus * CPU_PERIOD)
    return {
        "Binds": [_bind(mount) for mount in settings.mounts
                  if mount.kind != "tmpfs" and not mount.anonymous] or NullList(),
        "Tmpfs": {mount.target: ",".join(mount.options) for mount in settings.mounts if mount.kind == "tmpfs"},
        "NetworkMode": settings.networks[0].name if settings.networks else "bridge",
        "PortBindings": _bindings(settings.publish), "PublishAllPorts": settings.publish_all,
        "RestartPolicy": {"Name": settings.restart.name, "MaximumRetryCount": settings.restart.limit},
        "AutoRemove": settings.remove, "Privileged": settings.privileged, "ReadonlyRootfs": settings.read_only,
        "CapAdd": list(settings.cap_add) or NullList(), "CapDrop": list(settings.cap_drop) or NullList(),
        "SecurityOpt": security or NullList(), "VolumeDriver": "", "ContainerIDFile": "", "Isolation": "",
        "Dns": list(settings.dns), "DnsSearch": list(settings.dns_search), "DnsOptions": list(settings.dns_options),
        "ExtraHosts": list(settings.hosts) or NullList(), "GroupAdd": list(settings.group_add) or NullList(),
        "VolumesFrom": [other.document() for other in settings.volumes_from] or NullList(),
        "Links": _links(settings.links),
        "IpcMode": settings.ipc or "private", "PidMode": settings.pid, "UTSMode": settings.uts,
        "UsernsMode": settings.userns, "CgroupnsMode": settings.cgroupns, "CgroupParent": settings.cgroup_parent,
        "Memory": limits.memory or 0, "MemorySwap": limits.memory_swap or 0,
        "MemoryReservation": limits.memory_reservation or 0, "OomKillDisable": bool(limits.oom_kill_disable),
        "NanoCpus": quota * 10**9 // period if period and quota > 0 else 0, "CpuPeriod": period, "CpuQuota": quota,
        "CpuShares": limits.cpu_shares or 0, "CpusetCpus": limits.cpuset_cpus or "",
        "CpusetMems": limits.cpuset_mems or "",
        "MemorySwappiness": limits.memory_swappiness, "CpuRealtimePeriod": limits.cpu_realtime_period or 0,
        "CpuRealtimeRuntime": limits.cpu_realtime_runtime or 0, "OomScoreAdj": settings.oom_score or 0,
        "PidsLimit": limits.pids_limit, "Devices": [device.document() for device in settings.devices],
        "DeviceCgroupRules": list(settings.device_rules) or NullList(), "ShmSize": settings.shm_size,
        "Sysctls": settings.sysctls, "Init": settings.init, "Runtime": "pyruntime",
        "Ulimits": [{"Name": limit.type.removeprefix("RLIMIT_").lower(), "Soft": limit.soft, "Hard": limit.hard}
                    for limit in settings.ulimits],
        "LogConfig": {"Type": "none" if settings.logging.driver == "none" else "json-file", "Config": {
            **({"max-size": str(settings.logging.max_size), "max-file": str(settings.logging.max_files)}
               if settings.logging.max_size else {}),
            **{name: ",".join(names) for name, names in settings.logging.details.items()}}}}


def _links(links: Mapping[str, str]) -> list[str]:
    return [f"{container_id}:{alias}" for alias, container_id in links.items()] or NullList()  # type: ignore[return-value]


def _bind(mount: MountPoint) -> str:
    words = [*(["ro"] if mount.read_only else []), *mount.options]
    return ":".join([mount.source, mount.target, *([",".join(words)] if words else [])])


def _bindings(ports: Sequence[PublishedPort]) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        found.setdefault(f"{port.container_port}/{port.protocol}", []).append(
            {"HostIp": port.address, "HostPort": str(port.host_port or "")})
    return found
