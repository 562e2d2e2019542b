"""Digests of a step's input: names, modes, owners, links, attributes and content, never times.

Content digests of unchanged files are cached: by device, inode, ctime and mtime in nanoseconds, and size. A file whose
ctime is so recent that it may change again within a clock tick is not cached.
"""

from __future__ import annotations

import _hashlib
import marshal
import os
import time
from stat import S_IMODE, S_ISBLK, S_ISCHR, S_ISDIR, S_ISLNK, S_ISREG

from pyruntime.images.layers import xattrs
from pyruntime.system.files import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.builder.ignore import Ignore
    from pyruntime.builder.steps.tree import CopySource, Tree
    from pyruntime.images.store.layout import Layout

_SETTLED = 2 * 10**9    # nanoseconds: ctime has the timer's resolution, 10 ms at worst; that of file servers is lower
_MOST = 200_000         # cached files
_STEP = 1 << 20


class Known:
    """The cached digests of one store. ``save`` writes new ones; a process killed before loses only time.

    ``once_more``: only whether files are unchanged since a moment ago matters. Recent files then count as unchanged
    too, as far as their times show.
    """

    __slots__ = ("_changed", "_files", "_path", "_young", "once_more")

    def __init__(self, layout: Layout) -> None:
        self._path = f"{layout.root}/cache/files"
        self._changed = False
        self.once_more = False
        self._young: dict[tuple[int, int], tuple[int, int, int, bytes]] = {}
        self._files: dict[tuple[int, int], tuple[int, int, int, bytes]] = {}
        try:
            with open(self._path, "rb") as file:
                value = marshal.loads(file.read())
            if isinstance(value, dict):
                self._files = value
        except (OSError, EOFError, ValueError, TypeError):
            self._files = {}   # none yet, or of another version of Python: everything is read once

    def file(self, directory: int, name: bytes, found: os.stat_result) -> bytes:
        """The digest of a regular file's content. OSError."""
        key = (found.st_dev, found.st_ino)
        state = (found.st_ctime_ns, found.st_mtime_ns, found.st_size)
        known = self._young.get(key) if self.once_more else None
        known = known or self._files.get(key)
        if known is not None and known[:3] == state:
            return known[3]
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        try:
            digest = _hashlib.openssl_sha256()
            while data := os.read(fd, _STEP):
                digest.update(data)
            after = os.fstat(fd)
        finally:
            os.close(fd)
        value = digest.digest()
        if (after.st_ctime_ns, after.st_mtime_ns, after.st_size) != state:
            return value
        if found.st_ctime_ns < time.time_ns() - _SETTLED:
            self._files[key] = (*state, value)
            self._changed = True
        else:
            self._young[key] = (*state, value)
        return value

    def save(self) -> None:
        """Write new digests. OSError."""
        if not self._changed:
            return
        if len(self._files) > _MOST:
            self._files = dict(list(self._files.items())[-_MOST // 2:])
        os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
        replace(self._path, marshal.dumps(self._files))
        self._changed = False


def of_sources(known: Known, sources: list[CopySource], exclude: Ignore | None = None) -> str:
    """The digest of the input of one COPY. OSError."""
    digest = _hashlib.openssl_sha256()
    names: dict[tuple[int, int], bytes] = {}   # of files with several names: hard links are kept
    for source in sources:
        above, _, name = source.path.rpartition(b"/")
        digest.update(b"source %s\0%d\0" % (source.name, source.directory))
        if source.directory:
            digest.update(b"%o\0" % S_IMODE(source.found.st_mode))
            if not source.tree.local:
                digest.update(b"%d %d\0" % (source.found.st_uid, source.found.st_gid))
            for node in source.tree.walk(source.path, exclude):
                digest.update(_node(known, source.tree, node.path, node.directory, node.name, node.found))
                if node.found.st_nlink > 1 and S_ISREG(node.found.st_mode):
                    first = names.setdefault((node.found.st_dev, node.found.st_ino), node.path)
                    digest.update(b"link %s\0" % first if first != node.path else b"")
            continue
        directory = source.tree.open(above, os.O_RDONLY | os.O_DIRECTORY)
        try:
            digest.update(_node(known, source.tree, b"", directory, name, source.found))
        finally:
            os.close(directory)
    return digest.hexdigest()


def _node(known: Known, tree: Tree, path: bytes, directory: int, name: bytes, found: os.stat_result) -> bytes:
    mode = found.st_mode
    owner = b"0 0" if tree.local else b"%d %d" % (found.st_uid, found.st_gid)
    parts = [path, b"%o" % mode, owner]
    if S_ISREG(mode):
        parts.append(known.file(directory, name, found))
    elif S_ISLNK(mode):
        parts.append(os.readlink(name, dir_fd=directory))
    elif S_ISCHR(mode) or S_ISBLK(mode):
        parts.append(b"%d" % found.st_rdev)
    if not S_ISLNK(mode):
        for key, value in xattrs.read(xattrs.own_path(directory, name)).items():
            parts += [key, value]
    return b"".join(b"%d:%s" % (len(part), part) for part in parts) + (b"/" if S_ISDIR(mode) else b"\n")
