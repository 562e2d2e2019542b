"""The statistics of a container as containerd's messages, from those of the library."""

from __future__ import annotations

import os

from pyruntime.shim import messages

_UNLIMITED = (1 << 64) - 1

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def metrics(stats: dict[str, Any], oom: dict[str, int]) -> dict[str, Any]:
    """An Any with the message of the host's cgroup version, which the client expects. ``stats`` and ``oom`` are what
    Runtime.stats and Runtime.oom_counters return."""
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        values = {**_second(stats), "memory_events": _only(oom, "low", "high", "max", "oom", "oom_kill")}
        return {"type_url": "io.containerd.cgroups.v2.Metrics", "value": messages.METRICS_2.encode(values)}
    values = {**_first(stats), "memory_oom_control": _only(oom, "oom_kill_disable", "under_oom", "oom_kill")}
    return {"type_url": "io.containerd.cgroups.v1.Metrics", "value": messages.METRICS_1.encode(values)}


def _only(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def _first(stats: dict[str, Any]) -> dict[str, Any]:
    memory = stats["memory"]
    usage = ("limit", "usage", "max", "failcnt")
    return {
        "hugetlb": [{**_only(values, "usage", "max", "failcnt"), "pagesize": size}
                    for size, values in stats["hugetlb"].items()],
        "pids": stats["pids"],
        "cpu": {"usage": _only(stats["cpu"]["usage"], "total", "kernel", "user", "percpu"),
                "throttling": stats["cpu"]["throttling"]},
        "memory": {**_only(memory.get("raw", {}), *messages.MEMORY_STAT_1),
                   **{kind: _only(memory[kind], *usage) for kind in ("usage", "swap", "kernel", "kernelTCP")
                      if kind in memory}},
        "blkio": {name: stats["blkio"][name] for name in messages.BLKIO if name in stats["blkio"]},
    }


def _second(stats: dict[str, Any]) -> dict[str, Any]:
    usage, throttling, memory = stats["cpu"]["usage"], stats["cpu"]["throttling"], stats["memory"]
    swap = memory.get("swap", {})
    of_memory = memory.get("usage", {})
    return {
        "pids": stats["pids"],
        "cpu": {"usage_usec": usage.get("total", 0) // 1000, "user_usec": usage["user"] // 1000,
                "system_usec": usage["kernel"] // 1000, "nr_periods": throttling.get("periods", 0),
                "nr_throttled": throttling.get("throttledPeriods", 0),
                "throttled_usec": throttling.get("throttledTime", 0) // 1000},
        "memory": {**_only(memory.get("raw", {}), *messages.MEMORY_STAT_2),
                   "usage": of_memory.get("usage", 0), "usage_limit": of_memory.get("limit", 0),
                   # The library's numbers are sums with memory, as in v1.
                   "swap_usage": max(swap.get("usage", 0) - of_memory.get("usage", 0), 0),
                   "swap_limit": _difference(swap.get("limit", 0), of_memory.get("limit", 0))},
        "io": {"usage": _devices(stats["blkio"])},
        "hugetlb": [{"current": values.get("usage", 0), "pagesize": size} for size, values in stats["hugetlb"].items()],
    }


def _difference(both: int, memory: int) -> int:
    return both if both == _UNLIMITED else max(both - memory, 0)


def _devices(blkio: dict[str, Any]) -> list[dict[str, int]]:
    devices: dict[tuple[int, int], dict[str, int]] = {}
    for kind, unit in (("ioServiceBytesRecursive", "bytes"), ("ioServicedRecursive", "ios")):
        for entry in blkio.get(kind, []):
            place = entry.get("major", 0), entry.get("minor", 0)
            device = devices.setdefault(place, {"major": place[0], "minor": place[1]})
            if entry.get("op") in ("Read", "Write"):
                device[f"{entry['op'][0].lower()}{unit}"] = entry.get("value", 0)
    return list(devices.values())
