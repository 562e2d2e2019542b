"""Merges an extracted layer onto a plain tree: for root filesystems that are copied or snapshotted, not mounted.

Merging all layers in order gives what overlayfs shows. The layer is trusted and in overlay form; the tree may hold
symbolic links of any layer, so no path with unknown components is given to the kernel: one directory of each side is
open at a time, reached without following links.

A file that replaces a file is a new file: the old one may be hard-linked or shared.
"""

from __future__ import annotations

import os
from stat import S_ISDIR

from pyruntime.images.layers import xattrs
from pyruntime.images.layers.complete import is_whiteout, lstat
from pyruntime.images.layers.copying import Copier
from pyruntime.images.layers.options import ExtractOptions
from pyruntime.images.layers.pax import shown
from pyruntime.images.layers.tree import open_beneath


def merge(layer_fd: int, target_fd: int, options: ExtractOptions | None = None) -> None:
    """Merge a layer in overlay form onto the tree below ``target_fd``, which no other process uses.

    Raises OSError: all errors are the host's at this point. The caller removes the tree.
    """
    options = options or ExtractOptions()
    merging = _Merge(layer_fd, target_fd, options)
    try:
        for path in merging.directories:   # grows during the loop
            merging.directory(path)
        for path in reversed(merging.directories):   # changes in a directory change its times
            merging.dress(path)
    finally:
        options.notes_done()


def remove(parent: int, name: bytes) -> None:
    """Remove a name and everything below it, without following links, to any depth; it may be missing."""
    try:
        os.unlink(name, dir_fd=parent)
        return
    except FileNotFoundError:
        return
    except IsADirectoryError:
        pass   # Linux's error for directories, which are handled below
    doomed = [name]
    for path in doomed:   # grows during the loop
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
    def __init__(self, layer_fd: int, target_fd: int, options: ExtractOptions) -> None:
        self.layer_fd = layer_fd
        self.target_fd = target_fd
        self.directories = [b""]
        self.links: dict[int, bytes] = {}   # inode in the layer -> its first path in the tree
        self.copier = Copier(lambda name, key, words: options.note(
            "extended attributes that cannot be set", f'"{shown(name)}": attribute "{shown(key)}" skipped: {words}'))

    def directory(self, path: bytes) -> None:
        """Merge the content of one directory; its subdirectories come later."""
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
        """Copy the attributes of a layer's directory to the tree's."""
        layer, target = open_beneath(self.layer_fd, path), open_beneath(self.target_fd, path)
        try:
            self.copier.dress(layer, target, os.fstat(layer), path)
        finally:
            os.close(layer)
            os.close(target)
