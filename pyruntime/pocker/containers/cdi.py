"""The Container Device Interface: files of vendors that describe what a container needs for a device.

Spec: github.com/cncf-tags/container-device-interface, SPEC.md 1.0.0. Files are *.json, *.yaml and *.yml in /etc/cdi and
/var/run/cdi; a device of the latter overrides one of the former.
"""

from __future__ import annotations

import os

from pyruntime.errors import HostError, UsageError
from pyruntime.pocker.containers.device_nodes import allowance, node_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DIRECTORIES = ("/etc/cdi", "/var/run/cdi")   # later ones override earlier ones
_HOOKS = {"prestart": "prestart", "createRuntime": "createRuntime", "createContainer": "createContainer",
          "startContainer": "startContainer", "poststart": "poststart", "poststop": "poststop"}


def directories() -> list[str]:
    """The directories of specifications; POCKER_CDI overrides them, separated by colons."""
    named = os.environ.get("POCKER_CDI", "")
    return named.split(":") if named else list(DIRECTORIES)


def inject(name: str, document: dict[str, Any]) -> None:
    """Put a device, VENDOR/CLASS=NAME, into config.json: the edits of the device's file, then its own.

    Raises UsageError for a device that no file declares, or two files of one directory; HostError for an invalid
    file.
    """
    kind, _, device = name.partition("=")
    for top in reversed(directories()):
        found = [(path, spec, entry) for path, spec in _specs(top) if spec.get("kind") == kind
                 for entry in spec.get("devices", []) if entry.get("name") == device]
        if len(found) > 1:
            raise UsageError(f'device "{name}": both "{found[0][0]}" and "{found[1][0]}" declare it')
        if found:
            path, spec, entry = found[0]
            try:
                for edits in (spec.get("containerEdits") or {}, entry.get("containerEdits") or {}):
                    _edit(edits, document)
            except (KeyError, TypeError, AttributeError) as error:
                raise HostError(f'"{path}": not a valid CDI specification: {error}') from None
            return
    raise UsageError(f'device "{name}": no file *.json, *.yaml or *.yml in {" or ".join(directories())} declares it')


def _names(top: str) -> list[str]:
    try:
        return sorted(os.listdir(top))
    except OSError:
        return []   # most hosts have none


def _specs(top: str) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for name in _names(top):
        if name.endswith((".json", ".yaml", ".yml")):
            path = f"{top}/{name}"
            try:
                with open(path, "rb") as file:
                    data = file.read(16 << 20)
            except OSError as error:
                raise HostError(f'"{path}": {error.strerror}') from None
            value = _decoded(data, path)
            if isinstance(value, dict):
                found.append((path, value))
    return found


def _decoded(data: bytes, path: str) -> object:
    if path.endswith(".json"):
        from pyruntime.system.json import decode  # lazy: only for a file

        return decode(data, path)
    import yaml  # lazy: only for YAML, which needs a package

    try:
        return yaml.load(data, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise HostError(f'"{path}": {" ".join(str(error).split())}') from None


def _edit(edits: dict[str, Any], document: dict[str, Any]) -> None:
    process, linux = document["process"], document["linux"]
    for text in edits.get("env") or []:
        name = text.partition("=")[0]
        process["env"] = [entry for entry in process["env"] if entry.partition("=")[0] != name] + [text]
    for entry in edits.get("deviceNodes") or []:
        node = _node(entry)
        linux["devices"] = [one for one in linux.get("devices", []) if one["path"] != node["path"]] + [node]
        if node["type"] != "p":
            linux["resources"].setdefault("devices", []).append(allowance(node, entry.get("permissions") or "rwm"))
    for entry in edits.get("mounts") or []:
        options = entry.get("options") or ["rbind", "nosuid", "nodev", "ro"]
        document["mounts"].append({"destination": entry["containerPath"], "type": entry.get("type") or "bind",
                                   "source": entry["hostPath"],
                                   "options": options if {"bind", "rbind"} & set(options) or entry.get("type")
                                   else ["rbind", *options]})
    for entry in edits.get("hooks") or []:
        hook = {key: entry[key] for key in ("path", "args", "env", "timeout") if entry.get(key)}
        document.setdefault("hooks", {}).setdefault(_HOOKS[entry["hookName"]], []).append(hook)
    groups = [group for group in edits.get("additionalGids") or [] if group]
    if groups:
        there = process["user"].get("additionalGids", [])
        process["user"]["additionalGids"] = [*there, *(group for group in groups if group not in there)]
    if edits.get("intelRdt"):
        linux["intelRdt"] = edits["intelRdt"]
    for entry in edits.get("netDevices") or []:
        linux.setdefault("netDevices", {})[entry["hostInterfaceName"]] = {"name": entry["name"]}


def _node(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of linux.devices; members that the file leaves out are those of the host's device."""
    host = entry.get("hostPath") or entry["path"]
    node: dict[str, Any] = {"path": entry["path"]}
    if not entry.get("type") or entry.get("major") is None:
        try:
            node |= node_of(host, entry["path"]) or {}
        except OSError as error:
            raise HostError(f'the device "{host}" of the Container Device Interface: {error.strerror}') from None
    node |= {key: entry[key] for key in ("type", "major", "minor", "fileMode", "uid", "gid")
             if entry.get(key) is not None}
    if "type" not in node:
        raise HostError(f'"{host}" of the Container Device Interface is not a device')
    return node
