"""The namespaces of a container in config.json: its own, the host's, or another container's.

``ipc``, ``pid``, ``uts``, ``cgroupns`` and ``userns`` of the settings, and the first network. "" is the default: all
are the container's own, except for the user namespace, and the cgroup namespace on hosts with cgroup v1.
"""

from __future__ import annotations

import os

from pyruntime.errors import HostError, StateError
from pyruntime.pocker.containers.container import find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.containers.container import Container, ContainerRecord
    from pyruntime.pocker.settings import IdMaps

_FILES = {"ipc": "ipc", "pid": "pid", "uts": "uts", "network": "net"}   # below /proc/PID/ns
SHARED = "container:"


def apply(container: Container, record: ContainerRecord, document: dict[str, Any]) -> None:
    """Put the namespaces into config.json. Raises NoSuchContainer, StateError for another container's."""
    settings, linux = record.settings, document["linux"]
    first = settings.networks[0].name if settings.networks else ""
    wanted = {"ipc": settings.ipc, "pid": settings.pid, "uts": settings.uts,
              "network": first if first == "host" or first.startswith(SHARED) else "", "cgroup": settings.cgroupns}
    result = []
    kinds = [entry["type"] for entry in linux["namespaces"]]
    for kind in [*kinds, *(["cgroup"] if settings.cgroupns == "private" and "cgroup" not in kinds else [])]:
        text = wanted.get(kind, "")
        if text.startswith(SHARED):
            other = _other(container, text, kind)
            result.append({"type": kind, "path": f"/proc/{other}/ns/{_FILES[kind]}"})
        elif text != "host":
            result.append({"type": kind})
    linux["namespaces"] = result
    own = {entry["type"] for entry in result if "path" not in entry}
    if "uts" not in own:
        document.pop("hostname", None)
        document.pop("domainname", None)
    elif first == "host" and not settings.hostname:
        document["hostname"] = os.uname().nodename
    elif first.startswith(SHARED):
        other_record = find(container.places, first.removeprefix(SHARED)).read()
        document["hostname"] = other_record.settings.hostname or other_record.id[:12]
    if settings.ids:
        _user(document, settings.ids, own)
    if settings.ipc == "host":
        _replace(document, "/dev/shm", "/dev/shm")
    elif settings.ipc.startswith(SHARED):
        _replace(document, "/dev/shm", f"{container.directory}/mounts/shm")
    elif settings.ipc == "none":
        document["mounts"] = [mount for mount in document["mounts"] if mount["destination"] != "/dev/shm"]


def _user(document: dict[str, Any], ids: IdMaps, own: set[str]) -> None:
    linux = document["linux"]
    linux["namespaces"].append({"type": "user"})
    for name, lines in (("uidMappings", ids.uids), ("gidMappings", ids.gids)):
        linux[name] = [dict(zip(("containerID", "hostID", "size"), map(int, line.split()), strict=True))
                       for line in lines]
    if "network" not in own:   # sysfs shows a network namespace, and only the owner of that may mount it
        for mount in document["mounts"]:
            if mount["destination"] == "/sys":
                mount.update(type="bind", source="/sys", options=["rbind", "nosuid", "noexec", "nodev", "ro"])


def _replace(document: dict[str, Any], place: str, source: str) -> None:
    for mount in document["mounts"]:
        if mount["destination"] == place and mount["type"] in ("tmpfs", "mqueue"):
            mount.update(type="bind", source=source, options=["rbind", "nosuid", "noexec", "nodev"])


def _other(container: Container, text: str, kind: str) -> int:
    """The process ID of the init process of the container that ``container:NAME`` names. Raises StateError."""
    from pyruntime.pocker.containers.status import status_of  # lazy: only with namespaces of another container

    other = find(container.places, text.removeprefix(SHARED))
    if other.id == container.id:
        raise StateError(f"a container cannot share its own {kind} namespace")
    if kind == "ipc" and other.read().settings.ipc not in ("shareable", "host"):
        raise StateError(f'container "{other.read().name}" does not share its IPC namespace: create it with ipc'
                         " shareable")
    status = status_of(other)
    if not status.pid:
        raise StateError(f'container "{other.read().name}" is not running: it has no {kind} namespace to share')
    return status.pid


def provide(container: Container, record: ContainerRecord) -> None:
    """Mount the other container's /dev/shm, which belongs to its IPC namespace. Called in a mount namespace that only
    the container's monitor has. Raises HostError."""
    # lazy: only with volumes
    from pyruntime.pocker import volumes
    from pyruntime.pocker.containers import mounts

    pid = _other(container, record.settings.ipc, "ipc")
    try:
        mounts.attach(container, "shm", volumes.tree_of(pid, "/dev/shm"))
    except OSError as error:
        raise HostError(f'cannot share /dev/shm of "{record.settings.ipc}": {error.strerror}') from None
