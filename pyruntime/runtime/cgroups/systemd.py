"""linux.cgroupsPath and linux.resources for systemd: the scope of a container.

Spec:   config-linux.md#cgroups-path leaves the form of the path to the runtime; runc's is ``slice:prefix:name``
        (docs/systemd.md of runc). Properties: systemd.resource-control(5), systemd.scope(5).
Rules:  no slice means system.slice, for a user's own systemd user.slice; ``-`` is the root slice
        no path means ``:pyruntime:ID``
        annotations ``org.systemd.property.NAME`` are properties too, their values GVariant text

Pure: systemd_bus does the I/O. Properties are ``NAME=VALUE`` with the value in GVariant text format, as printed by
`explain`.
"""

from __future__ import annotations

from pyruntime.errors import ConfigError, Problem
from pyruntime.runtime.cgroups import gvariant
from pyruntime.runtime.cgroups.host import below
from pyruntime.runtime.cgroups.values import blkio_to_io_weight, shares_to_weight, swap_alone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyruntime.runtime.cgroups.devices import DeviceRule
    from pyruntime.runtime.cgroups.host import CgroupHost
    from pyruntime.runtime.config.node import Node

SPEC = "config-linux.md#cgroups-path"
ANNOTATION = "org.systemd.property."
INFINITY = (1 << 64) - 1
# v2 controllers that systemd delegates by itself; others (hugetlb, rdma, misc) are unknown to systemd.
MANAGED = ("cpu", "cpuset", "io", "memory", "pids")
# v1 hierarchies in which systemd creates the scope's directory (with Delegate=yes); the runtime creates the others.
MANAGED_V1 = ("name=systemd", "cpu", "cpuacct", "memory", "blkio", "devices", "pids")
# Properties that the driver sets: an annotation that overrides them would break the container.
RESERVED = ("PIDs", "Slice", "Delegate", "DefaultDependencies")
_UNIT = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.-")


class Systemd:
    """The systemd instance: ``version`` (252), ``root`` is its own cgroup (``/``, or for a user's
    ``/user.slice/user-1000.slice/user@1000.service``), ``user`` whether it is a user's."""

    __slots__ = ("root", "user", "version")

    def __init__(self, version: int, root: str = "/", *, user: bool = False) -> None:
        self.version = version
        self.root = root
        self.user = user


class SystemdScope:
    """The unit of one container: its name, the name of its slice, and its cgroup relative to the root of the
    hierarchies."""

    __slots__ = ("path", "slice", "unit")

    def __init__(self, unit: str, slice_name: str, path: str) -> None:
        self.unit = unit
        self.slice = slice_name
        self.path = path


def _mistake(path: str, what: str, remedy: str = "") -> ConfigError:
    return ConfigError("config.json", [Problem("linux.cgroupsPath", f'"{path}": {what}', remedy, SPEC)])


def escape(text: str) -> str:
    r"""``text`` as a part of a unit name: bytes that are not allowed become ``\xNN`` (systemd.unit(5))."""
    return "".join(chr(byte) if chr(byte) in _UNIT else f"\\x{byte:02x}" for byte in text.encode("utf-8", "replace"))


def expand_slice(name: str) -> str:
    """The cgroup of a slice: ``a-b.slice`` is ``/a.slice/a-b.slice``, ``-.slice`` the root. Raises ValueError."""
    stem = name.removesuffix(".slice")
    if stem == "-" and name != "-":
        return ""
    if not name.endswith(".slice") or not stem or "/" in name or not all(stem.split("-")) or not _UNIT.issuperset(stem):
        raise ValueError(f'invalid slice name "{name}"')
    parts = stem.split("-")
    return "".join(f"/{'-'.join(parts[:count])}.slice" for count in range(1, len(parts) + 1))


def locate(cgroups_path: str, container_id: str, systemd: Systemd) -> SystemdScope:
    """The container's scope. Raises ConfigError for an invalid path."""
    parts = (cgroups_path or f":pyruntime:{container_id}").split(":")
    if len(parts) != 3:
        raise _mistake(cgroups_path, 'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups',
                       f'write for example "system.slice:pyruntime:{container_id}"')
    slice_name, prefix, name = parts
    slice_name = slice_name or ("user.slice" if systemd.user else "system.slice")
    if slice_name == "-":
        slice_name = "-.slice"
    try:
        place = expand_slice(slice_name)
    except ValueError as error:
        raise _mistake(cgroups_path, str(error), 'write a name such as "a-b.slice", without slashes') from None
    if not name or name.endswith(".slice"):
        raise _mistake(cgroups_path, "a container needs a scope: a slice cannot contain processes",
                       'write "slice:prefix:name", where the name does not end in .slice')
    unit = escape(f"{prefix}-{name}" if prefix else name) + ".scope"
    if len(unit) > 255:
        raise _mistake(cgroups_path, f'the unit "{unit[:40]}..." has a name of {len(unit)} characters, more than 255')
    return SystemdScope(unit, slice_name, systemd.root.rstrip("/") + place + "/" + unit)


