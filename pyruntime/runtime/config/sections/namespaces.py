"""linux.namespaces, and every setting that needs one of them.

Spec:  config-linux.md#namespaces, #user-namespace-mappings, #offset-for-time-namespace, #sysctl, #masked-paths,
       #readonly-paths; config.md#hostname, #domainname, #posix-platform-user
"""

from __future__ import annotations

from pyruntime.errors import Problem
from pyruntime.runtime.config.text import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyruntime.runtime.config.node import Node

_SPEC = "config-linux.md#namespaces"
_MAPPINGS = "config-linux.md#user-namespace-mappings"
_SYSCTL = "config-linux.md#sysctl"
_IDS = 1 << 32
_MAPPING_LINES = 340  # UID_GID_MAP_MAX_EXTENTS of Linux 4.15 and later
_NAME_BYTES = 64  # __NEW_UTS_LEN
_OF_IPC = frozenset(
    f"kernel.{name}"
    for name in (
        "msgmax", "msgmnb", "msgmni", "msg_next_id", "sem", "sem_next_id", "shmall", "shmmax", "shmmni",
        "shm_next_id", "shm_rmid_forced",
    )
)  # fmt: skip


def requested(linux: Node) -> dict[str, str]:
    """The namespaces of a configuration: type -> path; an empty path means a new namespace."""
    return {entry["type"]: entry.get("path") or "" for entry in linux.get("namespaces", ())}


def problems(config: Node) -> Iterator[Problem]:
    linux = config["linux"]
    yield from entry_problems(linux["namespaces"], _SPEC)
    types = requested(linux)
    yield from _names(config, types)
    yield from _user(config, linux, types)
    yield from _time(linux["timeOffsets"], types)
    yield from _paths(linux, types)
    yield from _sysctls(linux["sysctl"], types)


def entry_problems(namespaces: Node, spec: str) -> Iterator[Problem]:
    """The rules for namespaces, also for z/OS, whose entries have the same form."""
    seen: dict[str, int] = {}
    for index, entry in enumerate(namespaces.or_(())):
        kind, path = entry["type"], entry.get("path")
        if kind in seen:
            where = f"{namespaces.where}[{index}].type"
            what = (f'malformed spec file: duplicated ns {{{shown(kind)} {shown(path or "")}}}:'
                    f" {namespaces.where}[{seen[kind]}] has it already")
            yield Problem(where, what, "remove one of them", spec)
        seen[kind] = index
        if path is not None and path[:1] != "/":
            remedy = f"write the absolute path of a {kind} namespace, or remove it to create a new one"
            where = f"{namespaces.where}[{index}].path"
            yield Problem(where, f"{shown(path)} is not an absolute path", remedy, spec)


def _names(config: Node, types: dict[str, str]) -> Iterator[Problem]:
    for field in ("hostname", "domainname"):
        name = config.get(field)
        if not name:
            continue
        spec = f"config.md#{field}"
        if "uts" not in types:
            remedy = f'add {{"type": "uts"}} to linux.namespaces, or remove the {field}'
            yield Problem(field, f"unable to set {field} without a private UTS namespace", remedy, spec)
        size = len(name.encode())
        if size > _NAME_BYTES:
            yield Problem(field, f"{shown(name)} has {size} bytes", f"write at most {_NAME_BYTES} bytes", spec)


def _user(config: Node, linux: Node, types: dict[str, str]) -> Iterator[Problem]:
    for kind in ("uid", "gid"):
        mappings = linux[f"{kind}Mappings"]
        yield from mapping_problems(mappings)
        if mappings.value and "user" not in types:
            what = f"user namespace mappings specified, but user namespace isn't enabled in the config ({kind})"
            remedy = 'add {"type": "user"} to linux.namespaces, or remove the mappings'
            yield Problem(mappings.where, what, remedy, _MAPPINGS)
        if types.get("user") == "":
            if not mappings.value:
                what = f"user namespaces enabled, but no {kind} mappings found"
                remedy = 'add for example {"containerID": 0, "hostID": 100000, "size": 65536}'
                yield Problem(mappings.where, what, remedy, _MAPPINGS)
            else:
                yield from _unmapped(config["process.user"], kind, mappings)


def _unmapped(user: Node, kind: str, mappings: Node) -> Iterator[Problem]:
    """IDs of the process that are not mapped in the new user namespace: setresuid(2) would fail with EINVAL."""
    wanted = [user[kind]]
    if kind == "gid":
        wanted += user["additionalGids"].each()
    for node in wanted:
        number = node.or_(0)
        if not any(0 <= number - entry["containerID"] < entry["size"] for entry in mappings.value):
            what = f"{kind} {number} is not among the {mappings.where}"
            yield Problem(node.where, what, f"map {number}, or write a {kind} that is mapped", _MAPPINGS)


