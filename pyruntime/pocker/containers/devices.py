"""Devices in config.json: those of the host, those of CDI, and all of them for privileged containers."""

from __future__ import annotations

from pyruntime.pocker.containers.device_nodes import all_below, allowance, named, node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.settings import ContainerSettings


def apply(settings: ContainerSettings, document: dict[str, Any]) -> None:
    """Put the devices, and the rules that allow them, into config.json. Raises HostError, UsageError."""
    linux = document["linux"]
    rules: list[dict[str, Any]] = linux["resources"].setdefault("devices", [])
    nodes: dict[str, dict[str, Any]] = {}
    if settings.privileged:
        rules.append({"allow": True, "access": "rwm"})
        for path in all_below("/dev"):
            nodes[path] = node(path, path)
    for device in settings.devices:
        if device.cdi:
            from pyruntime.pocker.containers.cdi import inject  # lazy: only with CDI devices

            inject(device.cdi, document)
            continue
        for found, place in named(device.path, device.target or device.path):
            nodes[place] = node(found, place)
            rules.append(allowance(nodes[place], device.access))
    for text in settings.device_rules:
        kind, numbers, access = text.split()
        entry: dict[str, Any] = {"allow": True, "type": kind, "access": access}
        for name, number in zip(("major", "minor"), numbers.split(":"), strict=True):
            if number != "*":
                entry[name] = int(number)
        rules.append(entry)
    if nodes:
        linux["devices"] = [*linux.get("devices", []), *nodes.values()]
