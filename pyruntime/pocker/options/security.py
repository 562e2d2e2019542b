"""What a container may do: capabilities, --security-opt, --privileged."""

from __future__ import annotations

import os

from pyruntime.commandline.units import wrong
from pyruntime.errors import UsageError
from pyruntime.images.runtime_config import CAPABILITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.options.settings import Settings

# linux/capability.h, in the kernel's order.
ALL = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
    "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE")
_LABELS = ("user", "role", "type", "level")


def read(settings: Settings, given: dict[str, Any]) -> None:
    """What the flags say, into the settings. Raises UsageError."""
    settings.privileged = given.get("privileged", False)
    settings.cap_add = [capability("cap-add", word) for word in given.get("cap-add", [])]
    settings.cap_drop = [capability("cap-drop", word) for word in given.get("cap-drop", [])]
    settings.security = given.get("security-opt", [])
    for text in settings.security:
        _check(settings, text)


def capability(flag: str, word: str) -> str:
    """CAP_NAME of a name in any spelling, or ALL."""
    name = word.upper()
    if name == "ALL":
        return name
    name = name if name.startswith("CAP_") else f"CAP_{name}"
    if name not in ALL:
        raise wrong(flag, word, "there is no such capability: see capabilities(7), or write ALL")
    return name


def _split(text: str) -> tuple[str, str]:
    """Name and value; Docker has allowed a colon for long."""
    name, sign, value = text.partition("=")
    if not sign:
        name, _, value = text.partition(":")
    return name, value


def _check(settings: Settings, text: str) -> None:
    name, value = _split(text)
    if name == "seccomp":
        settings.seccomp = None if value in ("unconfined", "builtin") else _profile(text, value)
    elif name == "no-new-privileges":
        if value not in ("", "true", "false"):
            raise wrong("security-opt", text, "no-new-privileges is true or false")
    elif name == "systempaths":
        if value != "unconfined":
            raise wrong("security-opt", text, "write systempaths=unconfined")
    elif name in ("mask", "unmask"):
        if not value or not all(path.startswith("/") or path.upper() == "ALL" for path in value.split(":")):
            raise wrong("security-opt", text, f"write {name}=/PATH, several with colons between them")
    elif name == "label":
        if value != "disable" and _split(value)[0] not in _LABELS:
            raise wrong("security-opt", text, f"write label=disable, or label={':VALUE or label='.join(_LABELS)}:VALUE")
    elif name not in ("apparmor", "writable-cgroups") or not value:
        raise wrong("security-opt", text, "write seccomp=FILE|unconfined, apparmor=PROFILE|unconfined, label=...,"
                    " no-new-privileges, systempaths=unconfined, mask=/PATH, unmask=/PATH|ALL or writable-cgroups=true")


def _profile(text: str, path: str) -> dict[str, Any]:
    from pyruntime.system.json import decode

    try:
        with open(path, "rb") as file:
            data = file.read(16 << 20)
    except OSError as error:
        raise wrong("security-opt", text, f"{error.strerror}: give a file with a profile, or unconfined") from None
    document = decode(data, path)
    if not isinstance(document, dict) or "defaultAction" not in document:
        raise wrong("security-opt", text, "that is no profile: it has no defaultAction")
    return document


# --- config.json ------------------------------------------------------------------------------------------------------


def capabilities(settings: Settings) -> list[str]:
    """What the container has: Docker's fourteen, or all; less those that are dropped, and those that are added."""
    if settings.privileged:
        return known()
    if not settings.cap_add and not settings.cap_drop:
        return list(CAPABILITIES)
    have = set(known()) if "ALL" in settings.cap_add else set(CAPABILITIES)
    if "ALL" in settings.cap_drop:
        have = set(known()) if "ALL" in settings.cap_add else set()
    have -= set(settings.cap_drop)
    if missing := [name for name in settings.cap_add if name not in ("ALL", *known())]:
        raise UsageError(f"--cap-add: this kernel has no {', '.join(missing)}")
    return [name for name in ALL if name in have | set(settings.cap_add)]


def known() -> list[str]:
    """The capabilities that this kernel, and whoever started us, have to give."""
    with open("/proc/self/status", encoding="ascii") as file:
        bounding = next(int(line.split()[1], 16) for line in file if line.startswith("CapBnd:"))
    return [name for number, name in enumerate(ALL) if bounding >> number & 1]


def apply(settings: Settings, document: dict[str, Any]) -> None:
    """Put --security-opt and --privileged into config.json, which is complete without them."""
    process, linux = document["process"], document["linux"]
    if settings.privileged:
        linux["maskedPaths"], linux["readonlyPaths"] = [], []
        linux.pop("seccomp", None)
        _writable_system(document)
    for text in settings.security:
        name, value = _split(text)
        if name == "seccomp":
            linux.pop("seccomp", None)
            if value == "builtin":
                from pyruntime.profiles.seccomp import profile

                linux["seccomp"] = profile(process["capabilities"]["bounding"])
            elif settings.seccomp is not None:
                from pyruntime.profiles.seccomp import of_document

                linux["seccomp"] = of_document(settings.seccomp, process["capabilities"]["bounding"])
        elif name == "no-new-privileges":
            process["noNewPrivileges"] = value != "false"
        elif name == "systempaths":
            linux["maskedPaths"], linux["readonlyPaths"] = [], []
        elif name == "mask":
            linux["maskedPaths"] = [*linux["maskedPaths"], *value.split(":")]
        elif name == "unmask":
            paths = value.split(":")
            for kind in ("maskedPaths", "readonlyPaths"):
                linux[kind] = [] if value.upper() == "ALL" else [path for path in linux[kind] if path not in paths]
        elif name == "apparmor":
            if value != "unconfined":
                process["apparmorProfile"] = value
        elif name == "writable-cgroups" and value == "true":
            _writable(document, "/sys/fs/cgroup")
    _label(settings, document)


def _writable_system(document: dict[str, Any]) -> None:
    for path in ("/sys", "/sys/fs/cgroup"):
        _writable(document, path)


def _writable(document: dict[str, Any], path: str) -> None:
    for mount in document["mounts"]:
        if mount["destination"] == path and mount["type"] in ("sysfs", "cgroup", "cgroup2"):
            mount["options"] = [word for word in mount["options"] if word != "ro"]


def _label(settings: Settings, document: dict[str, Any]) -> None:
    """An SELinux label, where the kernel has SELinux: elsewhere it means nothing, as with Docker."""
    words = dict(_split(_split(text)[1]) for text in settings.security if _split(text)[0] == "label")
    if not words or "disable" in words or not os.path.exists("/sys/fs/selinux/enforce"):
        return
    defaults = {"user": "system_u", "role": "system_r", "type": "container_t", "level": "s0"}
    document["process"]["selinuxLabel"] = ":".join(words.get(name) or defaults[name] for name in _LABELS)
