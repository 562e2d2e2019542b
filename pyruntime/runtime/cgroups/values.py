"""The numbers of linux.resources: their ranges, and their conversion to cgroup v2.

Spec: config-linux.md#memory, #cpu, #block-io, #huge-page-limits, #pids, #rdma. Mistakes raise ConfigError.
"""

from __future__ import annotations

from pyruntime.errors import ConfigError, Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.runtime.config.node import Node

SPEC = "config-linux.md#"


def mistake(node: Node, what: str, remedy: str = "", section: str = "") -> ConfigError:
    """The error for an invalid value of ``node``."""
    return ConfigError("config.json", [Problem(node.where, what, remedy, SPEC + section if section else "")])


def limit_or_max(value: int) -> str:
    """A limit in the syntax of v2: -1 is ``max``."""
    return "max" if value == -1 else str(value)


def check_memory(node: Node) -> None:
    """The rules for memory.limit and memory.swap in both versions; -1 means unlimited, 0 not set."""
    for name in ("limit", "reservation", "swap", "kernel", "kernelTCP"):
        if node.get(name, 0) < -1:
            raise mistake(node[name], f"invalid memory value: {node.get(name)}", "write -1 for no limit", "memory")
    limit, swap = node.get("limit", 0), node.get("swap", 0)
    if limit > 0 and 0 < swap < limit:
        raise mistake(node["swap"], f"memory+swap limit should be >= memory limit: {swap} is below {limit}",
                      "swap is the limit of memory plus swap", "memory")


def swap_alone(node: Node) -> str | None:
    """memory.swap.max from memory.limit and memory.swap (memory plus swap); None if there is nothing to set."""
    limit, swap = node.get("limit", 0), node.get("swap", 0)
    if swap == -1 or (limit == -1 and swap == 0):
        return "max"   # v1 removes the limit of memory plus swap if memory is unlimited and swap is not given
    if swap == 0:
        return None
    if limit == 0:
        raise mistake(node["swap"], "unable to set swap limit without memory limit", "set memory.limit too", "memory")
    if limit == -1:
        raise mistake(node["swap"], "unable to set swap limit with unlimited memory",
                      "cgroup v2 limits swap separately: set memory.limit to a number", "memory")
    return str(swap - limit)


def check_swappiness(node: Node) -> None:
    """memory.swappiness: 0 to 100."""
    if node.value > 100:
        raise mistake(node, f"invalid memory swappiness value: {node.value} (valid range is 0-100)", "", "memory")


def check_shares(node: Node) -> None:
    """cpu.shares: the kernel would silently clamp other values."""
    if node.value < 2:
        raise mistake(node, f"{node.value}: the minimum allowed cpu-shares is 2", "", "cpu")
    if node.value > 262144:
        raise mistake(node, f"{node.value}: the maximum allowed cpu-shares is 262144", "", "cpu")


def check_burst(node: Node) -> None:
    """cpu.burst must be no larger than a positive cpu.quota."""
    quota, burst = node.get("quota", 0), node.get("burst", 0)
    if 0 < quota < burst:
        raise mistake(node["burst"], f"{burst} is larger than the quota {quota}", "", "cpu")


def shares_to_weight(shares: int) -> int:
    """cpu.shares (2 to 262144, default 1024) as cpu.weight (1 to 10000, default 100).

    A quadratic in log2(shares) that meets both ends and the default, as in runc (since 1.3) and crun (since 1.23). The
    older linear conversion turned the default of 1024 into 39, so that such a container got less than a container
    without shares.
    """
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    import math  # lazy: only for cpu.shares on v2

    log = math.log2(shares)
    return math.ceil(round(10 ** ((log * log + 125 * log) / 612 - 7 / 34), 9))


def blkio_to_io_weight(weight: int) -> int:
    """blkio.weight (10 to 1000) as io.weight (1 to 10000), by linear conversion."""
    return min(10000, max(1, 1 + (weight - 10) * 9999 // 990))


def device_number(entry: Node) -> str:
    """``major:minor`` of an entry of blockIO."""
    return f"{entry.get('major', 0)}:{entry.get('minor', 0)}"


def pids_limit(node: Node) -> str:
    """pids.limit: -1 is no limit. 0 becomes 1: the container's first process is always admitted and counts as 1, so
    both mean "no further process"; systemd accepts only 1."""
    if node.value < -1:
        raise mistake(node, f"invalid pids limit {node.value}", "write -1 for no limit", "pids")
    return "max" if node.value == -1 else str(node.value or 1)


def page_size(entry: Node) -> str:
    """hugepageLimits[].pageSize, which becomes part of a file name: only digits and KB, MB or GB."""
    size: str = entry.get("pageSize", "")
    if size[-2:] not in ("KB", "MB", "GB") or not size[:-2].isascii() or not size[:-2].isdigit():
        raise mistake(entry["pageSize"], f'invalid page size "{size}"', 'write for example "2MB"', "huge-page-limits")
    return size


def rdma_limits(name: str, entry: Node) -> str:
    """One line of rdma.max."""
    if not name or not name.isascii() or not name.isprintable() or " " in name:
        raise mistake(entry, f'"{name}" cannot be the name of an RDMA device', "", "rdma")
    names = (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object"))
    parts = [f"{key}={entry.get(member)}" for member, key in names if entry[member]]
    if not parts:
        raise mistake(entry, "neither hcaHandles nor hcaObjects is given", "", "rdma")
    return " ".join([name, *parts])
