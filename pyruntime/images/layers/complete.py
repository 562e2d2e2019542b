"""Completes an extracted layer with what it takes from the layers below it.

* Directories without an entry, which only contain others: overlayfs shows the topmost directory's attributes, so they
  get those of the directory below, or a private directory would become public (layer.md does not mention them).
* Hard links to files of lower layers: the file is copied up, also at its own path, and linked.
* An opaque root, which overlayfs ignores: a whiteout for everything below.
* Whiteouts that hide nothing are removed: in a directory of one layer alone, overlayfs's readdir shows them.

Afterwards the directory is valid only on top of these layers: its key must be their ChainID.
"""

from __future__ import annotations

import os
from stat import S_ISCHR, S_ISDIR, S_ISLNK

from pyruntime.errors import LayerError
from pyruntime.images.layers import xattrs
from pyruntime.images.layers.copying import Copier
from pyruntime.images.layers.options import Extracted, ExtractOptions, system_error
from pyruntime.images.layers.pax import shown
from pyruntime.images.layers.tree import open_beneath

_MAX_LINKS = 40   # symbolic links in one path (path_resolution(7))


def is_whiteout(found: os.stat_result) -> bool:
    """Whether this is overlayfs's whiteout."""
    return S_ISCHR(found.st_mode) and found.st_rdev == 0


