"""Creates a layer's archive from changes (layer.md#creating).

diff        of two plain trees
diff_upper  of an overlayfs upper directory and the merged layers below it
changes     of either, the names alone

Both are one walk: a plain tree is an upper directory that is opaque from its root. Changes are collected first and
written afterwards, because a hard link must not point to a file outside the layer: if one name of a file has changed,
all its names are written.

In the archive a directory comes before its content, its whiteouts before everything else, names sorted as bytes. The
directories above a change are included, so that extraction knows their attributes. Whiteouts are explicit, never
opaque, and only for existing names. A file that was copied up unchanged is not a change.
"""

from __future__ import annotations

import os
from errno import ELOOP, ENOENT, ENOTDIR
from stat import S_IMODE, S_ISBLK, S_ISCHR, S_ISDIR, S_ISFIFO, S_ISLNK, S_ISREG, S_ISSOCK

from pyruntime.errors import LayerError
from pyruntime.images.layers import xattrs
from pyruntime.images.layers.complete import is_whiteout, lstat
from pyruntime.images.layers.names import WHITEOUT
from pyruntime.images.layers.pax import SECOND, shown
from pyruntime.images.layers.tar import BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, LINK, SYMLINK, TarEntry
from pyruntime.images.layers.tree import open_beneath, open_file
from pyruntime.images.layers.write import TarWriter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_TYPES = {S_ISREG: FILE, S_ISDIR: DIRECTORY, S_ISLNK: SYMLINK, S_ISCHR: CHARACTER, S_ISBLK: BLOCK, S_ISFIFO: FIFO}
_STEP = 256 << 10     # bytes compared at once
_DEPENDENT = ("redirect", "metacopy")   # attributes of an upper directory that refers to other files


class DiffOptions:
    """How a layer is created.

    ``trust_times``  of two plain trees: files of the same size, owner, mode and time (in ns) count as equal, unread
    ``subsecond``    write fractions of seconds
    ``latest``       later times become this time (SOURCE_DATE_EPOCH), in seconds; None: times are kept
    ``uid, gid``     from an ID on disk to the ID in the archive; None: IDs are kept
    ``skip``         paths that are ignored with everything below them, for example mount points; changed times of their
                     directories are then no change
    ``living``       other processes change the new tree: vanished files are skipped, truncated ones filled up with
                     zeros, as by GNU tar
    ``whole``        the archive is a whole tree, not a layer: names with a meaning in layers are ordinary names
    ``warn``         called for everything that is skipped
    ``newest``       set by the function: the latest time in the archive, in seconds; None without any
    """

    __slots__ = ("gid", "latest", "living", "newest", "skip", "subsecond", "trust_times", "uid", "warn",
                 "whole")

    def __init__(self, *, trust_times: bool = False, subsecond: bool = False, latest: int | None = None,
                 uid: Callable[[int], int] | None = None, gid: Callable[[int], int] | None = None,
                 skip: frozenset[bytes] = frozenset(), living: bool = False, whole: bool = False,
                 warn: Callable[[str], None] | None = None) -> None:
        self.trust_times = trust_times
        self.subsecond = subsecond
        self.latest = latest
        self.uid = uid
        self.gid = gid
        self.skip = skip
        self.living = living
        self.whole = whole
        self.warn = warn
        self.newest: int | None = None


def diff(old_fd: int, new_fd: int, write: Callable[[bytes], object], options: DiffOptions | None = None) -> int:
    """Write the layer that turns the tree at ``old_fd`` into that at ``new_fd``; the number of entries."""
    return _Diff(old_fd, new_fd, options or DiffOptions(), plain=True).write(write)


def diff_upper(upper_fd: int, lower_root_fd: int, write: Callable[[bytes], object],
               options: DiffOptions | None = None) -> int:
    """Write the layer of an overlayfs upper directory; ``lower_root_fd`` shows the merged lower layers. The number of
    entries.

    The overlay must have been mounted with redirect_dir=off and metacopy=off.
    """
    return _Diff(lower_root_fd, upper_fd, options or DiffOptions(), plain=False).write(write)


