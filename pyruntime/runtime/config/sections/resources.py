"""linux.resources: numbers that must be consistent with each other or with the files of the kernel.

Spec:  config-linux.md#memory, #cpu, #block-io, #network, #rdma, #unified
"""

from __future__ import annotations

from pyruntime.errors import Problem
from pyruntime.runtime.config.sections.linux import device_number
from pyruntime.runtime.config.text import interface_error, list_error, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.runtime.config.node import Node

_MEMORY = "config-linux.md#memory"
_CPU = "config-linux.md#cpu"
_IO = "config-linux.md#block-io"
_UNIFIED = "config-linux.md#unified"


def problems(resources: Node, updating: bool = False) -> Iterator[Problem]:
    """``updating``: the values are added to those of the container, so a value need not have its counterpart."""
    if not resources.value:
        return
    yield from _memory(resources["memory"], updating)
    yield from _cpu(resources["cpu"])
    if resources["blockIO"].value:
        yield from _block_io(resources["blockIO"])
    for priority in resources["network.priorities"].each():
        error = interface_error(priority.value["name"])
        if error:
            what = f"the interface name {shown(priority.value['name'])} {error}"
            yield Problem(priority["name"].where, what, "write a name from ip link", "config-linux.md#network")
    for name, limits in resources["rdma"].items():
        if not limits["hcaHandles"] and not limits["hcaObjects"]:
            remedy = "add hcaHandles, hcaObjects or both"
            yield Problem(limits.where, "limits nothing", remedy, "config-linux.md#rdma")
        if not name or any(char.isspace() or char == "\0" for char in name):
            what = f"{shown(name)} is not the name of an RDMA device"
            yield Problem(limits.where, what, "write a name from rdma link", "config-linux.md#rdma")
    yield from _unified(resources["unified"])


def _memory(memory: Node, updating: bool) -> Iterator[Problem]:
    limit, swap = memory.get("limit", 0), memory.get("swap", 0)
    if swap > 0:
        if limit == 0 and not updating:
            what = "unable to set swap limit without memory limit"
            yield Problem(memory["swap"].where, what, "add a limit, or remove the swap", _MEMORY)
        elif swap < limit:
            what = f"{swap} is below the memory limit, {limit}; swap is the limit of memory plus swap"
            yield Problem(memory["swap"].where, what, f"write at least {limit}", _MEMORY)


def _cpu(cpu: Node) -> Iterator[Problem]:
    if not cpu.value:
        return
    quota, burst = cpu.get("quota", 0), cpu.get("burst", 0)
    if 0 < quota < burst:
        what = f"{burst} is above the quota, {quota}"
        yield Problem(cpu["burst"].where, what, f"write at most {quota}", _CPU)
    if 0 < quota < 1000:
        yield Problem(cpu["quota"].where, f"{quota} is below 1000 microseconds", "write at least 1000, or -1", _CPU)
    period = cpu.get("period", 0)
    if period and not 1000 <= period <= 1_000_000:
        yield Problem(cpu["period"].where, f"{period} microseconds is not valid", "write 1000 to 1000000", _CPU)
    runtime, period = cpu.get("realtimeRuntime", 0), cpu.get("realtimePeriod", 0)
    if 0 < period < runtime:
        what = f"{runtime} is above the realtimePeriod, {period}"
        yield Problem(cpu["realtimeRuntime"].where, what, f"write at most {period}", _CPU)
    for node in (cpu["cpus"], cpu["mems"]):
        error = list_error(node.or_(""))
        if error:
            yield Problem(node.where, error, 'write for example "0-3,7"', _CPU)


def _block_io(block_io: Node) -> Iterator[Problem]:
    yield from _weights(block_io)
    for device in block_io["weightDevice"].each():
        yield from device_number(device.value, device.where, _IO)
        yield from _weights(device)
        if not device["weight"] and not device["leafWeight"]:
            yield Problem(device.where, "sets no weight", "add weight, leafWeight or both", _IO)
    for kind in ("ReadBps", "WriteBps", "ReadIOPS", "WriteIOPS"):
        for device in block_io[f"throttle{kind}Device"].each():
            yield from device_number(device.value, device.where, _IO)


def _weights(node: Node) -> Iterator[Problem]:
    for field in ("weight", "leafWeight"):
        weight = node.get(field, 0)
        if weight and not 10 <= weight <= 1000:
            yield Problem(node[field].where, f"{weight} is not a valid weight", "write 10 to 1000, or 0 for none", _IO)


def _unified(unified: Node) -> Iterator[Problem]:
    for name, value in unified.items():
        if "/" in name:
            what = f"unified resource {shown(name)} must be a file name (no slashes)"
            yield Problem(value.where, what, 'write for example "memory.high"', _UNIFIED)
        elif name.find(".") < 1 or "\0" in name or name.endswith("."):
            what = f"unified resource {shown(name)} must be in the form CONTROLLER.PARAMETER"
            yield Problem(value.where, what, 'write for example "memory.high"', _UNIFIED)


def warnings(resources: Node) -> Iterator[Problem]:
    for field in ("kernel", "kernelTCP"):
        node = resources[f"memory.{field}"]
        if node.or_(0) > 0:
            yield Problem(node.where, "not recommended: the kernel drops this limit", "write a memory limit", _MEMORY)
