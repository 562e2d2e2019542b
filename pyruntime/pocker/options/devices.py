"""Flags to settings: devices of the host, CDI devices, GPUs, rules of the devices cgroup."""

from __future__ import annotations

import os

from pyruntime.commandline.units import wrong
from pyruntime.pocker.settings import DeviceRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.settings import ContainerSettings

_ACCESS = frozenset("rwm")
GPUS = "nvidia.com/gpu"


def read(settings: ContainerSettings, given: dict[str, Any]) -> ContainerSettings:
    """The settings with those of the flags. Raises UsageError."""
    devices = [device(text) for text in given.get("device", [])]
    if given.get("gpus"):
        devices += [DeviceRequest(cdi=name) for name in gpus(given["gpus"])]
    return settings.replace(devices=devices,
                            device_rules=[rule(text) for text in given.get("device-cgroup-rule", [])])


def device(text: str) -> DeviceRequest:
    """The device of ``HOST[:PATH][:rwm]``, or of a CDI name. Raises UsageError."""
    if is_cdi(text):
        return DeviceRequest(cdi=text)
    path, target, access = split(text)
    if not os.path.exists(path):
        raise wrong("device", text, f'"{path}" does not exist')
    return DeviceRequest(path=path, target="" if target == path else target, access=access)


def is_cdi(text: str) -> bool:
    """Whether the text is the name of a CDI device, VENDOR/CLASS=NAME (Container Device Interface)."""
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
    """The CDI names for all, a number, or device=NAME,NAME. Raises UsageError."""
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
    """A rule as the cgroup has it, ``c 1:3 rwm``. Raises UsageError."""
    words = text.split()
    numbers = words[1].split(":") if len(words) == 3 else []
    if len(numbers) != 2 or words[0] not in ("a", "b", "c") or not _ACCESS.issuperset(words[2]) or not all(
            part == "*" or (part.isdecimal() and int(part) < 1 << 32) for part in numbers):
        raise wrong("device-cgroup-rule", text, 'write "c MAJOR:MINOR rwm", b for block devices, * for any number')
    return " ".join(words)