def container_paths(scope: SystemdScope, host: CgroupHost) -> dict[str, str]:
    """The directory of the scope in every hierarchy, in the form of `paths.container_paths`."""
    return {hierarchy.key: hierarchy.mountpoint + below(scope.path, hierarchy.root) for hierarchy in host.all()}


def managed(key: str) -> bool:
    """Whether systemd creates (and removes) the directories of this hierarchy."""
    return not key or any(name in MANAGED_V1 for name in key.split(","))


# --- properties ------------------------------------------------------------------------------------------------------

def scope_properties(config: Node, host: CgroupHost, systemd: Systemd, scope: SystemdScope, container_id: str,
                     rules: Sequence[DeviceRule]) -> list[str]:
    """The properties of a new scope, except its processes."""
    modern = host.layout == "v2"
    given = {
        "Description": gvariant.quote(f"pyruntime container {container_id}"),
        "Slice": gvariant.quote(scope.slice),
        "Delegate": "true",
        # Otherwise the scope conflicts with shutdown.target and has other default dependencies (systemd.scope(5)).
        "DefaultDependencies": "false",
        "CPUAccounting": "true", "MemoryAccounting": "true", "TasksAccounting": "true",
        "IOAccounting" if modern else "BlockIOAccounting": "true",
    }
    given.update(resource_properties(config["linux.resources"], systemd, modern=modern))
    if not systemd.user:
        given.update(device_properties(rules, systemd))
    given.update(annotated(config["annotations"]))
    return [f"{name}={value}" for name, value in given.items()]


def resource_properties(resources: Node, systemd: Systemd, *, modern: bool, cpu_max: tuple[int, int] | None = None,
                        ) -> dict[str, str]:
    """The systemd properties for ``linux.resources``; all values are written to the cgroup files as well.

    systemd must have them, too: when it writes its own values again (``systemctl daemon-reload``, ``set-property``), it
    then writes these. ``cpu_max``: the current quota (-1: none) and period, for an update that may contain only one of
    them.
    """
    found: dict[str, str] = {}
    for name, value in (*_memory(resources["memory"], modern), *_cpu(resources["cpu"], systemd, modern, cpu_max),
                        *_others(resources, modern), *(_unified(resources["unified"], systemd) if modern else ())):
        found[name] = value
    return found


def _uint(value: int) -> str:
    return f"uint64 {INFINITY if value < 0 else min(value, INFINITY)}"   # the kernel reports invalid values


def _memory(node: Node, modern: bool) -> Iterator[tuple[str, str]]:
    if node.get("limit", 0):
        yield "MemoryMax" if modern else "MemoryLimit", _uint(node.get("limit"))
    if modern and node.get("reservation", 0):
        yield "MemoryLow", _uint(node.get("reservation"))
    swap = swap_alone(node) if modern else None
    if swap is not None:
        yield "MemorySwapMax", _uint(-1 if swap == "max" else int(swap))


def _cpu(node: Node, systemd: Systemd, modern: bool, cpu_max: tuple[int, int] | None) -> Iterator[tuple[str, str]]:
    if node.get("shares", 0):
        yield ("CPUWeight", _uint(shares_to_weight(node.get("shares")))) if modern else (
            "CPUShares", _uint(node.get("shares")))
    if node.get("quota", 0) or node.get("period", 0):
        yield from _quota(*(cpu_max or (node.get("quota", 0) or -1, node.get("period", 0) or 100000)), systemd)
    if systemd.version >= 244:
        if node.get("cpus", ""):
            yield "AllowedCPUs", _mask(node.get("cpus"))
        if node.get("mems", ""):
            yield "AllowedMemoryNodes", _mask(node.get("mems"))