def lstat(fd: int, path: bytes) -> os.stat_result | None:
    """The inode at a path, not following a link at its end; None if there is none."""
    try:
        return os.stat(path or b".", dir_fd=fd, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _above(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]


class Stack:
    """Layers in overlay form, the topmost first, as overlayfs would show them."""

    __slots__ = ("_merged", "fds")

    def __init__(self, fds: list[int]) -> None:
        self.fds = fds
        self._merged: dict[bytes, list[int]] = {b"": fds}

    def merged(self, path: bytes) -> list[int]:
        """The layers whose directories at this path are merged; none if the path is not a directory."""
        missing = []
        while path not in self._merged:
            missing.append(path)
            path = _above(path)
        for path in reversed(missing):
            found: list[int] = []
            for fd in self._merged[_above(path)]:
                node = lstat(fd, path)
                if node is None:
                    continue
                if not S_ISDIR(node.st_mode):
                    break
                found.append(fd)
                directory = open_beneath(fd, path)
                try:
                    if xattrs.is_opaque(directory):
                        break
                finally:
                    os.close(directory)
            self._merged[path] = found
        return self._merged[path]

    def raw(self, path: bytes) -> os.stat_result | None:
        """The topmost inode at this path, which may be a whiteout."""
        for fd in self.merged(_above(path)) if path else self.fds:
            found = lstat(fd, path)
            if found is not None:
                return found
        return None

    def node(self, path: bytes) -> tuple[int, os.stat_result] | None:
        """The layer with the visible inode at this path, and the inode."""
        for fd in self.merged(_above(path)) if path else self.fds:
            found = lstat(fd, path)
            if found is not None:
                return None if is_whiteout(found) else (fd, found)
        return None

    def resolve(self, path: bytes) -> bytes | None:
        """The path with the symbolic links before its end followed, within the root; None if it does not exist."""
        here = b""
        todo = path.split(b"/")[::-1]
        links = 0
        while todo:
            name = todo.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                here = _above(here)
                continue
            step = here + b"/" + name if here else name
            found = self.node(step) if todo else None
            if todo and found is None:
                return None
            if found is not None and S_ISLNK(found[1].st_mode):
                links += 1
                target = os.readlink(step, dir_fd=found[0])
                if links > _MAX_LINKS:
                    return None
                here = b"" if target[:1] == b"/" else here
                todo += target.split(b"/")[::-1]
                continue
            here = step
        return here


def complete(directory_fd: int, extracted: Extracted, lowers: list[int], options: ExtractOptions | None = None) -> None:
    """Complete an extracted layer for its place on top of ``lowers``: descriptors of extracted layers, the topmost
    first.

    Raises LayerError for a hard link whose target does not exist.
    """
    if extracted.alone:
        return
    work = _Completion(directory_fd, extracted, lowers, options or ExtractOptions())
    try:
        if extracted.hides_all:
            work.hide_all()
        for work.here, target in extracted.lower_links:
            work.link(work.here, target)
        for work.here in extracted.whiteouts:
            work.reveal(work.here)
        work.inherit()
    except OSError as error:
        raise system_error(error, work.here) from None
    finally:
        work.options.notes_done()


class _Completion:
    def __init__(self, directory_fd: int, extracted: Extracted, lowers: list[int], options: ExtractOptions) -> None:
        self.fd = directory_fd
        self.here = b"/"                        # the current path, for messages
        self.extracted = extracted
        self.options = options
        self.lowers = Stack(lowers)
        self.all = Stack([directory_fd, *lowers])
        self.own = Stack([directory_fd])        # as extracted, without the directories created here
        self.implicit = set(extracted.implicit)
        self.copies: dict[bytes, bytes] = {}    # path in lower layers -> path of the copy
        self.times: dict[bytes, int] = {}       # of this layer's changed directories
        self.copier = Copier(lambda name, key, words: options.note(
            "extended attributes that cannot be set", f'"{shown(name)}": attribute "{shown(key)}" skipped: {words}'))

    def hide_all(self) -> None:
        """Create whiteouts for everything below an opaque root."""
        self.touch(b"")
        for name in {os.fsencode(name) for fd in self.lowers.fds for name in os.listdir(fd)}:
            found = self.lowers.node(name)
            mine = lstat(self.fd, name)
            if found is None:
                continue
            if mine is None:
                os.mknod(name, 0o20000, os.makedev(0, 0), dir_fd=self.fd)
            elif S_ISDIR(mine.st_mode) and S_ISDIR(found[1].st_mode):
                directory = open_beneath(self.fd, name)
                try:
                    os.setxattr(directory, self.options.opaque, b"y")
                finally:
                    os.close(directory)
        self.implicit &= {b""}   # nothing to inherit from remains

    def reveal(self, path: bytes) -> None:
        """Remove a whiteout that hides nothing, unless it has been replaced."""
        found = self.own.raw(path)
        if found is None or not is_whiteout(found) or self._seen_below(path) is not None:
            return
        self.touch(_above(path))
        directory = open_beneath(self.fd, _above(path))
        try:
            os.unlink(path.rpartition(b"/")[2], dir_fd=directory)
        finally:
            os.close(directory)

    def touch(self, path: bytes) -> None:
        """Save a directory's time before it changes."""
        found = lstat(self.fd, path)
        if path not in self.times and found is not None:
            self.times[path] = found.st_mtime_ns

    def link(self, path: bytes, target: bytes) -> None:
        """Create a hard link to a file of the layers below, or to a later entry of this layer."""
        real = self.lowers.resolve(target)
        found = self.lowers.node(real) if real else None
        if real is None or found is None:
            real, found = target, self.own.node(target)   # symbolic links of this layer are not followed
            if found is None or b".." in target.split(b"/"):
                raise LayerError(f'"{shown(path)}": a hard link to "{shown(target)}", which is in no layer',
                                 shown(path))
            self.copies[real] = real
        if S_ISDIR(found[1].st_mode):
            raise LayerError(f'"{shown(path)}": a hard link to the directory "{shown(target)}"', shown(path))
        self.touch(_above(path))
        if real not in self.copies:
            self.copies[real] = self.copy_up(path, real, found)
        if self.copies[real] != path:
            self._between(self.copies[real], path)

    def copy_up(self, path: bytes, real: bytes, found: tuple[int, os.stat_result]) -> bytes:
        """Copy a lower file to its own path, or to the link's if that is hidden; the path of the copy."""
        seen = self.all.node(real)
        place = real if seen is not None and seen[0] == found[0] else path
        self._make_parents(place)
        source, target = open_beneath(found[0], _above(real)), open_beneath(self.fd, _above(place))
        try:
            self.copier.copy(source, real.rpartition(b"/")[2], found[1], target, place.rpartition(b"/")[2])
        finally:
            os.close(source)
            os.close(target)
        return place

    def _make_parents(self, path: bytes) -> None:
        missing = []
        above = _above(path)
        while lstat(self.fd, above) is None:
            missing.append(above)
            above = _above(above)
        self.touch(above)
        for directory in reversed(missing):
            os.mkdir(directory, 0o700, dir_fd=self.fd)
            self.implicit.add(directory)

    def _between(self, old: bytes, new: bytes) -> None:
        source, target = open_beneath(self.fd, _above(old)), open_beneath(self.fd, _above(new))
        try:
            os.link(old.rpartition(b"/")[2], new.rpartition(b"/")[2], src_dir_fd=source, dst_dir_fd=target,
                    follow_symlinks=False)
        finally:
            os.close(source)
            os.close(target)

    def inherit(self) -> None:
        """Give directories without an entry the attributes of those below, and the others their times back."""
        for path in sorted(self.implicit | self.times.keys(), reverse=True):   # the deepest first: needed without root
            self.here = path or b"/"
            directory = open_beneath(self.fd, path)
            try:
                covered = self._covered(path) if path in self.implicit else None
                if covered is not None:
                    lower = open_beneath(covered[0], path)
                    try:
                        self.copier.dress(lower, directory, covered[1], path)
                    finally:
                        os.close(lower)
                elif path in self.times:
                    os.utime(directory, ns=(self.times[path], self.times[path]))
            finally:
                os.close(directory)

    def _covered(self, path: bytes) -> tuple[int, os.stat_result] | None:
        """The lower directory of a directory without an entry."""
        found = self._seen_below(path)
        return found if found is not None and S_ISDIR(found[1].st_mode) else None

    def _seen_below(self, path: bytes) -> tuple[int, os.stat_result] | None:
        """What would be visible at a path without this layer's inode; None if this layer hides the parent."""
        for fd in self.all.merged(_above(path)) if path else self.all.fds:
            found = lstat(fd, path) if fd != self.fd else None
            if found is not None:
                return None if is_whiteout(found) else (fd, found)
        return None