def mapping_problems(mappings: Node) -> Iterator[Problem]:
    """Mappings that the kernel refuses in uid_map or gid_map. Mounts have mappings of the same form."""
    entries: list[dict[str, int]] = mappings.or_([])
    if len(entries) > _MAPPING_LINES:
        what = f"{len(entries)} mappings, but the kernel accepts at most {_MAPPING_LINES}"
        yield Problem(mappings.where, what, "merge adjacent ranges", _MAPPINGS)
    for side in ("containerID", "hostID"):
        ranges = []
        for index, entry in enumerate(entries):
            first, last = entry[side], entry[side] + entry["size"] - 1
            where = f"{mappings.where}[{index}]"
            if last >= _IDS - 1:
                remedy = f"write a size of at most {_IDS - 1 - first}"
                yield Problem(f"{where}.size", f"{side} {first} with this size reaches {last}", remedy, _MAPPINGS)
            ranges.append((first, last, index))
        ranges.sort()
        reach, holder = -1, 0
        for first, last, index in ranges:
            if first <= reach:
                what = f"{side} {first} overlaps with {mappings.where}[{min(index, holder)}]"
                where = f"{mappings.where}[{max(index, holder)}].{side}"
                yield Problem(where, what, "make the ranges disjoint", _MAPPINGS)
            if last > reach:
                reach, holder = last, index


def _time(offsets: Node, types: dict[str, str]) -> Iterator[Problem]:
    spec = "config-linux.md#offset-for-time-namespace"
    if not offsets.value:
        return
    if "time" not in types:
        what = "time namespace offsets specified, but time namespace isn't enabled in the config"
        yield Problem(offsets.where, what, 'add {"type": "time"} to linux.namespaces, or remove the offsets', spec)
    elif types["time"]:
        what = f"time namespace offsets specified, but {shown(types['time'])} has its own offsets"
        yield Problem(offsets.where, what, "remove the offsets, or the path of the time namespace", spec)
    for clock, offset in offsets.items():
        if clock not in ("monotonic", "boottime"):
            remedy = 'write "monotonic" or "boottime"'
            yield Problem(offset.where, f"a time namespace has no offset for clock {shown(clock)}", remedy, spec)


def _paths(linux: Node, types: dict[str, str]) -> Iterator[Problem]:
    for field in ("maskedPaths", "readonlyPaths"):
        paths = linux[field]
        spec = "config-linux.md#masked-paths" if field == "maskedPaths" else "config-linux.md#readonly-paths"
        if paths.value and "mount" not in types:
            what = "unable to restrict sys entries without a private MNT namespace"
            yield Problem(paths.where, what, f'add {{"type": "mount"}} to linux.namespaces, or remove {field}', spec)
        for index, path in enumerate(paths.or_(())):
            if path[:1] != "/":
                remedy = f"write {shown('/' + path)}, or remove it" if path else "remove it"
                yield Problem(f"{paths.where}[{index}]", f"{shown(path)} is not an absolute path", remedy, spec)


def _sysctls(sysctls: Node, types: dict[str, str]) -> Iterator[Problem]:
    for name, node in sysctls.items():
        what, remedy = _sysctl(name, types)
        if what:
            yield Problem(node.where, what, remedy, _SYSCTL)


def _sysctl(name: str, types: dict[str, str]) -> tuple[str, str]:
    """The problem with setting ``name`` and the remedy; empty strings if there is no problem."""
    parts = sysctl_parts(name)
    if not parts:
        return f"{shown(name)} is not the name of a sysctl", 'write for example "net.ipv4.ip_forward"'
    dotted = ".".join(parts)
    if dotted == "kernel.hostname":
        what = f'sysctl {shown(name)} is not allowed as it conflicts with the OCI "hostname" field'
        return what, "write the name in hostname"
    kind = sysctl_namespace(parts)
    if not kind:
        return (f"sysctl {shown(name)} is not in a separate kernel namespace",
                "remove it, and set it on the host if necessary")
    if kind not in types:
        what = f"sysctl {shown(name)} is not allowed without a private {kind} namespace"
        return what, f'add {{"type": "{kind}"}} to linux.namespaces, or set it on the host'
    return "", ""


def sysctl_namespace(parts: list[str]) -> str:
    """The kind of namespace that a sysctl belongs to; empty for a sysctl of the whole host."""
    dotted = ".".join(parts)
    if parts[0] == "net":
        return "network"
    if dotted in _OF_IPC or dotted.startswith("fs.mqueue."):
        return "ipc"
    if dotted == "kernel.domainname":
        return "uts"
    return "user" if parts[0] == "user" else ""


def sysctl_parts(name: str) -> list[str]:
    """The path below /proc/sys, as its parts; empty if ``name`` is not a sysctl.

    The first "." or "/" in the name is the separator, and the other character stands for it inside a part, as in
    sysctl(8).
    """
    dot, slash = name.find("."), name.find("/")
    if slash >= 0 and (dot < 0 or slash < dot):
        parts = name.split("/")
    else:
        parts = [part.replace("/", ".") for part in name.split(".")]
    # "net.//.x" would become net/../x, which is outside net.
    if len(parts) < 2 or "\0" in name or any(part in ("", ".", "..") or "/" in part for part in parts):
        return []
    return parts


def warnings(config: Node) -> Iterator[Problem]:
    linux = config["linux"]
    if requested(linux).get("mount") == "":
        return
    for node in (config["mounts"], linux["rootfsPropagation"]):
        value: Any = node.value
        if value:
            what = "ignored: nothing is mounted in a mount namespace that is shared with other processes"
            yield Problem(node.where, what, 'add {"type": "mount"} without a path to linux.namespaces', _SPEC)
