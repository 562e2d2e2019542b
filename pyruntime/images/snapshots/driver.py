"""The interface of all storage drivers; pyruntime.images.snapshots.choose finds the driver for a store and a directory.

A driver makes a writable root filesystem at ``target``, an existing empty directory, from an image's extracted layers.
``private`` is a directory beside it for the driver's own files. Bundles and containers use the same drivers, which know
neither.
"""

from __future__ import annotations

import os

from pyruntime.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.snapshots.idmapped import Mapping
    from pyruntime.images.store.layers import Layers
    from pyruntime.images.store.store import Store


class Changes:
    """Where to read the changes to a root filesystem.

    ``kind`` "upper": ``path`` is an overlay's upper directory, in overlay form; ``lowers`` are the layers below it.
    ``kind`` "tree":  ``path`` is the whole tree, to be compared with ``base``, the tree before the changes, or if that
                      is "", with the merged ``lowers``.
    """

    __slots__ = ("base", "kind", "lowers", "path")

    def __init__(self, kind: str, path: str, lowers: list[str], base: str = "") -> None:
        self.kind = kind
        self.path = path
        self.lowers = lowers
        self.base = base


class Driver:
    """A storage driver. Methods raise HostError."""

    name = ""
    mapping: Mapping | None = None   # of the user namespace that will use the root filesystem
    mounts = False   # whether the root filesystem is a mount: visible in this mount namespace only, gone after a reboot

    def __init__(self, store: Store) -> None:
        self.store = store

    def usable(self, target: str) -> str:
        """The reason why the driver cannot be used at ``target`` (which may not exist yet); "" if it can."""
        raise NotImplementedError

    def prepare(self, layers: Layers, target: str, private: str, *, volatile: bool = False) -> None:
        """Make the root filesystem and mount it, if the driver uses mounts. The caller holds a lease on the layers.

        ``volatile``: writes need not survive a power failure (builds).
        """
        raise NotImplementedError

    def mount(self, layers: Layers, target: str, private: str, *, volatile: bool = False) -> None:
        """Mount the root filesystem again, after ``unmount`` or a reboot."""
        self.map_ids(target, private)

    def tree(self, target: str, private: str) -> str:
        """The directory of a root filesystem that is not a mount. With a mapping, files are stored under the host's
        IDs, and a file that is set-user-ID root in the container would be so on the host: they are below ``private``,
        which only root can enter, because mapped users must be able to pass the directories above ``target``."""
        return f"{private}/tree" if self.mapping is not None else target

    def map_ids(self, target: str, private: str) -> None:
        """Mount the tree with the ID mapping, if there is one. Ends ``prepare`` of drivers without mounts."""
        if self.mapping is not None:
            from pyruntime.images.snapshots.idmapped import show  # lazy: only for some drivers

            show(self.mapping, self.tree(target, private), target)

    def unmount(self, target: str) -> None:
        """Undo ``mount``; no mount is not an error."""
        from pyruntime.system import kernel  # lazy: only for some drivers

        try:
            kernel.umount2(target, kernel.MNT_DETACH | kernel.UMOUNT_NOFOLLOW)
        except OSError:
            return   # not a mount: no IDs are mapped

    def remove(self, target: str, private: str) -> None:
        """Remove the root filesystem with its changes, and ``private``."""
        from pyruntime.images.store import trees  # lazy: only for some drivers

        self.unmount(target)
        try:
            for path in (target, private):
                trees.remove(path)
        except OSError as error:
            raise HostError(f'cannot remove the root filesystem "{target}": {error.strerror}') from None

    def changes(self, layers: Layers, target: str, private: str) -> Changes:
        """Where the changes can be read."""
        raise NotImplementedError


def existing(path: str) -> str:
    """The path itself, or its nearest parent directory that exists."""
    path = os.path.abspath(path)
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def copy_root(source: str, target: str) -> None:
    """Copy mode, owner, extended attributes and times of a layer's root directory."""
    found = os.stat(source)
    os.chown(target, found.st_uid, found.st_gid)
    for name in os.listxattr(source):
        if not name.startswith(("trusted.overlay.", "user.overlay.", "security.selinux")):
            os.setxattr(target, name, os.getxattr(source, name))
    os.chmod(target, found.st_mode & 0o7777)
    os.utime(target, ns=(found.st_mtime_ns, found.st_mtime_ns))
