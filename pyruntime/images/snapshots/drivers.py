"""The storage drivers by their names, and the choice of one for a store and a place."""

from __future__ import annotations

from pyruntime.errors import HostError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.images.snapshots.driver import Driver
    from pyruntime.images.store.store import Store

# Only the module of the wanted driver is loaded: a bundle is made in milliseconds.


def _overlay(store: Store) -> Driver:
    from pyruntime.images.snapshots.overlay import Overlay
    return Overlay(store)


def _btrfs(store: Store) -> Driver:
    from pyruntime.images.snapshots.btrfs import Btrfs
    return Btrfs(store)


def _copy(store: Store) -> Driver:
    from pyruntime.images.snapshots.copy import Copy
    return Copy(store)


KINDS: dict[str, Callable[[Store], Driver]] = {"overlay": _overlay, "btrfs": _btrfs, "copy": _copy}   # the best first


def named(name: str, store: Store) -> Driver:
    """The driver of this name, for what it has made already. Raises UsageError for an unknown one."""
    if name not in KINDS:
        raise UsageError(f'no driver is called "{name}": use {", ".join(KINDS)}')
    return KINDS[name](store)


def choose(name: str, store: Store, target: str, *, lasting: bool = True) -> Driver:
    """The driver of this name, or for "" the best that is usable: overlay, btrfs where the store is on btrfs, copy.

    ``lasting``: the root filesystem is to be seen by others than this process and its children, so what a user
    namespace mounts for itself is no choice for "". Raises HostError with the reason for a driver that is named and
    cannot be used, UsageError for an unknown one.
    """
    from pyruntime.images import rootless

    if name:
        driver = named(name, store)
        if reason := driver.usable(target):
            raise HostError(f'the {name} driver cannot be used for "{target}": {reason}')
        return driver
    hidden = lasting and not rootless.privileged()
    reason = ""
    for kind in KINDS:
        driver = named(kind, store)
        if not (driver.mounts and hidden) and not (reason := driver.usable(target)):
            return driver
    raise HostError(f'no driver can be used for "{target}": {reason}')
