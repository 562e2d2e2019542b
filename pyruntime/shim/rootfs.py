"""The root filesystem of a task: the mounts that containerd's snapshotter asks for (api/types/mount.proto)."""

from __future__ import annotations

import os
from errno import EINVAL

from pyruntime.errors import HostError, words
from pyruntime.system import kernel, overlays, uapi

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
            _mount(entry, _below(rootfs, entry["target"]) if entry["target"] else rootfs)
    except OSError as error:
        unmount(rootfs)
        raise HostError(f'failed to mount rootfs component: {error.args[-1] if error.args else words(error)}') from None


def _below(rootfs: str, target: str) -> str:
    """The path of a target without symbolic links: those of an image, and "..", lead nowhere outside of ``rootfs``."""
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        there = kernel.openat2(os.fsencode(target), os.O_PATH, dir_fd=root,
                               resolve=kernel.RESOLVE_IN_ROOT | kernel.RESOLVE_NO_MAGICLINKS)
    except OSError as error:
        raise OSError(error.errno, f'target "{target}": {os.strerror(error.errno or 0).lower()}') from None
    finally:
        os.close(root)
    try:
        return os.readlink(f"/proc/self/fd/{there}")
    finally:
        os.close(there)


def _mount(entry: dict[str, Any], target: str) -> None:
    flags, data = 0, []
    maps: dict[str, list[str]] = {"uidmap": [], "gidmap": []}
    for option in entry["options"]:
        name, _, value = option.partition("=")
        if option in _SET:
            flags |= _SET[option]
        elif option in _CLEAR:
            flags &= ~_CLEAR[option]
        elif name in maps:   # CONTAINER:HOST:SIZE, more of them with commas
            maps[name] += [part.replace(":", " ") for part in value.split(",")]
        else:
            data.append(option)
    namespace = kernel.user_namespace(maps["uidmap"], maps["gidmap"]) if any(maps.values()) else -1
    try:
        if flags & uapi.MS_BIND or entry["type"] in ("bind", "rbind"):
            _bind(entry["source"], target, flags, namespace)
        else:
            _filesystem(entry, target, flags, data, namespace)
    finally:
        if namespace >= 0:
            os.close(namespace)


def _bind(source: str, target: str, flags: int, namespace: int) -> None:
    both = uapi.MS_BIND | uapi.MS_REC
    if namespace < 0:
        kernel.mount(source, target, "", uapi.MS_BIND | (flags & uapi.MS_REC), "")
    else:
        _bind_mapped(source, target, namespace, recursive=bool(flags & uapi.MS_REC))
    if flags & ~both:   # they apply to a remount only: mount(2)
        kernel.mount("", target, "", flags & ~uapi.MS_REC | uapi.MS_BIND | uapi.MS_REMOUNT, "")


def _bind_mapped(source: str, target: str, namespace: int, *, recursive: bool) -> None:
    tree = kernel.open_tree(source, clone=True, recursive=recursive)
    try:
        kernel.mount_idmap(tree, namespace, recursive=recursive)
        kernel.move_mount(tree, target)
    finally:
        os.close(tree)


def _filesystem(entry: dict[str, Any], target: str, flags: int, data: list[str], namespace: int) -> None:
    text = ",".join(data)
    if namespace < 0 and len(os.fsencode(text)) < _PAGE:
        kernel.mount(entry["source"], target, entry["type"], flags, text)
        return
    settings: list[tuple[str, str | None]] = [("source", entry["source"])]
    layers: list[str] = []
    for option in data:
        name, equals, value = option.partition("=")
        if name == "lowerdir":
            layers = value.split(":")
        else:
            settings.append((name, value if equals else None))
    attributes = sum(attribute for flag, attribute in (
        (uapi.MS_RDONLY, uapi.MOUNT_ATTR_RDONLY), (uapi.MS_NOSUID, uapi.MOUNT_ATTR_NOSUID),
        (uapi.MS_NODEV, uapi.MOUNT_ATTR_NODEV), (uapi.MS_NOEXEC, uapi.MOUNT_ATTR_NOEXEC)) if flags & flag)
    if namespace >= 0:
        layers = _map_layers(layers, target, namespace)
    try:
        # One by one (Linux 6.8): a setting is limited, too.
        made = kernel.detached_filesystem(entry["type"], [
            *settings[:1], *(("lowerdir+", layer) for layer in layers), *settings[1:]], attributes)
    except OSError as error:
        if error.errno != EINVAL or not layers:
            raise
        made = _by_descriptors(entry["source"], target, flags, layers, [
            option for option in data if not option.startswith("lowerdir=")])
    try:
        if namespace >= 0:
            kernel.umount2(target, kernel.MNT_DETACH | kernel.UMOUNT_NOFOLLOW)   # the overlay has its own
        kernel.move_mount(made, target)
    finally:
        os.close(made)


def _by_descriptors(source: str, target: str, flags: int, layers: list[str], options: list[str]) -> int:
    """The same detached overlay on an earlier kernel. It is mounted at ``target`` for a moment, where nothing of the
    root filesystem is yet; what is mounted there are its layers at most."""
    overlays.mount_by_descriptors(source, target, layers, options, flags)
    try:
        return kernel.open_tree(target, clone=True, recursive=False)
    finally:
        kernel.umount2(target, kernel.MNT_DETACH | kernel.UMOUNT_NOFOLLOW)


def _map_layers(layers: list[str], target: str, namespace: int) -> list[str]:
    """Mount the layers with their IDs mapped, below a tmpfs at ``target``: `unmount` finds them there. overlayfs takes
    no layers that are not mounted, and maps no IDs itself."""
    kernel.mount("tmpfs", target, "tmpfs", 0, "mode=700")
    places = [os.path.join(target, str(number)) for number in range(len(layers))]
    for layer, place in zip(layers, places, strict=True):
        os.mkdir(place)
        _bind_mapped(layer, place, namespace, recursive=False)
    return places


def unmount(rootfs: str) -> None:
    """Unmount everything at ``rootfs``; nothing may be mounted there. A busy mount disappears when it is free."""
    while True:
        try:
            kernel.umount2(rootfs, kernel.MNT_DETACH | kernel.UMOUNT_NOFOLLOW)
        except OSError:   # EINVAL: no mount is left; ENOENT: there is no directory
            return
