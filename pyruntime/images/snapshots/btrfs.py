"""Root filesystems as btrfs snapshots: STORE/subvolumes has a subvolume for each chain ID, merged once.

The subvolume of a chain starts as a snapshot of the one below, so images share their common layers. A root filesystem
is a writable snapshot of the topmost one. The store and the root filesystem must be on the same btrfs.
"""
# ruff: noqa: SIM105 -- contextlib would slow down the start of commands

from __future__ import annotations

import os

from pyruntime.errors import HostError
from pyruntime.images.snapshots import subvolumes
from pyruntime.images.snapshots.copy import merge_layers
from pyruntime.images.snapshots.driver import Changes, Driver, copy_root, existing
from pyruntime.images.store import trees
from pyruntime.images.store.layout import same
from pyruntime.system import kernel
from pyruntime.system.locks import hold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.store.layers import Layers


class BtrfsDriver(Driver):
    """The btrfs driver."""

    name = "btrfs"

    def usable(self, target: str) -> str:
        """The store and the target must be on the same btrfs."""
        here = subvolumes.filesystem(self.store.root)
        if not here:
            return f'the store "{self.store.root}" is not on btrfs'
        place = existing(target)
        return "" if subvolumes.filesystem(place) == here else f'"{place}" is not on the btrfs of the store'

    def prepare(self, layers: Layers, target: str, private: str, *, volatile: bool = False) -> None:
        """Merge the missing subvolumes, and take a snapshot."""
        tree = self.tree(target, private)
        try:
            if tree == target:
                os.rmdir(target)   # a snapshot makes its directory itself
            else:
                os.makedirs(private, 0o700, exist_ok=True)
            if layers.directories:
                self._snapshot(layers, tree)
            else:
                subvolumes.create(tree)
        except OSError as error:
            raise HostError(f'cannot make the root filesystem "{target}": {error.strerror}') from None
        self.map_ids(target, private)

    def _snapshot(self, layers: Layers, tree: str) -> None:
        with self.store.lease() as lease:
            lease.add(*(_name(chain) for chain in layers.chain_ids))
            for index in range(len(layers.directories)):
                self._merge(layers, index)
            subvolumes.snapshot(self._path(layers.chain_ids[-1]), tree)
        copy_root(layers.root, tree)

    def _path(self, chain_id: str) -> str:
        return self.store.layout.below("subvolumes", _name(chain_id))

    def _merge(self, layers: Layers, index: int) -> None:
        """Create the subvolume of a chain, unless it exists. Processes that need the same one wait for its lock."""
        chain_id = layers.chain_ids[index]
        path = self._path(chain_id)
        directory = self.store.layout.below("work", f"{_name(chain_id)}.subvolume")
        while not os.path.exists(path):
            try:
                os.mkdir(directory, 0o700)
            except FileExistsError:
                pass   # another process works on it, or has
            try:
                fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                hold(fd)
                if same(fd, directory) and not os.path.exists(path):
                    trees.remove(f"{directory}/fs")   # left by a killed process
                    if index:
                        subvolumes.snapshot(self._path(layers.chain_ids[index - 1]), f"{directory}/fs")
                    else:
                        subvolumes.create(f"{directory}/fs")
                    merge_layers(self.store, [layers.directories[index]], f"{directory}/fs")
                    kernel.syncfs(fd)   # before the rename
                    os.rename(f"{directory}/fs", path)
                if same(fd, directory):
                    os.rmdir(directory)
            finally:
                os.close(fd)

    def changes(self, layers: Layers, target: str, private: str) -> Changes:
        """The tree, to be compared with the subvolume that it was a snapshot of."""
        base = self._path(layers.chain_ids[-1]) if layers.chain_ids else ""
        return Changes("tree", self.tree(target, private), layers.directories, base)


def _name(chain_id: str) -> str:
    return chain_id.partition(":")[2]
