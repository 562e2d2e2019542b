"""The files of cgroup v2 for the resources of config-linux.md.

Same interface as ``v1``. config-linux.md#unified: values are meant for v1 and may be converted; if that is not
possible, there MUST be an error.
"""

from __future__ import annotations

from pyruntime.errors import HostError
from pyruntime.runtime.cgroups.values import (
    blkio_to_io_weight,
    check_burst,
    check_memory,
    device_number,
    limit_or_max,
    page_size,
    pids_limit,
    rdma_limits,
    shares_to_weight,
    swap_alone,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.runtime.config.node import Node

    Write = tuple[str, str, str]


def _impossible(node: Node, what: str) -> HostError:
    return HostError(f"cgroup v2 has no {what}", node.where)


def memory(node: Node) -> Iterator[Write]:
    """memory: limits in bytes, -1 for none; ``swap`` is the limit of both together."""
    for name, what in (("kernel", "separate limit for kernel memory: it counts towards memory.limit"),
                       ("kernelTCP", "separate limit for TCP buffers: they count towards memory.limit")):
        if node.get(name, 0) not in (0, -1):
            raise _impossible(node[name], what)
    if node["swappiness"]:
        raise _impossible(node["swappiness"], "swappiness per cgroup")
    if node.get("disableOOMKiller", False):
        raise _impossible(node["disableOOMKiller"], "way to disable the OOM killer")
    if node.get("useHierarchy", True) is False:
        raise _impossible(node["useHierarchy"], "accounting without hierarchy")
    check_memory(node)
    limit, swap = node.get("limit", 0), swap_alone(node)
    # With checkBeforeUpdate the limit is first compared with the usage: v1 refuses by itself, v2 would kill processes.
    check = node.get("checkBeforeUpdate", False)
    if swap is not None:
        # Without swap accounting there is no file; only a limit above 0 requires it.
        optional = "?" if swap in ("0", "max") else ""
        guard = ">memory.swap.current" if check and not optional else ""
        yield ("memory.swap.max" + optional + guard, swap, node["swap"].where if node["swap"] else node["limit"].where)
    if limit:
        yield ("memory.max>memory.current" if check else "memory.max", limit_or_max(limit), node["limit"].where)
    if node.get("reservation", 0):
        yield ("memory.low", limit_or_max(node.get("reservation")), node["reservation"].where)


def cpu(node: Node) -> Iterator[Write]:
    """cpu: shares become a weight; quota and period share a line."""
    for name in ("realtimeRuntime", "realtimePeriod"):
        if node.get(name, 0):
            raise _impossible(node[name], "real-time bandwidth")
    shares, idle = node.get("shares", 0), node["idle"]
    if shares and idle:
        yield ("cpu.weight+cpu.idle", f"{shares_to_weight(shares)}+{idle.value}", node["shares"].where)
    elif shares:
        yield ("cpu.weight", str(shares_to_weight(shares)), node["shares"].where)
    elif idle:
        yield ("cpu.idle", str(idle.value), idle.where)
    check_burst(node)
    quota, period, burst = node.get("quota", 0), node.get("period", 0), node["burst"]
    files, values = [], []
    if quota or period:
        # A line with only the quota keeps the period; with "-", `perform.write` keeps the quota.
        files.append("cpu.max")
        values.append((str(quota) if quota > 0 else "max" if quota else "-") + (f" {period}" if period else ""))
    if burst:
        files.append("cpu.max.burst")
        values.append(str(burst.value))
    if files:
        where = node["quota"] if quota else node["period"] if period else burst
        yield ("+".join(files), "+".join(values), where.where)


def cpuset(node: Node) -> Iterator[Write]:
    """cpu.cpus and cpu.mems."""
    if node.get("cpus", ""):
        yield ("cpuset.cpus", node.get("cpus"), node["cpus"].where)
    if node.get("mems", ""):
        yield ("cpuset.mems", node.get("mems"), node["mems"].where)


def pids(node: Node) -> Iterator[Write]:
    """pids: -1 for no limit."""
    if node["limit"]:
        yield ("pids.max", pids_limit(node["limit"]), node["limit"].where)


def block_io(node: Node) -> Iterator[Write]:
    """blockIO: BFQ has the weights of v1 (1 to 1000), io.weight ranges from 1 to 10000."""
    if node.get("leafWeight", 0):
        raise _impossible(node["leafWeight"], "leaf weights")
    if node.get("weight", 0):
        weight = node.get("weight")
        yield ("io.bfq.weight|io.weight", f"{weight}|{blkio_to_io_weight(weight)}", node["weight"].where)
    for entry in node["weightDevice"].each():
        if entry.get("leafWeight", 0):
            raise _impossible(entry["leafWeight"], "leaf weights")
        device, weight = device_number(entry), entry.get("weight", 0)
        if weight:
            yield ("io.bfq.weight|io.weight", f"{device} {weight}|{device} {blkio_to_io_weight(weight)}",
                   entry["weight"].where)
    for name, key in (("throttleReadBpsDevice", "rbps"), ("throttleWriteBpsDevice", "wbps"),
                      ("throttleReadIOPSDevice", "riops"), ("throttleWriteIOPSDevice", "wiops")):
        for entry in node[name].each():
            rate = entry.get("rate", 0) or "max"   # 0 removes the limit in v1, io.max requires the word "max"
            yield ("io.max", f"{device_number(entry)} {key}={rate}", entry.where)


def hugetlb(node: Node) -> Iterator[Write]:
    """hugepageLimits: on use, and on reservation if the kernel supports it (Linux 5.7)."""
    for entry in node.each():
        size, limit = page_size(entry), str(entry.get("limit", 0))
        yield (f"hugetlb.{size}.max", limit, entry.where)
        yield (f"hugetlb.{size}.rsvd.max?", limit, entry.where)


def net_cls(node: Node) -> Iterator[Write]:
    """network.classID: an error, unless 0."""
    if node.get("classID", 0):
        raise _impossible(node["classID"], "net_cls controller")
    yield from ()


def net_prio(node: Node) -> Iterator[Write]:
    """network.priorities: an error, unless empty."""
    if node.get("priorities"):
        raise _impossible(node["priorities"], "net_prio controller")
    yield from ()


def rdma(node: Node) -> Iterator[Write]:
    """rdma"""
    for name, entry in node.items():
        yield ("rdma.max", rdma_limits(name, entry), entry.where)
