"""Root filesystems as plain directories: all layers merged into one tree. Works on any filesystem, costs time and
space.

Content is shared with the layers if the filesystem supports reflinks: see pyruntime.images.layers.merge.
"""

from __future__ import annotations

import os

from pyruntime.errors import HostError
from pyruntime.images.snapshots.driver import Changes, Driver, copy_root, existing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.store.layers import Layers
    from pyruntime.images.store.store import Store


class CopyDriver(Driver):
    """The copy driver."""

    name = "copy"

    def usable(self, target: str) -> str:
        """The target must be writable."""
        place = existing(target)
        return "" if os.access(place, os.W_OK) else f'"{place}" cannot be written by user {os.geteuid()}'

    def prepare(self, layers: Layers, target: str, private: str, *, volatile: bool = False) -> None:
        """Merge all layers."""
        tree = self.tree(target, private)
        try:
            if tree != target:
                os.makedirs(private, 0o700, exist_ok=True)
                os.mkdir(tree, 0o755)
            merge_layers(self.store, layers.directories, tree)
            if layers.root:
                copy_root(layers.root, tree)
        except OSError as error:
            raise HostError(f'cannot make the root filesystem "{target}": {error.strerror}') from None
        self.map_ids(target, private)

    def changes(self, layers: Layers, target: str, private: str) -> Changes:
        """The tree, to be compared with the merged layers."""
        return Changes("tree", self.tree(target, private), layers.directories)


def merge_layers(store: Store, directories: list[str], target: str) -> None:
    """Merge layers, bottom first, onto the tree at ``target``."""
    from pyruntime.images.layers.merge import merge  # lazy: only when layers are merged
    from pyruntime.images.layers.options import ExtractOptions

    privileged = store.layout.overlay == "trusted."
    options = ExtractOptions(privileged=privileged, userxattr=not privileged)
    tree = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for path in directories:
            layer = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                merge(layer, tree, options)
            finally:
                os.close(layer)
    finally:
        os.close(tree)
