"""A container's settings by the names that Docker's `inspect` has for them: ``HostConfig``."""

from __future__ import annotations

from pyruntime.system.json import NullList

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.options.settings import Settings


def host_config(settings: Settings) -> dict[str, Any]:
    """The document. Numbers are bytes, billionths of a CPU and microseconds; 0 is no limit."""
    memory, cpu = settings.limits.get("memory", {}), settings.limits.get("cpu", {})
    period, quota = cpu.get("period", 0), cpu.get("quota", 0)
    return {
        "Binds": [_bind(mount) for mount in settings.mounts
                  if mount["kind"] != "tmpfs" and not mount.get("anonymous")] or NullList(),
        "Tmpfs": {mount["target"]: ",".join(mount.get("options", [])) for mount in settings.mounts
                  if mount["kind"] == "tmpfs"},
        "NetworkMode": settings.networks[0]["name"] if settings.networks else "bridge",
        "PortBindings": _bindings(settings.ports), "PublishAllPorts": settings.publish_all,
        "RestartPolicy": {"Name": settings.restart, "MaximumRetryCount": settings.restart_limit},
        "AutoRemove": settings.remove, "Privileged": settings.privileged, "ReadonlyRootfs": settings.read_only,
        "CapAdd": settings.cap_add or NullList(), "CapDrop": settings.cap_drop or NullList(),
        "SecurityOpt": settings.security or NullList(), "VolumeDriver": "", "ContainerIDFile": "", "Isolation": "",
        "Dns": settings.dns, "DnsSearch": settings.dns_search, "DnsOptions": settings.dns_options,
        "ExtraHosts": settings.hosts or NullList(), "GroupAdd": settings.group_add or NullList(),
        "VolumesFrom": settings.volumes_from or NullList(), "Links": _links(settings.links),
        "IpcMode": settings.ipc or "private", "PidMode": settings.pid, "UTSMode": settings.uts,
        "UsernsMode": settings.userns, "CgroupnsMode": settings.cgroupns, "CgroupParent": settings.cgroup_parent,
        "Memory": memory.get("limit", 0), "MemorySwap": memory.get("swap", 0),
        "MemoryReservation": memory.get("reservation", 0), "OomKillDisable": memory.get("disableOOMKiller", False),
        "NanoCpus": quota * 10**9 // period if period and quota > 0 else 0, "CpuPeriod": period, "CpuQuota": quota,
        "CpuShares": cpu.get("shares", 0), "CpusetCpus": cpu.get("cpus", ""), "CpusetMems": cpu.get("mems", ""),
        "MemorySwappiness": memory.get("swappiness"), "CpuRealtimePeriod": cpu.get("realtimePeriod", 0),
        "CpuRealtimeRuntime": cpu.get("realtimeRuntime", 0), "OomScoreAdj": settings.oom_score or 0,
        "PidsLimit": settings.limits.get("pids", {}).get("limit"), "Devices": settings.devices,
        "DeviceCgroupRules": settings.device_rules or NullList(), "ShmSize": settings.shm_size,
        "Sysctls": settings.sysctls, "Init": settings.init, "Runtime": "pyruntime",
        "Ulimits": [{"Name": limit["type"].removeprefix("RLIMIT_").lower(), "Soft": limit["soft"],
                     "Hard": limit["hard"]} for limit in settings.ulimits],
        "LogConfig": {"Type": "none" if settings.log_driver == "none" else "json-file", "Config": {
            **({"max-size": str(settings.log_size), "max-file": str(settings.log_files)} if settings.log_size else {}),
            **{name: ",".join(names) for name, names in settings.log_details.items()}}}}


def _links(links: dict[str, str]) -> list[str]:
    return [f"{container_id}:{alias}" for alias, container_id in links.items()] or NullList()  # type: ignore[return-value]


def _bind(mount: dict[str, Any]) -> str:
    words = [*(["ro"] if mount.get("read_only") else []), *mount.get("options", [])]
    return ":".join([mount["source"], mount["target"], *([",".join(words)] if words else [])])


def _bindings(ports: list[dict[str, Any]]) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        found.setdefault(f"{port['to']}/{port['protocol']}", []).append(
            {"HostIp": port["host"], "HostPort": str(port["port"] or "")})
    return found
