"""linux: devices, network devices, cgroups path, resctrl, memory policy, personality.

Spec:  config-linux.md#devices, #network-devices, #cgroups-path, #intelrdt, #memory-policy, #personality
"""

from __future__ import annotations

from pyruntime.errors import Problem
from pyruntime.runtime.config.text import count_of, interface_error, list_error, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyruntime.runtime.config.node import Node

_DEVICES = "config-linux.md#devices"
_PERMISSIONS = 0o7777
_TYPE_BITS = {"c": 0o020000, "u": 0o020000, "b": 0o060000, "p": 0o010000}   # Podman writes st_mode as stat(2) gives it
_NET = "config-linux.md#network-devices"
_RDT = "config-linux.md#intelrdt"
_POLICY = "config-linux.md#memory-policy"
MAJOR, MINOR = 4095, 1048575  # the kernel's dev_t has 12 and 20 bits
_OCTAL_LOOKS = frozenset((400, 440, 444, 600, 640, 644, 660, 664, 666, 700, 750, 755, 770, 775, 777))


def problems(linux: Node) -> Iterator[Problem]:
    yield from _devices(linux["devices"])
    yield from _net_devices(linux["netDevices"])
    yield from _cgroups_path(linux["cgroupsPath"])
    yield from _intel_rdt(linux["intelRdt"])
    yield from _memory_policy(linux["memoryPolicy"])
    for flag in linux["personality.flags"].each():
        what = f"personality flag {shown(flag.value)} is not supported"
        yield Problem(flag.where, what, "remove it: no flag is defined yet", "config-linux.md#personality")


def _devices(devices: Node) -> Iterator[Problem]:
    seen: dict[str, tuple[int, Any]] = {}
    for index, device in enumerate(devices.or_(())):
        where = f"{devices.where}[{index}]"
        path, kind = device["path"], device["type"]
        if path[:1] != "/":
            remedy = f"write {shown('/dev/' + path)}" if path else 'write for example "/dev/fuse"'
            yield Problem(f"{where}.path", f"{shown(path)} is not an absolute path", remedy, _DEVICES)
        if kind != "p":
            yield from device_number(device, where, _DEVICES)
        mode = device.get("fileMode") or 0
        if mode > _PERMISSIONS and mode & ~_PERMISSIONS != _TYPE_BITS[kind]:
            yield Problem(f"{where}.fileMode", f'{mode} (0{mode:o}) is not a mode of type "{kind}"',
                          f"write only the permission bits: {mode & _PERMISSIONS}", _DEVICES)
        same = (kind, device.get("major"), device.get("minor"))
        if path in seen and seen[path][1] != same:
            what = f"{shown(path)} is also the path of {devices.where}[{seen[path][0]}], which is another device"
            yield Problem(f"{where}.path", what, "write another path, or remove one of them", _DEVICES)
        seen.setdefault(path, (index, same))


def device_number(device: dict[str, Any], where: str, spec: str) -> Iterator[Problem]:
    """Major and minor number must be present and in the kernel's range. Block I/O limits have the same members."""
    for field, most in (("major", MAJOR), ("minor", MINOR)):
        number = device.get(field)
        if number is None:
            yield Problem(f"{where}.{field}", "is missing", "write the number of the device, as shown by ls -l", spec)
        elif not 0 <= number <= most:
            yield Problem(f"{where}.{field}", f"{number} is not a device number", f"write 0 to {most}", spec)


def _net_devices(devices: Node) -> Iterator[Problem]:
    inside: dict[str, str] = {}
    for name, device in devices.items():
        error = interface_error(name)
        if error:
            yield Problem(device.where, f"the interface name {shown(name)} {error}", "write a name from ip link", _NET)
        new = device.get("name") or name
        place = device["name"].where if device.get("name") else device.where
        error = interface_error(new) or ("" if new.count("%") == new.count("%d") <= 1 else "has more than one %d")
        if error and device.get("name"):
            what = f"the interface name {shown(new)} {error}"
            yield Problem(place, what, "write at most 15 bytes without / : and space", _NET)
        if new in inside and "%d" not in new:
            what = f"{inside[new]} also has the name {shown(new)} in the container"
            yield Problem(place, what, "write another name", _NET)
        inside[new] = device.where


