"""The storage drivers by name, and the best one for a store and a directory."""

from __future__ import annotations

from pyruntime.errors import HostError, UsageError
from pyruntime.system.user_namespace import privileged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.snapshots.driver import Driver
    from pyruntime.images.store.store import Store

DRIVERS = ("overlay", "btrfs", "copy")   # in order of preference


def choose(name: str, store: Store, target: str, *, lasting: bool = True) -> Driver:
    """The driver of this name, or for "" the best usable one: overlay, btrfs if the store is on btrfs, or copy.

    ``lasting``: processes other than this one and its children will use the root filesystem, so a driver whose mounts
    are visible only in this user namespace is no choice for "". Raises HostError, with the reason, if the named driver
    cannot be used; UsageError for an unknown name.
    """
    if name:
        driver = named(name, store)
        if reason := driver.usable(target):
            raise HostError(f'the {name} driver cannot be used for "{target}": {reason}')
        return driver
    hidden = lasting and not privileged()
    reason = ""
    for kind in DRIVERS:
        driver = named(kind, store)
        if not (driver.mounts and hidden) and not (reason := driver.usable(target)):
            return driver
    raise HostError(f'no driver can be used for "{target}": {reason}')


def named(name: str, store: Store) -> Driver:
    """The driver of this name, usable or not. Raises UsageError for an unknown name."""
    if name == "overlay":
        from pyruntime.images.snapshots.overlay import OverlayDriver  # lazy: one driver of three

        return OverlayDriver(store)
    if name == "btrfs":
        from pyruntime.images.snapshots.btrfs import BtrfsDriver  # lazy: one driver of three

        return BtrfsDriver(store)
    if name == "copy":
        from pyruntime.images.snapshots.copy import CopyDriver  # lazy: one driver of three

        return CopyDriver(store)
    raise UsageError(f'unknown storage driver "{name}": use {", ".join(DRIVERS)}')
