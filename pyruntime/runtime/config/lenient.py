"""Correct violations of the specification that runc and crun accept, with a warning for each.

Only invalid documents get here, and with `pyruntime validate --strict` none. Values of a wrong type are left to the
schema, which words the mistake.
"""

from __future__ import annotations

from pyruntime.errors import Problem
from pyruntime.runtime.config.rules import VERSION
from pyruntime.runtime.config.text import is_version, shown
from pyruntime.system.json_path import member

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

# Members that count as 0 if missing: place of the object, member, section of the specification.
_ZERO = (
    ("process.user", "uid", "config.md#posix-platform-user"), ("process.user", "gid", "config.md#posix-platform-user"),
    ("process.rlimits[]", "soft", "config.md#posix-process"), ("process.rlimits[]", "hard", "config.md#posix-process"),
    ("process.ioPriority", "priority", "config.md#linux-process"),
    ("linux.devices[]", "major", "config-linux.md#devices"), ("linux.devices[]", "minor", "config-linux.md#devices"),
)
# Members that count as missing if they have this value.
_MISSING = (
    ("hooks.*[]", "timeout", 0, "config.md#posix-platform-hooks"),
    ("linux", "rootfsPropagation", "", "config-linux.md#rootfs-mount-propagation"),
    ("linux.namespaces[]", "path", "", "config-linux.md#namespaces"),
    ("annotations", "", None, "config.md#annotations"),   # any value: the name is empty
)
_PATHS = (("maskedPaths", "config-linux.md#masked-paths"), ("readonlyPaths", "config-linux.md#readonly-paths"))
_DEVICE_RULES = "config-linux.md#allowed-device-list"


def forgive(value: Any) -> tuple[Any, list[Problem]]:
    """The corrected document and the problems in it; the same document if nothing can be corrected."""
    document = _copy(value)
    found: list[Problem] = []
    for rule in (_zero, _missing, _version, _access, _paths, _filters):
        found += rule(document)
    return (document, found) if found else (value, found)


def _copy(value: Any) -> Any:
    if value.__class__ is dict:
        return {name: _copy(item) for name, item in value.items()}
    if value.__class__ is list:
        return [_copy(item) for item in value]
    return value


def _objects(document: Any, pattern: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects at a place: ``name`` is a member, ``*`` each member, ``[]`` each item of an array."""
    found = [("", document)]
    for part in pattern.split("."):
        name = part.removesuffix("[]")
        below = []
        for where, item in found:
            if item.__class__ is dict:
                names = list(item) if name == "*" else [name] if name in item else []
                below += [(member(where, each), item[each]) for each in names]
        if part.endswith("[]"):
            below = [(f"{where}[{index}]", each) for where, item in below if item.__class__ is list
                     for index, each in enumerate(item)]
        found = below
    yield from ((where, item) for where, item in found if item.__class__ is dict)


def _zero(document: Any) -> Iterator[Problem]:
    for pattern, name, spec in _ZERO:
        for where, item in _objects(document, pattern):
            if item.get(name) is None and not (pattern == "linux.devices[]" and item.get("type") == "p"):
                item[name] = 0
                yield Problem(member(where, name), "is missing; taken as 0", f'add "{name}": 0', spec)


def _missing(document: Any) -> Iterator[Problem]:
    for pattern, name, empty, spec in _MISSING:
        for where, item in _objects(document, pattern):
            if name in item and (empty is None or (item[name] == empty and item[name].__class__ is empty.__class__)):
                del item[name]
                what = "has no name" if empty is None else f'is {shown(empty) if empty == "" else empty}'
                yield Problem(member(where, name), f"{what}; taken as missing", "remove it", spec)


def _version(document: Any) -> Iterator[Problem]:
    version = document.get("ociVersion") if document.__class__ is dict else None
    if version.__class__ is str and is_version(version) and int(version.partition(".")[0]) > 1:
        document["ociVersion"] = VERSION
        yield Problem("ociVersion", f"version {shown(version)} is not supported, only 1.x is; taken as {VERSION}",
                      f'write "{VERSION}"', "config.md#specification-version")


def _access(document: Any) -> Iterator[Problem]:
    for where, rule in _objects(document, "linux.resources.devices[]"):
        access = rule.get("access")
        if access.__class__ is str and access.strip("rwm"):
            known = "".join(letter for letter in access if letter in "rwm")
            if known:   # if no letter is valid, the rule would apply to all access
                rule["access"] = known
                yield Problem(f"{where}.access", f"invalid device access {shown(access)}; taken as {shown(known)}",
                              f"write {shown(known)}", _DEVICE_RULES)


def _paths(document: Any) -> Iterator[Problem]:
    for where, linux in _objects(document, "linux"):
        for name, spec in _PATHS:
            paths = linux.get(name)
            if paths.__class__ is not list:
                continue
            for index, path in enumerate(paths):
                if path.__class__ is str and path and path[0] != "/":
                    paths[index] = f"/{path}"
                    yield Problem(f"{where}.{name}[{index}]", f"{shown(path)} is not an absolute path; taken relative"
                                  " to the container's root", f"write {shown(paths[index])}", spec)


def _filters(document: Any) -> Iterator[Problem]:
    for where, seccomp in _objects(document, "linux.seccomp"):
        rules = seccomp.get("syscalls")
        if rules.__class__ is not list:
            continue
        named = []
        for index, rule in enumerate(rules):
            if rule.__class__ is dict and rule.get("names") == []:
                yield Problem(f"{where}.syscalls[{index}].names", "is empty; the rule is left out",
                              "name at least one system call, or remove the rule", "config-linux.md#seccomp")
            else:
                named.append(rule)
        seccomp["syscalls"] = named
