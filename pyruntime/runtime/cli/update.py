"""``pyruntime update ID``."""

from __future__ import annotations

import os

from pyruntime.commandline.log import LOG
from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.errors import ConfigError, Problem, UsageError
from pyruntime.runtime.cli.main import RuntimeContext
from pyruntime.runtime.config.load import read_file
from pyruntime.system.json import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command(
    "update", "[options] ID", "update the resource limits of a container",
    Flag("resources", "str", "read linux.resources from FILE, or from standard input for -; other options are ignored",
         short="r", value="FILE"),
    Flag("blkio-weight", "str", "block I/O weight, from 10 to 1000", value="N"),
    Flag("cpu-period", "str", "CPU CFS period in microseconds", value="N"),
    Flag("cpu-quota", "str", "CPU CFS quota in microseconds; -1 for unlimited", value="N"),
    Flag("cpu-burst", "str", "CPU CFS burst in microseconds", value="N"),
    Flag("cpu-share", "str", "CPU shares (relative weight)", value="N"),
    Flag("cpu-rt-period", "str", "CPU real-time period in microseconds", value="N"),
    Flag("cpu-rt-runtime", "str", "CPU real-time runtime in microseconds", value="N"),
    Flag("cpu-idle", "str", "0 for normal scheduling, 1 to run only on idle CPUs (SCHED_IDLE)", value="N"),
    Flag("cpuset-cpus", "str", "CPUs that the container may use", value="LIST"),
    Flag("cpuset-mems", "str", "memory nodes that the container may use", value="LIST"),
    Flag("kernel-memory", "str", "obsolete; has no effect", hidden=True),
    Flag("kernel-memory-tcp", "str", "obsolete; has no effect", hidden=True),
    Flag("memory", "str", "memory limit in bytes or with a unit b, k, m, g or t; -1 for unlimited", value="SIZE"),
    Flag("memory-reservation", "str", "memory reservation (soft limit)", value="SIZE"),
    Flag("memory-swap", "str", "limit of memory plus swap; -1 for unlimited", value="SIZE"),
    Flag("pids-limit", "str", "maximum number of processes; -1 for unlimited", value="N"),
    Flag("l3-cache-schema", "str", "Intel RDT L3 cache schema", value="LINE"),
    Flag("mem-bw-schema", "str", "Intel RDT memory bandwidth schema", value="LINE"), least=1, most=1)
# Option -> its place in linux.resources, and the kind of its value
_PLACES = {
    "blkio-weight": ("blockIO", "weight", "uint"), "cpu-period": ("cpu", "period", "uint"),
    "cpu-quota": ("cpu", "quota", "int"), "cpu-burst": ("cpu", "burst", "uint"), "cpu-share": ("cpu", "shares", "uint"),
    "cpu-rt-period": ("cpu", "realtimePeriod", "uint"), "cpu-rt-runtime": ("cpu", "realtimeRuntime", "int"),
    "cpu-idle": ("cpu", "idle", "int"), "cpuset-cpus": ("cpu", "cpus", "text"),
    "cpuset-mems": ("cpu", "mems", "text"), "memory": ("memory", "limit", "size"),
    "memory-reservation": ("memory", "reservation", "size"), "memory-swap": ("memory", "swap", "size"),
    "pids-limit": ("pids", "limit", "int"),
}
# Go ignores case in the names of members. These are the names as the specification spells them.
_MEMBERS = {
    "memory": ("limit", "reservation", "swap", "kernel", "kernelTCP", "swappiness", "disableOOMKiller", "useHierarchy",
               "checkBeforeUpdate"),
    "cpu": ("shares", "quota", "burst", "period", "realtimeRuntime", "realtimePeriod", "cpus", "mems", "idle"),
    "pids": ("limit",),
    "blockIO": ("weight", "leafWeight", "weightDevice", "throttleReadBpsDevice", "throttleWriteBpsDevice",
                "throttleReadIOPSDevice", "throttleWriteIOPSDevice"),
    "hugepageLimits": (), "network": ("classID", "priorities"), "rdma": (), "unified": (),
}
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}


def run(context: RuntimeContext, parsed: Parsed) -> int:
    """Change the given limits; the others stay as they are."""
    from pyruntime.runtime.lifecycle.update import update  # lazy: help and completion load every command's module

    for name in ("kernel-memory", "kernel-memory-tcp"):
        if name in parsed.given:
            LOG.warning("Kernel memory settings are ignored and will be removed")
    path = parsed["resources"]
    resources = _read(path) if path else _given(parsed)
    update(context.root, parsed.arguments[0], resources, path if path not in ("", "-") else "resources")
    schemata = [parsed[name] for name in ("l3-cache-schema", "mem-bw-schema") if parsed[name]]
    if schemata and not path:
        from pyruntime.runtime.lifecycle.rdt import rewrite  # lazy: only for --l3-cache-schema and --mem-bw-schema
        rewrite(context.root, parsed.arguments[0], schemata)
    return 0


def _given(parsed: Parsed) -> dict[str, Any]:
    resources: dict[str, Any] = {}
    for name, (section, member, kind) in _PLACES.items():
        if name in parsed.given and parsed[name]:
            value = parsed[name] if kind == "text" else _size(name, parsed[name]) if kind == "size" else _number(
                name, parsed[name], signed=kind == "int")
            resources.setdefault(section, {})[member] = value
    memory = resources.get("memory", {})
    if memory.get("limit") == -1:   # a limit of memory plus swap would still limit memory
        memory.setdefault("swap", -1)
    return resources


def _number(name: str, text: str, *, signed: bool) -> int:
    digits = text.removeprefix("-") if signed else text
    if not (digits.isascii() and digits.isdigit()):
        call = "ParseInt" if signed else "ParseUint"
        raise UsageError(f'invalid value for {name}: strconv.{call}: parsing "{text}": invalid syntax')
    return int(text)


def _size(name: str, text: str) -> int:
    """A number of bytes as Docker writes it: 50M, 1.5GiB, 4k; every unit is a power of 1024."""
    if text == "-1":
        return -1
    lower = text.lower().removesuffix("b").removesuffix("i").rstrip()
    unit = lower[-1:] if lower[-1:] in _UNITS else ""
    number = lower.removesuffix(unit).rstrip()
    if not number.replace(".", "", 1).isdigit() or not number.isascii():
        raise UsageError(f"invalid value for {name}: invalid size: '{text}'")
    return int(float(number) * _UNITS[unit])


def _read(path: str) -> dict[str, Any]:
    """The object in a file, with names as the specification spells them; other members are dropped."""
    name = "resources" if path == "-" else path
    if path == "-":
        parts = []
        while part := os.read(0, 1 << 16):
            parts.append(part)
        data = b"".join(parts)
    else:
        data = read_file(path, path)
    value = decode(data, name)
    if not isinstance(value, dict):
        raise ConfigError(name, [Problem("", "expected an object", "write a linux.resources object")])
    result: dict[str, Any] = {}
    for section, members in _MEMBERS.items():
        found = next((item for key, item in value.items() if key.lower() == section.lower() and item is not None), None)
        if isinstance(found, dict) and members:
            spelt = {member.lower(): member for member in members}
            found = {spelt[key.lower()]: item for key, item in found.items() if key.lower() in spelt}
        if found is not None:
            result[section] = found
    return result
