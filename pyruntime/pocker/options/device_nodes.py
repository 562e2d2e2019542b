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
    """The rule that lets a device be used."""
    return {"allow": True, "type": "b" if node["type"] == "b" else "c", "major": node["major"],
            "minor": node["minor"], "access": access}


def node_of(host: str, path: str) -> dict[str, Any] | None:
    """One of linux.devices like the host's; None for what is no device. Symbolic links are followed. OSError."""
    found = os.stat(host)
    if not (stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)):
        return None
    return {"path": path, "type": "b" if stat.S_ISBLK(found.st_mode) else "c", "major": os.major(found.st_rdev),
            "minor": os.minor(found.st_rdev), "fileMode": stat.S_IMODE(found.st_mode), "uid": found.st_uid,
            "gid": found.st_gid}


def node(host: str, path: str) -> dict[str, Any]:
    """The node of a device of the host. Raises HostError where it cannot be read, UsageError where it is no device."""
    try:
        found = node_of(host, path)
    except OSError as error:
        raise HostError(f'--device "{host}": {error.strerror}') from None
    if found is None:
        raise UsageError(f'--device "{host}": not a device: give a device, or a directory with some')
    return found


def named(host: str, path: str) -> Iterator[tuple[str, str]]:
    """The devices that a --device means, each with its place: itself, or all below a directory."""
    if not os.path.isdir(host):
        yield host, path
        return
    found = False
    for place in all_below(host):
        found = True
        yield place, path.rstrip("/") + place[len(host.rstrip("/")):]
    if not found:
        raise UsageError(f'--device "{host}": no device is in that directory')


def all_below(top: str) -> Iterator[str]:
    """The devices in a directory and those below it, without links and what containers have of their own."""
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
