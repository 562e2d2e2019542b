"""A read-only merged view of layers, as a descriptor of its root directory: a detached mount, which vanishes with the
process."""

from __future__ import annotations

import errno
import os

from pyruntime.errors import HostError
from pyruntime.images.store import trees
from pyruntime.images.store.mountings import EMPTY
from pyruntime.system import kernel
from pyruntime.system.locks import hold
from pyruntime.system.overlays import mount_by_descriptors, opened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.store.layers import Layers
    from pyruntime.images.store.store import Store

# RDONLY, NOSUID, NODEV: as mount attributes (linux/mount.h), and with the same numbers as flags of mount(2). Users who
# can reach the mount point must not be able to use the image's set-user-ID programs and device nodes.
_ATTRIBUTES = 1 | 2 | 4


def _settings(store: Store, directories: list[str]) -> list[tuple[str, str | None]]:
    """An overlay of these layers, the topmost first."""
    flags: list[tuple[str, str | None]] = [("userxattr", None)] if store.layout.overlay == "user." else []
    return [("source", "overlay"), *flags, *(("lowerdir+", path) for path in directories)]


def _detached(store: Store, directories: list[str]) -> int:
    """A detached mount of these layers, the topmost first. OSError."""
    try:
        return kernel.detached_filesystem("overlay", _settings(store, directories), _ATTRIBUTES)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    # Earlier kernels take all layers in one string of less than 256 bytes (fsconfig(2)).
    with opened(directories) as names:
        return kernel.detached_filesystem("overlay", [*_settings(store, []), ("lowerdir", names)], _ATTRIBUTES)


def attach(store: Store, layers: Layers, target: str) -> None:
    """Mount the merged view of layers read-only at ``target``. Raises HostError."""
    empty = store.layout.below("mounts", EMPTY)
    os.makedirs(empty, 0o755, exist_ok=True)
    # Overlayfs without an upper directory needs two.
    directories = layers.directories[::-1] + ([empty] if len(layers.directories) == 1 else [])
    try:
        try:
            kernel.mount_filesystem("overlay", target, _settings(store, directories), _ATTRIBUTES)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            mount_by_descriptors("overlay", target, directories, [
                name for name, _ in _settings(store, []) if name != "source"], _ATTRIBUTES)
    except OSError as error:
        raise HostError(f'cannot mount {len(layers.directories)} layers at "{target}": {error.strerror}') from None


class View:
    """The view; ``fd`` is its root directory. A context manager."""

    __slots__ = ("_copy", "_lock", "fd")

    def __init__(self, store: Store, layers: Layers) -> None:
        self._copy = ""
        self._lock = -1
        directories = layers.directories[::-1]
        if len(directories) == 1:   # overlayfs without an upper directory needs two
            self.fd = os.open(directories[0], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            return
        try:
            if not directories:
                raise OSError("no layers")
            mount = _detached(store, directories)
        except OSError:   # overlayfs is not available, or too many layers for an old kernel: use a copy
            self.fd = self._merged(store, layers)
            return
        try:
            self.fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount)
        finally:
            os.close(mount)

    def _merged(self, store: Store, layers: Layers) -> int:
        from pyruntime.images.snapshots.copy import CopyDriver  # lazy: only without overlayfs

        self._copy = store.layout.work()
        try:
            os.makedirs(f"{self._copy}/root", 0o700)
            self._lock = os.open(self._copy, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            hold(self._lock)   # the gc removes unlocked files
        except OSError as error:
            raise HostError(f'cannot make "{self._copy}": {error.strerror}') from None
        CopyDriver(store).prepare(layers, f"{self._copy}/root", f"{self._copy}/private")
        return os.open(f"{self._copy}/root", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> View:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
        if self._copy:
            trees.remove(self._copy)
            os.close(self._lock)