def changes(old_fd: int, new_fd: int, options: DiffOptions | None = None, *, upper: bool) -> list[tuple[str, bytes]]:
    """The changes: "A" (added), "C" (changed) or "D" (deleted) and the path, sorted by path.

    ``upper``: ``new_fd`` is an overlayfs upper directory. The content of a deleted directory is not listed; the
    directories above a change are changes too.
    """
    return _Diff(old_fd, new_fd, options or DiffOptions(), plain=not upper).listed()


def _key(path: bytes, *, removed: bool) -> bytes:
    """Sorts a directory before its content, whiteouts before siblings."""
    head, slash, name = path.rpartition(b"/")
    parents = b"".join(b"\2" + part + b"\0" for part in head.split(b"/")) if slash else b""
    return parents + (b"\1" if removed else b"\2") + name


class _Diff:
    def __init__(self, old_fd: int, new_fd: int, options: DiffOptions, *, plain: bool) -> None:
        self.old_fd = old_fd
        self.new_fd = new_fd
        self.options = options
        self.plain = plain
        self.changes: dict[bytes, os.stat_result | None] = {}       # path -> the current inode; None: removed
        self.names: dict[tuple[int, int], list[tuple[bytes, os.stat_result]]] = {}   # of files with several names
        self.directories: dict[bytes, os.stat_result] = {}
        self.before: set[bytes] = set()                             # changes and directories that the old tree has too
        self.sockets: set[bytes] = set()                            # not in an archive, but in the tree
        self.above_skipped = {path.rpartition(b"/")[0] for path in options.skip}

    def listed(self) -> list[tuple[str, bytes]]:
        """Walk both trees; the changes."""
        self._walk()
        self.changes.update(dict.fromkeys(self.sockets))
        self._parents()
        found = [("D" if there is None else "C" if path in self.before else "A", path)
                 for path, there in self.changes.items() if path and path not in self.sockets]
        found += [("C" if path in self.before else "A", path) for path in self.sockets]
        return sorted(found, key=lambda change: change[1].split(b"/"))

    def write(self, write: Callable[[bytes], object]) -> int:
        """Walk both trees, then write the changes."""
        self._walk()
        self._whole_links()
        self._parents()
        if not self.options.whole:
            self._check_names()
        writer = TarWriter(write, subsecond=self.options.subsecond)
        order = sorted((_key(path, removed=found is None), path) for path, found in self.changes.items())
        first: dict[tuple[int, int], bytes] = {}
        for _, path in order:
            found = self.changes[path]
            if found is None:
                head, slash, name = path.rpartition(b"/")
                writer.add(TarEntry(head + slash + WHITEOUT + name, FILE, mode=0))
            else:
                self._entry(writer, path, found, first)
        writer.close()
        return len(order)

    # ---- walk -----------------------------------------------------------------------------------

    def _walk(self) -> None:
        # path, whether the old tree has this directory, whether what it has there is hidden
        todo = [(b"", True, self.plain)]
        while todo:
            path, below, opaque = todo.pop()
            try:
                new = open_beneath(self.new_fd, path)
            except OSError as error:
                if not self._gone(error):
                    raise
                continue
            old = open_beneath(self.old_fd, path) if below else -1
            try:
                if not path:
                    self._root(new, old)
                if not self.plain:
                    self._overlay_marks(path, new)
                    opaque = opaque or xattrs.is_opaque(new)
                self._level(path, new, old, opaque, todo)
            finally:
                os.close(new)
                if old >= 0:
                    os.close(old)

    def _gone(self, error: OSError) -> bool:
        """Whether the name has been removed or replaced meanwhile, which ``living`` allows."""
        return self.options.living and error.errno in (ENOENT, ENOTDIR, ELOOP)

    def _root(self, new: int, old: int) -> None:
        """Add the root if its owner, mode or attributes have changed: its time is that of the mount."""
        found, before = os.fstat(new), os.fstat(old)
        self.directories[b""] = found
        if (found.st_mode, found.st_uid, found.st_gid) != (before.st_mode, before.st_uid, before.st_gid) or \
                xattrs.read(new) != xattrs.read(old):
            self.changes[b""] = found

    @staticmethod
    def _overlay_marks(path: bytes, node: int) -> None:
        for text in os.listxattr(node):
            if text.startswith(("trusted.overlay.", "user.overlay.")) and text.endswith(_DEPENDENT):
                raise LayerError(f'"{shown(path)}": has {text}: mount the overlay with redirect_dir=off,metacopy=off')

    def _level(self, path: bytes, new: int, old: int, opaque: bool, todo: list[tuple[bytes, bool, bool]]) -> None:
        above = path + b"/" if path else b""
        names = sorted(map(os.fsencode, os.listdir(new)))
        if opaque and old >= 0:
            present = set(names)
            for name in sorted(map(os.fsencode, os.listdir(old))):
                if name not in present and above + name not in self.options.skip:
                    self.changes[above + name] = None
        for name in names:
            full = above + name
            if full in self.options.skip:
                continue
            before = lstat(old, name) if old >= 0 else None
            try:
                self._node(name, full, new, old, before, opaque, todo)
            except OSError as error:
                if not self._gone(error):
                    raise
                self.changes.pop(full, None)

    def _node(self, name: bytes, full: bytes, new: int, old: int, before: os.stat_result | None, opaque: bool,
              todo: list[tuple[bytes, bool, bool]]) -> None:
        found = os.stat(name, dir_fd=new, follow_symlinks=False)
        if before is not None:
            self.before.add(full)
        if is_whiteout(found) and not self.plain:
            if before is not None:
                self.changes[full] = None
        elif is_whiteout(found):
            self._left_out(full, "a character device 0:0, is a whiteout", before)
        elif S_ISSOCK(found.st_mode):
            self.sockets.add(full)
            self._left_out(full, "a socket, which cannot be in an archive", before)
        elif S_ISDIR(found.st_mode):
            self._into(name, full, new, old, before, found)
            todo.append((full, before is not None and S_ISDIR(before.st_mode), opaque))
        else:
            if before is None or self._changed(name, new, old, found, before):
                self.changes[full] = found
            if found.st_nlink > 1:
                self.names.setdefault((found.st_dev, found.st_ino), []).append((full, found))

    def _check_names(self) -> None:
        for path, found in self.changes.items():
            if found is not None and path.rpartition(b"/")[2].startswith(WHITEOUT):
                raise LayerError(f'"{shown(path)}": names beginning with ".wh." cannot be in a layer: rename it, or'
                                 " remove it", shown(path))

    def _left_out(self, path: bytes, why: str, before: os.stat_result | None) -> None:
        if before is not None:
            self.changes[path] = None   # the old file is no longer there
        if self.options.warn is not None:
            self.options.warn(f'"{shown(path)}": skipped: {why}')

    def _into(self, name: bytes, full: bytes, new: int, old: int, before: os.stat_result | None,
              found: os.stat_result) -> None:
        """Add a directory, and whether it has changed itself."""
        there = open_beneath(new, name)
        here = open_beneath(old, name) if before is not None and S_ISDIR(before.st_mode) else -1
        try:
            self._directory(full, found, there, here)
        finally:
            os.close(there)
            if here >= 0:
                os.close(here)

    def _directory(self, path: bytes, found: os.stat_result, new: int, old: int) -> None:
        self.directories[path] = found
        if old >= 0:
            before = os.fstat(old)
            differ = _attributes_differ(found, before) and not (
                path in self.above_skipped and _owned_alike(found, before))
            if not differ and xattrs.read(new) == xattrs.read(old):
                return
        self.changes[path] = found

    def _changed(self, name: bytes, new: int, old: int, found: os.stat_result, before: os.stat_result) -> bool:
        if (found.st_dev, found.st_ino) == (before.st_dev, before.st_ino):
            return False
        if _attributes_differ(found, before):
            return True
        if S_ISLNK(found.st_mode):
            if os.readlink(name, dir_fd=new) != os.readlink(name, dir_fd=old):
                return True
        elif not S_ISREG(found.st_mode):
            if found.st_rdev != before.st_rdev:
                return True
        elif found.st_size != before.st_size:
            return True
        if xattrs.read(xattrs.own_path(new, name)) != xattrs.read(xattrs.own_path(old, name)):
            return True
        return S_ISREG(found.st_mode) and not (self.plain and self.options.trust_times) and \
            _content_differs(name, new, old)

    # ---- between --------------------------------------------------------------------------------

    def _whole_links(self) -> None:
        """If one name of a file has changed, add all: a hard link must point into the layer."""
        for group in self.names.values():
            if len(group) > 1 and any(path in self.changes for path, _ in group):
                self.changes.update(group)

    def _parents(self) -> None:
        """Add the directories above each change, except the root, which every image has."""
        for path in list(self.changes):
            above = path.rpartition(b"/")[0]
            while above and above not in self.changes:
                self.changes[above] = self.directories[above]
                above = above.rpartition(b"/")[0]

    # ---- write ----------------------------------------------------------------------------------

    def _entry(self, writer: TarWriter, path: bytes, found: os.stat_result,
               first: dict[tuple[int, int], bytes]) -> None:
        options = self.options
        kind = next(kind for test, kind in _TYPES.items() if test(found.st_mode))
        time = found.st_mtime_ns
        if options.latest is not None:
            time = min(time, options.latest * SECOND)
        options.newest = max(time // SECOND, options.newest or 0)
        entry = TarEntry(path or b"./", kind, mode=S_IMODE(found.st_mode), mtime=time,
                      uid=options.uid(found.st_uid) if options.uid else found.st_uid,
                      gid=options.gid(found.st_gid) if options.gid else found.st_gid)
        key = (found.st_dev, found.st_ino)
        if kind != DIRECTORY and key in self.names:
            if key in first:
                entry.type, entry.link = LINK, first[key]
                writer.add(entry)
                return
            first[key] = path
        head, _, name = path.rpartition(b"/")
        try:
            directory = open_beneath(self.new_fd, head)
            try:
                self._content(writer, entry, directory, name, found)
            finally:
                os.close(directory)
        except OSError as error:
            if not self._gone(error):
                raise
            first.pop(key, None)

    def _content(self, writer: TarWriter, entry: TarEntry, directory: int, name: bytes, found: os.stat_result) -> None:
        if not name:
            entry.xattrs = self._xattrs(entry, directory)
            writer.add(entry)
            return
        entry.xattrs = self._xattrs(entry, xattrs.own_path(directory, name))
        if entry.type == SYMLINK:
            entry.link = os.readlink(name, dir_fd=directory)
        elif entry.type in (CHARACTER, BLOCK):
            entry.device = (os.major(found.st_rdev), os.minor(found.st_rdev))
        if entry.type != FILE:
            writer.add(entry)
            return
        fd = open_file(directory, name)
        try:
            if not self.plain:
                self._overlay_marks(entry.name, fd)
            entry.size = os.fstat(fd).st_size
            writer.add(entry, lambda size: os.read(fd, size) or bytes(size if self.options.living else 0))
        finally:
            os.close(fd)

    def _xattrs(self, entry: TarEntry, node: int | bytes) -> dict[bytes, bytes]:
        found = xattrs.read(node)
        for key in [key for key in found if b"=" in key]:
            del found[key]
            if self.options.warn is not None:
                self.options.warn(f'"{shown(entry.name)}": attribute "{shown(key)}" skipped: no archive can hold its'
                                  " name")
        return found


def _owned_alike(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_mode, one.st_uid, one.st_gid) == (other.st_mode, other.st_uid, other.st_gid)


def _attributes_differ(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_mode, one.st_uid, one.st_gid, one.st_mtime_ns) != \
        (other.st_mode, other.st_uid, other.st_gid, other.st_mtime_ns)


def _content_differs(name: bytes, new: int, old: int) -> bool:
    one = open_file(new, name)
    try:
        other = open_file(old, name)
        try:
            while True:
                data = os.read(one, _STEP)
                if data != os.read(other, _STEP):
                    return True
                if not data:
                    return False
        finally:
            os.close(other)
    finally:
        os.close(one)
