"""linux.sysctl, personality, memoryPolicy, netDevices, intelRdt: kernel settings for the process.

Spec:   config-linux.md#sysctl, #personality, #memory-policy, #network-devices, #intelrdt
Emits:  write_proc, personality, memory_policy, net_device, rdt_group, rdt_follow   (phases JOIN, VIEW, PROCESS)
"""

from __future__ import annotations

from pyruntime.errors import HostError
from pyruntime.runtime.plan.steps import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.runtime.compiler.setup import Setup
    from pyruntime.runtime.plan.steps import Step

PERSONALITIES = {"LINUX": 0x0, "LINUX32": 0x8}   # sys/personality.h
# linux/mempolicy.h
MEMORY_MODES = {"MPOL_DEFAULT": 0, "MPOL_PREFERRED": 1, "MPOL_BIND": 2, "MPOL_INTERLEAVE": 3, "MPOL_LOCAL": 4,
                "MPOL_PREFERRED_MANY": 5, "MPOL_WEIGHTED_INTERLEAVE": 6}
MEMORY_FLAGS = {"MPOL_F_STATIC_NODES": 1 << 15, "MPOL_F_RELATIVE_NODES": 1 << 14, "MPOL_F_NUMA_BALANCING": 1 << 13}


def emit(setup: Setup) -> Iterator[Step]:
    """The steps of all five sections."""
    linux = setup.config["linux"]
    for key, node in linux["sysctl"].items():
        yield step("view", "write_proc", node.where, path="sys/" + sysctl_path(key), data=node.value)
    for key, node in linux["netDevices"].items():
        yield step("join", "net_device", node.where, label=key, name=key, rename=node.get("name", "") or key)
    if linux["personality"]:
        yield step("process", "personality", linux["personality"].where,
                   value=PERSONALITIES[linux.get("personality.domain", "LINUX")])
    policy = linux["memoryPolicy"]
    if policy:
        mode = MEMORY_MODES[policy.get("mode")]
        for flag in policy.get("flags", []):
            mode |= MEMORY_FLAGS[flag]
        mask = 0
        for number in numbers(policy.get("nodes", "")):
            mask |= 1 << number
        size = (mask.bit_length() + 63) // 64 * 8
        yield step("process", "memory_policy", policy.where, label=policy.get("mode"), mode=mode,
                   nodes=mask.to_bytes(size, "little"), bits=mask.bit_length() + 1 if mask else 0)
    yield from rdt(setup)


def sysctl_path(key: str) -> str:
    """The path below /proc/sys; as in sysctl(8), the first "." or "/" in the name is the separator."""
    dot, slash = key.find("."), key.find("/")
    if slash >= 0 and (dot < 0 or slash < dot):
        return key
    return key.translate({ord("."): "/", ord("/"): "."})


def numbers(text: str) -> list[int]:
    """The numbers in a list such as ``0-3,7`` (config-linux.md#memory-policy, #cpu)."""
    result: list[int] = []
    for part in text.replace(" ", "").split(","):
        first, _, last = part.partition("-")
        if first:
            result += range(int(first), int(last or first) + 1)
    return result


def rdt(setup: Setup) -> Iterator[Step]:
    """linux.intelRdt: the class of service, before init forks."""
    rdt = setup.config["linux.intelRdt"]
    if not rdt:
        return
    if not setup.host.resctrl:
        raise HostError("no resctrl filesystem is mounted (Intel RDT; mount -t resctrl resctrl /sys/fs/resctrl)",
                        rdt.where)
    lines = [rdt.value[key] for key in ("l3CacheSchema", "memBwSchema") if rdt[key]] + rdt.get("schemata", [])
    closid = rdt.get("closID", "")
    if setup.joined_container:
        # A process inherits the groups of its parent (resctrl.rst), here those of the runtime.
        group = f"{setup.host.resctrl}/{(closid or setup.container_id).strip('/')}".rstrip("/")
        groups = [group]
        if rdt.get("enableMonitoring", False):
            groups.append(f"{group}/mon_groups/{setup.container_id}")
        yield step("join", "rdt_follow", rdt.where, groups=groups)
        return
    yield step("join", "rdt_group", rdt.where, root=setup.host.resctrl, closid=closid, schemata=lines,
               monitor=setup.container_id if rdt.get("enableMonitoring", False) else "",
               container=setup.container_id)