def _quota(quota: int, period: int, systemd: Systemd) -> Iterator[tuple[str, str]]:
    # Microseconds of CPU time per second. systemd keeps whole percents, rounded down. The value is rounded up here so
    # that a container never gets less than configured; the exact value is written to the file afterwards.
    yield "CPUQuotaPerSecUSec", _uint(-1 if quota <= 0 else -(-quota * 100 // period) * 10_000)
    if systemd.version >= 242:
        yield "CPUQuotaPeriodUSec", _uint(period)


def _mask(listed: str) -> str:
    """A list such as ``0-3,7`` as the bytes of a bit mask, lowest first."""
    mask = 0
    for part in listed.replace(" ", "").replace("\n", "").split(","):
        first, _, last = part.partition("-")
        if (not first.isdecimal() or (last and not last.isdecimal()) or max(len(first), len(last)) > 5
                or int(last or first) >= 1 << 16):
            continue   # the kernel reports an invalid list
        for number in range(int(first), int(last or first) + 1):
            mask |= 1 << number
    data = mask.to_bytes((mask.bit_length() + 7) // 8 or 1, "little")
    return "[" + ", ".join(f"byte 0x{byte:02x}" for byte in data) + "]"


def _others(resources: Node, modern: bool) -> Iterator[tuple[str, str]]:
    limit = resources["pids.limit"]
    if limit:
        yield "TasksMax", _uint(limit.value or 1)
    weight = resources.get("blockIO.weight", 0)
    if weight:
        yield ("IOWeight", _uint(blkio_to_io_weight(weight))) if modern else ("BlockIOWeight", _uint(weight))


_UNIFIED = {"memory.high": "MemoryHigh", "memory.low": "MemoryLow", "memory.min": "MemoryMin",
            "memory.max": "MemoryMax", "memory.swap.max": "MemorySwapMax", "pids.max": "TasksMax",
            "cpu.weight": "CPUWeight"}


def _unified(unified: Node, systemd: Systemd) -> Iterator[tuple[str, str]]:
    for name, node in unified.items():
        text = str(node.value).strip()
        if name in _UNIFIED and (text == "max" or (text.isdecimal() and len(text) <= 20)):
            yield _UNIFIED[name], _uint(-1 if text == "max" else int(text))
        elif name == "cpu.max":
            quota, _, period = text.partition(" ")
            if len(text) <= 40 and (quota == "max" or quota.isdecimal()) and (
                    (period or "100000").isdecimal() and int(period or 100000)):
                yield from _quota(-1 if quota == "max" else int(quota), int(period or 100000), systemd)
        elif name in ("cpuset.cpus", "cpuset.mems") and text and systemd.version >= 244:
            yield "AllowedCPUs" if name == "cpuset.cpus" else "AllowedMemoryNodes", _mask(text)


def device_properties(rules: Sequence[DeviceRule], systemd: Systemd) -> dict[str, str]:
    """The device list in systemd's form, which contains only allowed devices. Empty if a denial excludes a part of
    them: then only the runtime's own filter applies. Device groups by number: systemd 240."""
    if systemd.version < 240 or not rules or not rules[0].total() or rules[0].allow or not all(
            rule.allow for rule in rules[1:]):
        return {}
    entries = []
    for rule in rules[1:]:
        access = "".join(letter for letter in "rwm" if letter in rule.access)
        for kind in {"a": ("block", "char"), "b": ("block",), "c": ("char",)}[rule.kind]:
            if rule.major == "*" and rule.minor != "*":
                return {}
            name = f"/dev/{kind}/{rule.major}:{rule.minor}" if rule.minor != "*" else f"{kind}-{rule.major}"
            entries.append(f"({gvariant.quote(name)}, {gvariant.quote(access)})")
    return {"DevicePolicy": "'strict'", "DeviceAllow": "[" + ", ".join(entries) + "]"}


def annotated(annotations: Node) -> dict[str, str]:
    """The properties of the annotations ``org.systemd.property.NAME``. A name that ends in ``Sec``, as in unit files,
    with a number of seconds becomes the ``USec`` of systemd's D-Bus interface. Raises ConfigError."""
    found: dict[str, str] = {}
    for key, node in annotations.items():
        if not key.startswith(ANNOTATION):
            continue
        name, value = key.removeprefix(ANNOTATION), node.value
        place = f'annotations["{key}"]'
        if len(name) < 3 or not name.isascii() or not name.isalpha():
            raise _annotation(place, f'"{name}" cannot be the name of a property', "use only letters")
        if name in RESERVED:
            raise _annotation(place, f'the property "{name}" is set by the runtime', "leave it out")
        try:
            kind, parsed = gvariant.parse(value)
        except ValueError as error:
            raise _annotation(place, f'"{value}" is not a GVariant value: {error}',
                              "write for example \"uint64 5\" or \"'text'\"") from None
        if name.endswith("Sec") and not name.endswith("USec"):
            name = name.removesuffix("Sec") + "USec"
            if kind not in (*gvariant.RANGES, "d") or not 0 <= parsed * 1_000_000 < INFINITY:
                raise _annotation(place, f'"{value}" is not a number of seconds', f"or use {name} and microseconds")
            value = _uint(round(parsed * 1_000_000))
        found[name] = value
    return found


def _annotation(place: str, what: str, remedy: str) -> ConfigError:
    return ConfigError("config.json", [Problem(place, what, remedy, "config.md#annotations")])
