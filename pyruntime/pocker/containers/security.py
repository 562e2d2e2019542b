"""The confinement of a container in config.json: seccomp, AppArmor, SELinux, masked paths; privileged containers."""

from __future__ import annotations

import os

from pyruntime.pocker.settings import SecurityOption

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.settings import ContainerSettings

_DEFAULT_LABEL = {"user": "system_u", "role": "system_r", "type": "container_t", "level": "s0"}


def apply(settings: ContainerSettings, document: dict[str, Any]) -> None:
    """Put the security options of the settings into config.json, which is complete without them."""
    process, linux = document["process"], document["linux"]
    if settings.privileged:
        linux["maskedPaths"], linux["readonlyPaths"] = [], []
        linux.pop("seccomp", None)
        _writable_system(document)
    for option in settings.security:
        name, value = option.name, option.value
        if name == "seccomp":
            linux.pop("seccomp", None)
            if value == "builtin":
                from pyruntime.profiles.seccomp import profile  # lazy: only with a profile of the settings

                linux["seccomp"] = profile(process["capabilities"]["bounding"])
            elif settings.seccomp is not None:
                from pyruntime.profiles.seccomp import of_document  # lazy: only with a profile of the settings

                linux["seccomp"] = of_document(dict(settings.seccomp), process["capabilities"]["bounding"])
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


def _label(settings: ContainerSettings, document: dict[str, Any]) -> None:
    """Set the SELinux label if the kernel has SELinux; without SELinux it has no effect, as with Docker."""
    labels = [SecurityOption.of(option.value) for option in settings.security if option.name == "label"]
    words = {label.name: label.value for label in labels}
    if not words or "disable" in words or not os.path.exists("/sys/fs/selinux/enforce"):
        return
    document["process"]["selinuxLabel"] = ":".join(words.get(name) or _DEFAULT_LABEL[name] for name in _DEFAULT_LABEL)
