"""The root filesystem of a task: the mounts that containerd's snapshotter asks for (api/types/mount.proto)."""

from __future__ import annotations

import os

from pyruntime.errors import HostError, words
from pyruntime.system import kernel, uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_PAGE = 4096   # mount(2) takes a page of data at most
# Options that are flags of mount(2): to set, and to clear.
_SET = {"ro": uapi.MS_RDONLY, "nosuid": uapi.MS_NOSUID, "nodev": uapi.MS_NODEV, "noexec": uapi.MS_NOEXEC,
        "sync": uapi.MS_SYNCHRONOUS, "dirsync": uapi.MS_DIRSYNC, "noatime": uapi.MS_NOATIME,
        "nodiratime": uapi.MS_NODIRATIME, "relatime": uapi.MS_RELATIME, "strictatime": uapi.MS_STRICTATIME,
        "bind": uapi.MS_BIND, "rbind": uapi.MS_BIND | uapi.MS_REC}
_CLEAR = {"rw": uapi.MS_RDONLY, "suid": uapi.MS_NOSUID, "dev": uapi.MS_NODEV, "exec": uapi.MS_NOEXEC,
          "async": uapi.MS_SYNCHRONOUS, "atime": uapi.MS_NOATIME, "diratime": uapi.MS_NODIRATIME,
          "norelatime": uapi.MS_RELATIME, "nostrictatime": uapi.MS_STRICTATIME, "defaults": 0}


def mount(rootfs: str, mounts: Sequence[dict[str, Any]]) -> None:
    """Mount in the order of the list onto ``rootfs`` (a target is below it). Raises HostError; nothing stays mounted.
    """
    if not mounts:
        return
    try:
        os.makedirs(rootfs, 0o711, exist_ok=True)
        for entry in mounts:
            _mount(entry, os.path.join(rootfs, entry["target"].lstrip("/")) if entry["target"] else rootfs)
    except OSError as error:
        unmount(rootfs)
        raise HostError(f'failed to mount rootfs component: {error.args[-1] if error.args else words(error)}') from None


def _mount(entry: dict[str, Any], target: str) -> None:
    flags, data = 0, []
    for option in entry["options"]:
        if option in _SET:
            flags |= _SET[option]
        elif option in _CLEAR:
            flags &= ~_CLEAR[option]
        elif option.startswith(("uidmap=", "gidmap=")):
            raise OSError(0, f'"{option}": id-mapped root filesystems are not supported')
        else:
            data.append(option)
    bind = flags & uapi.MS_BIND or entry["type"] in ("bind", "rbind")
    if bind:
        both = uapi.MS_BIND | uapi.MS_REC
        kernel.mount(entry["source"], target, "", uapi.MS_BIND | (flags & uapi.MS_REC), "")
        if flags & ~both:   # they apply to a remount only: mount(2)
            kernel.mount("", target, "", flags & ~uapi.MS_REC | uapi.MS_BIND | uapi.MS_REMOUNT, "")
        return
    text = ",".join(data)
    if len(os.fsencode(text)) < _PAGE:
        kernel.mount(entry["source"], target, entry["type"], flags, text)
        return
    settings: list[tuple[str, str | None]] = [("source", entry["source"])]
    for option in data:
        name, equals, value = option.partition("=")
        if name == "lowerdir":   # one by one (Linux 6.8): a setting is limited, too
            settings += [("lowerdir+", layer) for layer in value.split(":")]
        else:
            settings.append((name, value if equals else None))
    attributes = sum(attribute for flag, attribute in (
        (uapi.MS_RDONLY, uapi.MOUNT_ATTR_RDONLY), (uapi.MS_NOSUID, uapi.MOUNT_ATTR_NOSUID),
        (uapi.MS_NODEV, uapi.MOUNT_ATTR_NODEV), (uapi.MS_NOEXEC, uapi.MOUNT_ATTR_NOEXEC)) if flags & flag)
    kernel.mount_filesystem(entry["type"], target, settings, attributes)


def unmount(rootfs: str) -> None:
    """Unmount everything at ``rootfs``; nothing may be mounted there. A busy mount disappears when it is free."""
    while True:
        try:
            kernel.umount2(rootfs, kernel.MNT_DETACH | kernel.UMOUNT_NOFOLLOW)
        except OSError:   # EINVAL: no mount is left; ENOENT: there is no directory
            return
