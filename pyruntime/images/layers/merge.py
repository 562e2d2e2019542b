"""An extracted layer onto a plain tree: for root filesystems that are copied or snapshotted instead of mounted.

Merging all layers in their order makes what overlayfs shows of the same layers. The layer is our own and in overlay
form; the tree may hold symbolic links of any layer, so no path in it is given to the kernel whose components are not
known to be directories: one directory of each side is open at a time, reached without following links.

A file over a file is a new file: the old one may have hard links, or be shared.
"""

from __future__ import annotations

import os
from stat import S_ISDIR

from pyruntime.images.layers import xattrs
from pyruntime.images.layers.complete import is_whiteout, lstat
from pyruntime.images.layers.copying import Copier
from pyruntime.images.layers.options import Options
from pyruntime.images.layers.pax import shown
from pyruntime.images.layers.tree import open_beneath


def merge(layer_fd: int, target_fd: int, options: Options | None = None) -> None:
    """Put a layer in overlay form onto the tree below ``target_fd``, which nobody else touches.

    Raises OSError: what is wrong now is wrong with this machine. Whoever called removes the tree.
    """
    options = options or Options()
    merging = _Merge(layer_fd, target_fd, options)
    try:
        for path in merging.directories:   # grows while it is walked
            merging.directory(path)
        for path in reversed(merging.directories):   # what stands in a directory changes its times
            merging.dress(path)
    finally:
        options.notes_done()


def remove(parent: int, name: bytes) -> None:
    """Remove a name with all below it, without following links, however deep; it may be missing."""
    try:
        os.unlink(name, dir_fd=parent)
        return
    except FileNotFoundError:
        return
    except IsADirectoryError:
        pass   # Linux says so of directories: the rest is for them
    doomed = [name]
    for path in doomed:   # grows while it is walked
        directory = open_beneath(parent, path)
        try:
            for text in os.listdir(directory):
                entry = os.fsencode(text)
                try:
                    os.unlink(entry, dir_fd=directory)
                except IsADirectoryError:
                    doomed.append(path + b"/" + entry)
        finally:
            os.close(directory)
    for path in reversed(doomed):
        above, _, last = path.rpartition(b"/")
        directory = open_beneath(parent, above)
        try:
            os.rmdir(last, dir_fd=directory)
        finally:
            os.close(directory)


class _Merge:
    def __init__(self, layer_fd: int, target_fd: int, options: Options) -> None:
        self.layer_fd = layer_fd
        self.target_fd = target_fd
        self.directories = [b""]
        self.links: dict[int, bytes] = {}   # inode in the layer -> its first path in the tree
        self.copier = Copier(lambda name, key, words: options.note(
            "extended attributes that cannot be set", f'"{shown(name)}": attribute "{shown(key)}" left out: {words}'))

    def directory(self, path: bytes) -> None:
        """Merge what stands in one directory; its own directories come later."""
        layer, target = open_beneath(self.layer_fd, path), open_beneath(self.target_fd, path)
        try:
            if path and xattrs.is_opaque(layer):
                for text in os.listdir(target):
                    remove(target, os.fsencode(text))
            for text in os.listdir(layer):
                name = os.fsencode(text)
                self._node(layer, target, name, path + b"/" + name if path else name)
        finally:
            os.close(layer)
            os.close(target)

    def _node(self, layer: int, target: int, name: bytes, path: bytes) -> None:
        found = os.stat(name, dir_fd=layer, follow_symlinks=False)
        if S_ISDIR(found.st_mode):
            old = lstat(target, name)
            if old is None or not S_ISDIR(old.st_mode):
                if old is not None:
                    os.unlink(name, dir_fd=target)
                os.mkdir(name, 0o700, dir_fd=target)
            self.directories.append(path)
            return
        if is_whiteout(found):
            remove(target, name)
            return
        first = self.links.get(found.st_ino) if found.st_nlink > 1 else None
        try:
            self._place(layer, target, name, found, first)
        except FileExistsError:
            remove(target, name)
            self._place(layer, target, name, found, first)
        if found.st_nlink > 1 and first is None:
            self.links[found.st_ino] = path

    def _place(self, layer: int, target: int, name: bytes, found: os.stat_result, first: bytes | None) -> None:
        if first is None:
            self.copier.copy(layer, name, found, target, name)
            return
        head, _, last = first.rpartition(b"/")
        directory = open_beneath(self.target_fd, head)
        try:
            os.link(last, name, src_dir_fd=directory, dst_dir_fd=target, follow_symlinks=False)
        finally:
            os.close(directory)

    def dress(self, path: bytes) -> None:
        """Give a directory of the tree what the layer's has."""
        layer, target = open_beneath(self.layer_fd, path), open_beneath(self.target_fd, path)
        try:
            self.copier.dress(layer, target, os.fstat(layer), path)
        finally:
            os.close(layer)
            os.close(target)
