"""btrfs subvolumes through ioctl(2), without btrfs-progs (linux/btrfs.h)."""

from __future__ import annotations

import fcntl
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_CREATE = 0x5000940E       # BTRFS_IOC_SUBVOL_CREATE: struct btrfs_ioctl_vol_args, fd and name[4088]
_DESTROY = 0x5000940F      # BTRFS_IOC_SNAP_DESTROY
_SNAPSHOT = 0x50009417     # BTRFS_IOC_SNAP_CREATE_V2: fd, transid, flags, 4 unused, name[4040]
_FS_INFO = 0x8400941F      # BTRFS_IOC_FS_INFO: max_id, num_devices, fsid[16], ...
_NAME_MAX = 255


def create(path: str) -> None:
    """Create an empty subvolume at ``path``. OSError: ENOTTY if the filesystem is not btrfs."""
    _with_parent(path, lambda fd, name: _ask(fd, _CREATE, struct.pack("=q4088s", 0, name)))


def snapshot(source: str, path: str) -> None:
    """Create a writable snapshot of the subvolume ``source`` at ``path``, which must not exist."""
    origin = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _with_parent(path, lambda fd, name: _ask(fd, _SNAPSHOT, struct.pack("=qQQ32x4040s", origin, 0, 0, name)))
    finally:
        os.close(origin)


def destroy(path: str) -> None:
    """Remove a subvolume with its content. OSError: EPERM for users without the mount option user_subvol_rm_allowed,
    and if ``path`` is not a subvolume."""
    _with_parent(path, lambda fd, name: _ask(fd, _DESTROY, struct.pack("=q4088s", 0, name)))


def filesystem(path: str) -> bytes:
    """The ID of the btrfs that holds a directory; b"" on other filesystems."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return fcntl.ioctl(fd, _FS_INFO, b"\0" * 1024)[16:32]
    except OSError:   # ENOTTY: another filesystem
        return b""
    finally:
        os.close(fd)


def _ask(fd: int, request: int, argument: bytes) -> None:
    fcntl.ioctl(fd, request, bytearray(argument))   # fcntl accepts more than 1024 bytes only in a writable buffer


def _with_parent(path: str, act: Callable[[int, bytes], object]) -> None:
    name = os.fsencode(os.path.basename(path))
    if not name or len(name) > _NAME_MAX:
        raise ValueError(f'"{path}" has no name for a subvolume')
    fd = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        act(fd, name)
    finally:
        os.close(fd)
