"""What every kind of root filesystem can do; ``choose`` finds the one for a store and a place.

A driver makes a writable root filesystem at ``target``, a directory that exists and is empty, out of an image's
extracted layers. ``private`` is a directory beside it for what the driver needs to keep. Bundles and containers use
the same drivers: nothing here knows of either.
"""

from __future__ import annotations

import os

from pyruntime.errors import HostError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.snapshots.idmapped import Mapping
    from pyruntime.images.store.layers import Layers
    from pyruntime.images.store.store import Store


KINDS = {"overlay": "Overlay", "btrfs": "Btrfs", "copy": "Copy"}   # module beside this one -> class; the best first


class Changes:
    """Where to read what was written to a root filesystem.

    ``kind`` "upper": ``path`` is an overlay's upper directory, in overlay form; ``lowers`` are the layers below it.
    ``kind`` "tree":  ``path`` is the whole tree; it has to be compared with ``base``, the tree as it was, or, where
                      that is "", with what ``lowers`` merge to.
    """

    __slots__ = ("base", "kind", "lowers", "path")

    def __init__(self, kind: str, path: str, lowers: list[str], base: str = "") -> None:
        self.kind = kind
        self.path = path
        self.lowers = lowers
        self.base = base


class Driver:
    """A way to make root filesystems. Methods raise HostError."""

    name = ""
    mapping: Mapping | None = None   # of a user namespace whose root filesystem it is to be
    mounts = False   # whether it is seen in this mount namespace only, and gone after a reboot

    def __init__(self, store: Store) -> None:
        self.store = store

    def usable(self, target: str) -> str:
        """"" when it can make one at ``target`` (which may not exist yet), or the reason why not."""
        raise NotImplementedError

    def prepare(self, layers: Layers, target: str, private: str, *, volatile: bool = False) -> None:
        """Make the root filesystem, mounted where it has to be. The layers are under a lease.

        ``volatile``: what is written need not survive a power failure (builds).
        """
        raise NotImplementedError

    def mount(self, layers: Layers, target: str, private: str, *, volatile: bool = False) -> None:
        """Mount it again, after ``unmount`` or a reboot; nothing to do for what is no mount."""
        self.map_ids(target, private)

    def tree(self, target: str, private: str) -> str:
        """Where the files of what is no mount are. Those of a mapping are stored under ids of the host's own, and what
        is set-user-ID root in the container would be it here: they are behind ``private``, which nobody can enter,
        since those who are mapped have to pass through the directories above ``target``."""
        return f"{private}/tree" if self.mapping is not None else target

    def map_ids(self, target: str, private: str) -> None:
        """Where there is a mapping, mount the tree with it. The end of ``prepare`` of what is no mount."""
        if self.mapping is not None:
            from pyruntime.images.snapshots.idmapped import show

            show(self.mapping, self.tree(target, private), target)

    def unmount(self, target: str) -> None:
        """Undo ``mount``; nothing to do where it is not mounted."""
        from pyruntime.system import kernel

        try:
            kernel.umount2(target, kernel.MNT_DETACH | kernel.UMOUNT_NOFOLLOW)
        except OSError:
            return   # it is none: nothing was mapped

    def remove(self, target: str, private: str) -> None:
        """Remove the root filesystem with all that was written to it, and ``private``."""
        from pyruntime.images.store import trees

        self.unmount(target)
        try:
            for path in (target, private):
                trees.remove(path)
        except OSError as error:
            raise HostError(f'cannot remove the root filesystem "{target}": {error.strerror}') from None

    def changes(self, layers: Layers, target: str, private: str) -> Changes:
        """Where what was written can be read."""
        raise NotImplementedError


def choose(name: str, store: Store, target: str, *, lasting: bool = True) -> Driver:
    """The driver of this name, or for "" the best that is usable: overlay, btrfs where the store is on btrfs, copy.

    ``lasting``: the root filesystem is to be seen by others than this process and its children, so what a user
    namespace mounts for itself is no choice for "". Raises HostError with the reason for a driver that is named and
    cannot be used, UsageError for an unknown one.
    """
    from pyruntime.system.user_namespace import privileged

    if name:
        driver = named(name, store)
        if reason := driver.usable(target):
            raise HostError(f'the {name} driver cannot be used for "{target}": {reason}')
        return driver
    hidden = lasting and not privileged()
    reason = ""
    for kind in KINDS:
        driver = named(kind, store)
        if not (driver.mounts and hidden) and not (reason := driver.usable(target)):
            return driver
    raise HostError(f'no driver can be used for "{target}": {reason}')


def named(name: str, store: Store) -> Driver:
    """The driver of this name, for what it has made already. Raises UsageError for an unknown one."""
    if name not in KINDS:
        raise UsageError(f'no driver is called "{name}": use {", ".join(KINDS)}')
    # Only the module that is needed: a bundle is made in milliseconds.
    kind: type[Driver] = getattr(__import__(f"pyruntime.images.snapshots.{name}", fromlist=[KINDS[name]]), KINDS[name])
    return kind(store)


def existing(path: str) -> str:
    """The nearest directory above a path, or itself, that exists."""
    path = os.path.abspath(path)
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def copy_root(source: str, target: str) -> None:
    """Give a root directory the mode, owner, attributes and times of a layer's."""
    found = os.stat(source)
    os.chown(target, found.st_uid, found.st_gid)
    for name in os.listxattr(source):
        if not name.startswith(("trusted.overlay.", "user.overlay.", "security.selinux")):
            os.setxattr(target, name, os.getxattr(source, name))
    os.chmod(target, found.st_mode & 0o7777)
    os.utime(target, ns=(found.st_mtime_ns, found.st_mtime_ns))