def _cgroups_path(path: Node) -> Iterator[Problem]:
    text = path.or_("")
    spec = "config-linux.md#cgroups-path"
    if ".." in text.split("/"):
        yield Problem(path.where, f'{shown(text)} leaves the cgroup by ".."', "write the resulting path", spec)
    if "\n" in text:
        yield Problem(path.where, f"{shown(text)} contains a line break", "remove the line break", spec)


def _intel_rdt(rdt: Node) -> Iterator[Problem]:
    name = rdt.get("closID") or "/"
    if name != "/" and ("/" in name or name in (".", "..", "info", "mon_data", "mon_groups")):
        what = f"invalid intelRdt.ClosID {shown(name)}"
        yield Problem(rdt["closID"].where, what, 'write the name of one directory, or "/" for the root', _RDT)


def _memory_policy(policy: Node) -> Iterator[Problem]:
    if not policy:
        return
    mode = policy.value["mode"]
    nodes = policy["nodes"]
    listed = nodes.or_("").strip()
    error = list_error(listed)
    if error:
        yield Problem(nodes.where, f"invalid memory policy node: {error}", 'write for example "0-3,7"', _POLICY)
    elif listed and mode in ("MPOL_DEFAULT", "MPOL_LOCAL"):
        what = f'invalid memory policy mode "{mode}": mode requires 0 nodes but got {count_of(listed)}'
        yield Problem(nodes.where, what, "remove the nodes", _POLICY)
    if not listed and mode not in ("MPOL_DEFAULT", "MPOL_LOCAL", "MPOL_PREFERRED"):
        what = f'invalid memory policy mode "{mode}": mode requires at least 1 node but got 0'
        yield Problem(nodes.where, what, 'write for example "0"', _POLICY)
    flags: list[str] = policy.get("flags", [])
    for index, flag in enumerate(flags):
        where = f"{policy['flags'].where}[{index}]"
        wrong = ""
        if flag == "MPOL_F_NUMA_BALANCING":
            wrong = "" if mode in ("MPOL_BIND", "MPOL_PREFERRED_MANY") else 'it needs mode "MPOL_BIND"'
        elif mode in ("MPOL_DEFAULT", "MPOL_LOCAL") or (mode == "MPOL_PREFERRED" and not listed):
            wrong = "it has no meaning without nodes"
        elif flag == "MPOL_F_STATIC_NODES" and "MPOL_F_RELATIVE_NODES" in flags:
            wrong = 'it contradicts "MPOL_F_RELATIVE_NODES"'
        if wrong:
            yield Problem(where, f'invalid memory policy flag "{flag}": {wrong}', "remove it", _POLICY)


def warnings(linux: Node) -> Iterator[Problem]:
    numbers: dict[tuple[Any, ...], str] = {}
    for device in linux["devices"].each():
        mode = device.get("fileMode")
        if mode in _OCTAL_LOOKS:
            what = f"{mode} is decimal, and means the mode {mode:o}"
            remedy = f"write {int(str(mode), 8)} for the mode {mode}"
            yield Problem(device["fileMode"].where, what, remedy, _DEVICES)
        kind = device.value["type"]
        if kind == "p":
            continue
        number = ("c" if kind == "u" else kind, device.get("major"), device.get("minor"))
        if number in numbers:
            what = f'"{kind}" {number[1]}:{number[2]} is the same device as {numbers[number]}'
            yield Problem(device.where, what, "remove one of them", _DEVICES)
        numbers.setdefault(number, device.where)
    schema = linux["intelRdt.l3CacheSchema"]
    if schema.value and (schema.value[:3] != "L3:" or "\n" in schema.value):
        what = f"{shown(schema.value)} is not a single line that starts with L3:"
        yield Problem(schema.where, what, 'write for example "L3:0=7f0;1=1f", and other lines in schemata', _RDT)
