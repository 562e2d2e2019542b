"""Device nodes of the host, as linux.devices and the cgroup have them."""

from __future__ import annotations

import os
import stat

from pyruntime.errors import HostError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_OWN = {"pts", "shm", "fd", "mqueue", "console", "ptmx", "stdin", "stdout", "stderr", ".lxc", ".lxd-mounts", ".udev"}


def allowance(node: dict[str, Any], access: str) -> dict[str, Any]:
    """The rule that allows a device."""
    return {"allow": True, "type": "b" if node["type"] == "b" else "c", "major": node["major"],
            "minor": node["minor"], "access": access}


def node_of(host: str, path: str) -> dict[str, Any] | None:
    """An entry of linux.devices for a device of the host; None if the path is not a device. Symbolic links are
    followed. Raises OSError."""
    found = os.stat(host)
    if not (stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)):
        return None
    return {"path": path, "type": "b" if stat.S_ISBLK(found.st_mode) else "c", "major": os.major(found.st_rdev),
            "minor": os.minor(found.st_rdev), "fileMode": stat.S_IMODE(found.st_mode), "uid": found.st_uid,
            "gid": found.st_gid}


def node(host: str, path: str) -> dict[str, Any]:
    """The node of a device of the host. Raises HostError for a path that cannot be read, UsageError
    for one that is not a device."""
    try:
        found = node_of(host, path)
    except OSError as error:
        raise HostError(f'device "{host}": {error.strerror}') from None
    if found is None:
        raise UsageError(f'device "{host}": not a device: name a device, or a directory of devices')
    return found


def named(host: str, path: str) -> Iterator[tuple[str, str]]:
    """The device of a path, or all devices below a directory, each with its path in the container."""
    if not os.path.isdir(host):
        yield host, path
        return
    found = False
    for place in all_below(host):
        found = True
        yield place, path.rstrip("/") + place[len(host.rstrip("/")):]
    if not found:
        raise UsageError(f'device "{host}": the directory contains no devices')


def all_below(top: str) -> Iterator[str]:
    """The devices in a directory and below, without symbolic links and without those that every container has."""
    with os.scandir(top) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            if top == "/dev" and entry.name in _OWN:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from all_below(entry.path)
            elif not entry.is_symlink():
                mode = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
                    yield entry.path
