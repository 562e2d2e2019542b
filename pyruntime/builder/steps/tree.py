"""The sources of COPY: a tree behind a descriptor of its root, read in place.

Every path is resolved by openat2(2) with the tree as its root: ".." and links cannot leave it.
"""

from __future__ import annotations

import os
from errno import ELOOP, ENOENT, ENOTDIR
from stat import S_ISDIR, S_ISLNK

from pyruntime.builder.ignore import Ignore
from pyruntime.builder.patterns import PatternError, component, has_magic
from pyruntime.errors import BuildError
from pyruntime.system import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_IN_ROOT = kernel.RESOLVE_IN_ROOT | kernel.RESOLVE_NO_MAGICLINKS
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class TreeNode:
    """A name in an open directory: ``path`` below the start of the walk, ``found`` is its lstat."""

    __slots__ = ("directory", "found", "name", "path")

    def __init__(self, path: bytes, directory: int, name: bytes, found: os.stat_result) -> None:
        self.path = path
        self.directory = directory
        self.name = name
        self.found = found


class Tree:
    """A tree. ``local``: its owners are ignored; ``live``: it is a working directory, and may change at any time;
    ``name`` is for messages; ``single``: its only relevant file."""

    __slots__ = ("_path", "fd", "ignore", "live", "local", "name", "single")

    def __init__(self, fd: int, name: str, *, ignore: Ignore | None = None, local: bool = False,
                 live: bool = False) -> None:
        self.fd = fd
        self.name = name
        self.ignore = ignore or Ignore()
        self.local = local or live
        self.live = live
        self.single = ""
        self._path = b""

    def open(self, path: bytes, flags: int = os.O_PATH) -> int:
        """Open a path; links are followed within the tree. OSError."""
        return kernel.openat2(path.lstrip(b"/") or b".", flags, dir_fd=self.fd, resolve=_IN_ROOT)

    def real(self, fd: int) -> bytes:
        """The path in the tree of an open file, b"" for the root."""
        self._path = self._path or os.readlink(b"/proc/self/fd/%d" % self.fd)
        here = os.readlink(b"/proc/self/fd/%d" % fd)
        return here[len(self._path):].lstrip(b"/")

    def excluded(self, path: bytes) -> bool:
        """Whether .dockerignore excludes the path."""
        return bool(self.ignore) and self.ignore.excluded(os.fsdecode(path))

    def find(self, pattern: str, *, deep: bool = False) -> list[bytes]:
        """The paths that match a pattern, sorted; none if nothing matches. ``deep``: ``**`` is any number of
        directories, else one. Raises BuildError for an invalid pattern."""
        parts = [part for part in pattern.split("/") if part not in ("", ".")]
        found = [b""]
        for index, part in enumerate(parts):
            if part == "**" and deep:
                found = [below for path in found for below in (path, *self._directories_below(path))]
                if index == len(parts) - 1:
                    found = [path for path in found if path]
                continue
            found = [match for path in found for match in self._matching(path, part, last=index == len(parts) - 1)]
        return sorted(dict.fromkeys(found))

    def _matching(self, path: bytes, part: str, *, last: bool) -> list[bytes]:
        above = path + b"/" if path else b""
        if part == "..":
            return [path.rpartition(b"/")[0]]
        if not has_magic(part):
            whole = above + os.fsencode(part)
            return [whole] if self.exists(whole) and not (last and self._out(whole)) else []
        try:
            matches = component(part).fullmatch
        except PatternError as error:
            raise BuildError(f'"{part}" is not a valid pattern: {error}') from None
        try:
            fd = self.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            if error.errno in (ENOENT, ENOTDIR, ELOOP):
                return []
            raise
        try:
            names = os.listdir(fd)
        finally:
            os.close(fd)
        return [above + os.fsencode(name) for name in names
                if matches(name) and not (last and self._out(above + os.fsencode(name)))]

    def _out(self, path: bytes) -> bool:
        """Whether nothing of the path is in the context: a directory may contain included files."""
        return bool(self.ignore) and self.ignore.excluded(os.fsdecode(path)) and (
            self.ignore.skips(os.fsdecode(path)) or not self._is_directory(path))

    def _is_directory(self, path: bytes) -> bool:
        fd = self.open(path)
        try:
            return S_ISDIR(os.fstat(fd).st_mode)
        finally:
            os.close(fd)

    def _directories_below(self, path: bytes) -> list[bytes]:
        above = path + b"/" if path else b""
        return [above + node.path for node in self.walk(path) if S_ISDIR(node.found.st_mode)]

    def exists(self, path: bytes) -> bool:
        """Whether the path exists, also as a dangling link."""
        try:
            os.close(self.open(path, os.O_PATH | os.O_NOFOLLOW))
        except OSError as error:
            if error.errno in (ENOENT, ENOTDIR, ELOOP):
                return False
            raise
        return True

    def walk(self, path: bytes, exclude: Ignore | None = None) -> Iterator[TreeNode]:
        """Everything in a directory, names sorted as bytes, a directory before its content.

        ``exclude``: patterns of paths below the start of the walk. An excluded directory with included files is
        included.
        """
        fd = self.open(path, os.O_RDONLY | os.O_DIRECTORY)
        above = self.real(fd) if self.ignore else b""
        yield from self._walk(fd, b"", above, exclude)

    def _walk(self, fd: int, path: bytes, above: bytes, exclude: Ignore | None) -> Iterator[TreeNode]:
        try:
            with os.scandir(fd) as entries:
                there = sorted((os.fsencode(entry.name), entry.stat(follow_symlinks=False)) for entry in entries)
            for name, found in there:
                below = path + b"/" + name if path else name
                node = TreeNode(below, fd, name, found)
                out = False
                for ignore, full in ((self.ignore, above + b"/" + below if above else below), (exclude, below)):
                    if ignore and ignore.excluded(text := os.fsdecode(full)):
                        out = True
                        if not S_ISDIR(found.st_mode) or ignore.skips(text):
                            break
                else:
                    if not S_ISDIR(found.st_mode):
                        yield node
                        continue
                    inside = self._walk(os.open(name, _DIRECTORY, dir_fd=fd), below, above, exclude)
                    if out:   # it is included with its first included file
                        first = next(inside, None)
                        if first is None:
                            continue
                        yield node
                        yield first
                    else:
                        yield node
                    yield from inside
        finally:
            os.close(fd)


