"""Flags to settings: capabilities, security options, privileged containers."""

from __future__ import annotations

from pyruntime.commandline.units import wrong
from pyruntime.pocker.settings import SecurityOption
from pyruntime.system.uapi import ALL_CAPABILITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.settings import ContainerSettings

LABELS = ("user", "role", "type", "level")   # parts of an SELinux label


def read(settings: ContainerSettings, given: dict[str, Any]) -> ContainerSettings:
    """The settings with those of the flags. Raises UsageError."""
    options = [(text, SecurityOption.of(text)) for text in given.get("security-opt", [])]
    seccomp = None
    for text, option in options:
        _check(text, option)
        if option.name == "seccomp":
            seccomp = None if option.value in ("unconfined", "builtin") else _profile(text, option.value)
    return settings.replace(
        privileged=given.get("privileged", False),
        cap_add=[capability("cap-add", word) for word in given.get("cap-add", [])],
        cap_drop=[capability("cap-drop", word) for word in given.get("cap-drop", [])],
        security=[option for _, option in options], seccomp=seccomp)


def capability(flag: str, word: str) -> str:
    """CAP_NAME of a name in any spelling, or ALL. Raises UsageError."""
    name = word.upper()
    if name == "ALL":
        return name
    name = name if name.startswith("CAP_") else f"CAP_{name}"
    if name not in ALL_CAPABILITIES:
        raise wrong(flag, word, "there is no such capability: see capabilities(7), or write ALL")
    return name


def _check(text: str, option: SecurityOption) -> None:
    name, value = option.name, option.value
    if name == "seccomp":
        return   # the file is read next
    if name == "no-new-privileges":
        if value not in ("", "true", "false"):
            raise wrong("security-opt", text, "no-new-privileges must be true or false")
    elif name == "systempaths":
        if value != "unconfined":
            raise wrong("security-opt", text, "write systempaths=unconfined")
    elif name in ("mask", "unmask"):
        if not value or not all(path.startswith("/") or path.upper() == "ALL" for path in value.split(":")):
            raise wrong("security-opt", text, f"write {name}=/PATH, several with colons between them")
    elif name == "label":
        if value != "disable" and SecurityOption.of(value).name not in LABELS:
            raise wrong("security-opt", text, f"write label=disable, or label={':VALUE or label='.join(LABELS)}:VALUE")
    elif name not in ("apparmor", "writable-cgroups") or not value:
        raise wrong("security-opt", text, "write seccomp=FILE|unconfined, apparmor=PROFILE|unconfined, label=...,"
                    " no-new-privileges, systempaths=unconfined, mask=/PATH, unmask=/PATH|ALL or writable-cgroups=true")


def _profile(text: str, path: str) -> dict[str, Any]:
    from pyruntime.system.json import decode  # lazy: only for a file

    try:
        with open(path, "rb") as file:
            data = file.read(16 << 20)
    except OSError as error:
        remedy = "name a file with a profile, or write unconfined"
        raise wrong("security-opt", text, f"{error.strerror}: {remedy}") from None
    document = decode(data, path)
    if not isinstance(document, dict) or "defaultAction" not in document:
        raise wrong("security-opt", text, "the file is not a seccomp profile: it has no defaultAction")
    return document
