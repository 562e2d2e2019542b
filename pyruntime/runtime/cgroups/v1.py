"""The files of cgroup v1 for the resources of config-linux.md.

Each function takes the node of one section and yields the writes for the hierarchy of one controller, as (file, data,
where). File names with ``+``, ``|`` and ``?`` are explained at `perform.write`. A 0 means "not set" where the kernel
does not use 0: Docker and the kubelet write all numbers, set or not.
"""

from __future__ import annotations

from pyruntime.runtime.cgroups.values import (
    check_burst,
    check_memory,
    check_shares,
    check_swappiness,
    device_number,
    mistake,
    page_size,
    pids_limit,
    rdma_limits,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.runtime.config.node import Node

    Write = tuple[str, str, str]


def memory(node: Node) -> Iterator[Write]:
    """memory: limits in bytes, -1 for none."""
    check_memory(node)
    limit, swap = node.get("limit", 0), node.get("swap", 0)
    if limit and swap:
        # The kernel enforces limit <= limit with swap at every moment, so the order depends on the old values.
        yield ("memory.limit_in_bytes+memory.memsw.limit_in_bytes", f"{limit}+{swap}", node["limit"].where)
    elif limit == -1:
        # Memory unlimited and swap not given: then memory plus swap is unlimited, too.
        yield ("memory.limit_in_bytes+memory.memsw.limit_in_bytes?", "-1+-1", node["limit"].where)
    elif limit:
        yield ("memory.limit_in_bytes", str(limit), node["limit"].where)
    elif swap:
        yield ("memory.memsw.limit_in_bytes", str(swap), node["swap"].where)
    if node.get("reservation", 0):
        yield ("memory.soft_limit_in_bytes", str(node.get("reservation")), node["reservation"].where)
    # Newer kernels have neither file (kmem: accepted without effect since Linux 5.16, then removed): this memory counts
    # towards `limit`.
    if node.get("kernel", 0):
        yield ("memory.kmem.limit_in_bytes?", str(node.get("kernel")), node["kernel"].where)
    if node.get("kernelTCP", 0):
        yield ("memory.kmem.tcp.limit_in_bytes?", str(node.get("kernelTCP")), node["kernelTCP"].where)
    if node["swappiness"]:
        check_swappiness(node["swappiness"])
        yield ("memory.swappiness", str(node.get("swappiness")), node["swappiness"].where)
    if node.get("disableOOMKiller", False):
        yield ("memory.oom_control", "1", node["disableOOMKiller"].where)
    if node.get("useHierarchy", False):
        yield ("memory.use_hierarchy", "1", node["useHierarchy"].where)


def cpu(node: Node) -> Iterator[Write]:
    """cpu: shares, bandwidth, real-time bandwidth, idle."""
    shares, idle = node.get("shares", 0), node["idle"]
    if shares:
        check_shares(node["shares"])
    if shares and idle:
        # An idle group refuses shares: set before the group becomes idle, or after it stops being idle.
        yield ("cpu.shares+cpu.idle", f"{shares}+{idle.value}", node["shares"].where)
    elif shares:
        yield ("cpu.shares", str(shares), node["shares"].where)
    elif idle:
        yield ("cpu.idle", str(idle.value), idle.where)

    # Real time first: a process that has a real-time policy can only join a group that has real-time bandwidth.
    yield from _group(node, (("realtimePeriod", "cpu.rt_period_us"), ("realtimeRuntime", "cpu.rt_runtime_us")))
    check_burst(node)
    yield from _group(node, (("period", "cpu.cfs_period_us"), ("quota", "cpu.cfs_quota_us"),
                             ("burst", "cpu.cfs_burst_us")))


def _group(node: Node, members: tuple[tuple[str, str], ...]) -> Iterator[Write]:
    # Period and quota must be consistent with the parent's and each other at every moment.
    given = [(file, str(node.get(name)), node[name].where) for name, file in members
             if node.get(name, 0) or (name == "burst" and node[name])]
    if given:
        yield ("+".join(file for file, _, _ in given), "+".join(data for _, data, _ in given), given[-1][2]
               if len(given) == 1 else _most_telling(given))


def _most_telling(given: list[tuple[str, str, str]]) -> str:
    # The error names the quota (or runtime), which is more often wrong than the period.
    return next((where for file, _, where in given if "quota" in file or "runtime" in file), given[0][2])


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
    """blockIO: weights of the CFQ (before Linux 5.0) or BFQ scheduler, throttles of the block layer."""
    if node.get("weight", 0):
        yield ("blkio.weight|blkio.bfq.weight", str(node.get("weight")), node["weight"].where)
    if node.get("leafWeight", 0):
        yield ("blkio.leaf_weight", str(node.get("leafWeight")), node["leafWeight"].where)
    for entry in node["weightDevice"].each():
        device = device_number(entry)
        if entry.get("weight", 0):
            yield ("blkio.weight_device|blkio.bfq.weight_device", f"{device} {entry.get('weight')}",
                   entry["weight"].where)
        if entry.get("leafWeight", 0):
            yield ("blkio.leaf_weight_device", f"{device} {entry.get('leafWeight')}", entry["leafWeight"].where)
    for name, file in (("throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
                       ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
                       ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
                       ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device")):
        for entry in node[name].each():
            yield (file, f"{device_number(entry)} {entry.get('rate', 0)}", entry.where)


def hugetlb(node: Node) -> Iterator[Write]:
    """hugepageLimits: on use, and on reservation if the kernel supports it (Linux 5.7)."""
    for entry in node.each():
        size, limit = page_size(entry), str(entry.get("limit", 0))
        yield (f"hugetlb.{size}.limit_in_bytes", limit, entry.where)
        yield (f"hugetlb.{size}.rsvd.limit_in_bytes?", limit, entry.where)


def net_cls(node: Node) -> Iterator[Write]:
    """network.classID"""
    if node.get("classID", 0):
        yield ("net_cls.classid", str(node.get("classID")), node["classID"].where)


def net_prio(node: Node) -> Iterator[Write]:
    """network.priorities"""
    for entry in node["priorities"].each():
        name = entry.get("name", "")
        if not name or " " in name or "\n" in name:
            raise mistake(entry["name"], f'"{name}" cannot be the name of a network interface', "", "network")
        yield ("net_prio.ifpriomap", f"{name} {entry.get('priority', 0)}", entry.where)


def rdma(node: Node) -> Iterator[Write]:
    """rdma"""
    for name, entry in node.items():
        yield ("rdma.max", rdma_limits(name, entry), entry.where)