class CopySource:
    """One source to copy: ``path`` in the tree with links followed, ``name`` below the target ("" for the content of a
    directory), ``found`` its stat."""

    __slots__ = ("found", "name", "path", "tree")

    def __init__(self, tree: Tree, path: bytes, name: bytes, found: os.stat_result) -> None:
        self.tree = tree
        self.path = path
        self.name = name
        self.found = found

    @property
    def directory(self) -> bool:
        """Whether it is a directory, whose content is copied."""
        return S_ISDIR(self.found.st_mode)


def select(tree: Tree, patterns: list[str], exclude: Ignore | None = None, *, parents: bool = False
           ) -> list[CopySource]:
    """The sources that match the patterns of one COPY. A pattern may match nothing: ``COPY package.json yarn.lock* .``
    copies an optional file. Raises BuildError for a name that does not exist."""
    sources: list[CopySource] = []
    for pattern in patterns:
        pivot = ""
        if parents and "/./" in f"/{pattern}":
            pivot = f"/{pattern}".partition("/./")[0].strip("/")
        matches = tree.find(pattern, deep=parents)
        if not matches and not any(letter in pattern for letter in "*?["):
            where = ": .dockerignore excludes it" if tree.ignore and tree.exists(os.fsencode(pattern)) else ""
            raise BuildError(f'"{pattern}" is not in {tree.name}{where}')
        for path in matches:
            source = _source(tree, path, os.fsencode(pivot), parents=parents)
            if not (exclude and not source.directory and exclude.excluded(os.fsdecode(os.path.basename(path)))):
                sources.append(source)
    return sources


def literal(tree: Tree, path: str) -> CopySource:
    """The source of a path without pattern characters. Raises BuildError."""
    name = os.fsencode(path)
    try:
        os.close(tree.open(name))
    except OSError as error:
        raise BuildError(f'"{path}" is not in {tree.name}: {os.strerror(error.errno or 0)}') from None
    source = _source(tree, name, b"", parents=False)
    if not source.directory and tree.excluded(source.path):
        raise BuildError(f'"{path}" is not in {tree.name}: .dockerignore excludes it')
    return source


def _source(tree: Tree, path: bytes, pivot: bytes, *, parents: bool) -> CopySource:
    try:
        fd = tree.open(path)
    except OSError as error:
        raise BuildError(f'"{os.fsdecode(path)}" in {tree.name}: {os.strerror(error.errno or 0)}') from None
    try:
        found = os.fstat(fd)
        real = tree.real(fd)
    finally:
        os.close(fd)
    if real != path and tree.ignore and not S_ISDIR(found.st_mode) and tree.excluded(real):
        raise BuildError(f'"{os.fsdecode(path)}" is a link to "{os.fsdecode(real)}", which .dockerignore excludes')
    assert not S_ISLNK(found.st_mode)
    if parents:
        name = path[len(pivot):].lstrip(b"/") if pivot and (path == pivot or path.startswith(pivot + b"/")) else path
    else:
        name = b"" if S_ISDIR(found.st_mode) else os.path.basename(path)
    return CopySource(tree, real, name, found)
