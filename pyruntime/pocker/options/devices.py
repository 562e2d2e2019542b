"""Devices of the host in a container: --device, --device-cgroup-rule, --gpus; and all of them for --privileged."""

from __future__ import annotations

import os

from pyruntime.commandline.units import whole, wrong
from pyruntime.pocker.options.device_nodes import all_below, allowance, named, node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.options.settings import Settings

_ACCESS = frozenset("rwm")
# Not given to privileged containers: each has its own.
GPUS = "nvidia.com/gpu"


def read(settings: Settings, given: dict[str, Any]) -> None:
    """What the flags say, into the settings. Raises UsageError."""
    settings.devices = []
    for text in given.get("device", []):
        if not is_cdi(text):
            path, _, _ = split(text)
            if not os.path.exists(path):
                raise wrong("device", text, f'"{path}" does not exist')
        settings.devices.append(text)
    if given.get("gpus"):
        settings.devices += gpus(given["gpus"])
    settings.device_rules = [rule(text) for text in given.get("device-cgroup-rule", [])]


def is_cdi(text: str) -> bool:
    """Whether it is the name of a device of the Container Device Interface: VENDOR/CLASS=NAME."""
    kind, equals, name = text.partition("=")
    return bool(equals) and bool(name) and "/" in kind and not text.startswith("/")


def split(text: str) -> tuple[str, str, str]:
    """``HOST[:PATH][:rwm]`` as host path, path in the container, access."""
    parts = text.split(":")
    host, path, access = parts[0], "", "rwm"
    if len(parts) == 2 and not parts[1].startswith("/"):
        access = parts[1]
    elif len(parts) >= 2:
        path, access = parts[1], parts[2] if len(parts) == 3 else "rwm"
    if len(parts) > 3 or not host.startswith("/") or not _ACCESS.issuperset(access) or not access:
        raise wrong("device", text, "write /dev/NAME[:/dev/NAME][:rwm], or VENDOR/CLASS=NAME")
    if path and not path.startswith("/"):
        raise wrong("device", text, f'"{path}" is not absolute')
    return host, path or host, access


def gpus(text: str) -> list[str]:
    """CDI names for --gpus: all, a number, or device=NAME,NAME."""
    word = text.strip('"')
    if word in ("all", "-1"):
        return [f"{GPUS}=all"]
    if word.isdecimal():
        return [f"{GPUS}={number}" for number in range(int(word))]
    key, equals, names = word.partition("=")
    if not equals or key not in ("device", "count"):
        raise wrong("gpus", text, "write all, a number, or device=NAME[,NAME]")
    return gpus(names) if key == "count" else [f"{GPUS}={name}" for name in names.strip('"').split(",")]


def rule(text: str) -> str:
    """A rule as the cgroup has it, ``c 1:3 rwm``."""
    words = text.split()
    numbers = words[1].split(":") if len(words) == 3 else []
    if len(numbers) != 2 or words[0] not in ("a", "b", "c") or not _ACCESS.issuperset(words[2]) or not all(
            part == "*" or part.isdecimal() for part in numbers):
        raise wrong("device-cgroup-rule", text, 'write "c MAJOR:MINOR rwm", b for block devices, * for any number')
    return " ".join(words)


# --- config.json ------------------------------------------------------------------------------------------------------


def apply(settings: Settings, document: dict[str, Any]) -> None:
    """Put the devices, and the right to use them, into config.json."""
    linux = document["linux"]
    rules: list[dict[str, Any]] = linux["resources"].setdefault("devices", [])
    nodes: dict[str, dict[str, Any]] = {}
    if settings.privileged:
        rules.append({"allow": True, "access": "rwm"})
        for path in all_below("/dev"):
            nodes[path] = node(path, path)
    for text in settings.devices:
        if is_cdi(text):
            from pyruntime.pocker.cdi import inject

            inject(text, document)
            continue
        host, path, access = split(text)
        for found, place in named(host, path):
            nodes[place] = node(found, place)
            rules.append(allowance(nodes[place], access))
    for text in settings.device_rules:
        kind, numbers, access = text.split()
        entry: dict[str, Any] = {"allow": True, "type": kind, "access": access}
        for name, number in zip(("major", "minor"), numbers.split(":"), strict=True):
            if number != "*":
                entry[name] = whole("device-cgroup-rule", number, 0, (1 << 32) - 1)
        rules.append(entry)
    if nodes:
        linux["devices"] = [*linux.get("devices", []), *nodes.values()]
