"""The directories of a layer during its extraction: where each entry goes, without leaving the target.

Only the applier writes below the target, which is empty at first. So the existing directories are those that this
module has created, and it keeps them as a tree. A path is followed component by component: a known directory is
entered, a symbolic link of the same layer is followed here (".." stops at the root), and a missing directory is
created. Every system call gets a descriptor of a known directory and a single component that it does not follow, so the
kernel never resolves a string of the layer (CVE-2021-29136 and similar).

Symbolic links of *lower* layers are not visible here. A directory of this layer at their path replaces them, as in
Docker, containerd and Podman.
"""

from __future__ import annotations

import os
from errno import EINVAL, ELOOP
from stat import S_ISCHR

from pyruntime.errors import LayerError
from pyruntime.images.layers.pax import MAX_NAME
from pyruntime.images.layers.tree import DIRECTORY, open_beneath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.images.layers.tar import TarEntry

_MAX_LINKS = 40     # symbolic links in one path, as in the kernel (path_resolution(7))
_MAX_WAYS = 32 << 20   # bytes of cached paths: an archive may have any number of paths to a directory
_MAX_OPEN = 128     # open directories: several layers are extracted at once, and the limit is 1024


class LayerDirectory:
    """A directory of the layer. ``entry`` has its attributes; None while only its children have occurred.

    ``links`` are hard links here to files outside this layer: they are created when the lower layers are known.
    """

    __slots__ = ("children", "entry", "fd", "links", "name", "opaque", "parent", "path")

    def __init__(self, parent: LayerDirectory | None, name: bytes, path: bytes) -> None:
        self.parent = parent
        self.name = name
        self.path = path
        self.children: dict[bytes, LayerDirectory] = {}
        self.links: dict[bytes, bytes] | None = None
        self.entry: TarEntry | None = None
        self.opaque = False
        self.fd = -1


class LayerDirectories:
    """The tree of directories below ``root_fd``.

    ``cut`` holds the paths whose counterpart in lower layers is hidden, by a whiteout or by anything but a directory in
    this layer. A directory at such a path is opaque.
    """

    __slots__ = ("_left", "_limit", "_memory", "_open", "_room", "_ways", "_ways_size", "cut", "root", "root_fd")

    def __init__(self, root_fd: int, limit: int, memory: int) -> None:
        """``limit`` of created directories: one name of 4 KB can imply two thousand, and the next entry remove them.
        ``memory``: bytes of names and attributes that are kept."""
        self._limit = self._left = limit
        self._memory = self._room = memory
        self._ways_size = 0
        self.root_fd = root_fd
        self.root = LayerDirectory(None, b"", b"")
        self.root.fd = root_fd
        self.cut: set[bytes] = set()
        self._open: list[LayerDirectory] = []
        self._ways: dict[bytes, LayerDirectory] = {b"": self.root}   # paths as in the entries, with symbolic links

    def close(self) -> None:
        """Close every descriptor but the root's, which is the caller's."""
        for directory in self._open:
            os.close(directory.fd)
            directory.fd = -1
        self._open.clear()

    def trim(self) -> None:
        """Close old descriptors if there are many. To be called only while none of them is in use."""
        if len(self._open) > _MAX_OPEN:
            old, self._open = self._open[:_MAX_OPEN // 2], self._open[_MAX_OPEN // 2:]
            for directory in old:
                os.close(directory.fd)
                directory.fd = -1

    def fd(self, directory: LayerDirectory) -> int:
        """A descriptor of the directory; valid until the next ``trim``."""
        if directory.fd < 0:
            above = directory.parent
            assert above is not None   # the root's is open
            directory.fd = (os.open(directory.name, DIRECTORY, dir_fd=above.fd) if above.fd >= 0
                            else open_beneath(self.root_fd, directory.path))
            self._open.append(directory)
        return directory.fd

    def at(self, path: bytes) -> LayerDirectory:
        """The directory of a clean path, created with its parents if it does not exist."""
        found = self._ways.get(path)
        if found is None:
            found = self._walk(path, make=True)
            assert found is not None   # missing directories have been created
            self._ways_size += len(path)
            if self._ways_size > _MAX_WAYS:
                self.forget()
            self._ways[path] = found
        return found

    def keep(self, size: int) -> None:
        """Count bytes that are kept to the end; raises LayerError if they exceed the limit."""
        self._room -= size
        if self._room < 0:
            raise LayerError(f"names and attributes exceed the {self._memory} bytes that are kept in memory")

    def find(self, path: bytes) -> tuple[LayerDirectory | None, bytes]:
        """The directory of a path's last component, and that component; nothing is created.

        If this layer has no such directory: None, and the whole path with this layer's links resolved.
        """
        head, _, name = path.rpartition(b"/")
        rest: list[bytes] = []
        found = self._ways.get(head) or self._walk(head, make=False, rest=rest)
        if found is not None:
            return found, name
        return None, b"/".join([*rest, name])

    def _walk(self, path: bytes, *, make: bool, rest: list[bytes] | None = None) -> LayerDirectory | None:
        head, _, last = path.rpartition(b"/")
        known = self._ways.get(head)   # most new directories are near the last one
        here, todo = (self.root, path.split(b"/")[::-1]) if known is None else (known, [last])
        links = 0
        while todo:
            name = todo.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                here = here.parent or here
                continue
            child = here.children.get(name)
            if child is None:
                self.trim()
                target = self._link(here, name)
                if target is not None:
                    links += 1
                    if links > _MAX_LINKS:
                        raise LayerError(f"too many symbolic links in the path: {os.strerror(ELOOP)}")
                    here = self.root if target[:1] == b"/" else here
                    todo += target.split(b"/")[::-1]
                    continue
                if not make:
                    if rest is not None:
                        rest += [part for part in (here.path, name, *todo[::-1]) if part not in (b"", b".")]
                    return None
                child = self.make(here, name)
            here = child
        return here

    def _link(self, parent: LayerDirectory, name: bytes) -> bytes | None:
        """The target of a symbolic link of this layer; None for anything else."""
        try:
            return os.readlink(name, dir_fd=self.fd(parent))
        except OSError as error:
            if error.errno == EINVAL or isinstance(error, FileNotFoundError):
                return None
            raise

    def make(self, parent: LayerDirectory, name: bytes) -> LayerDirectory:
        """Create a directory; a file in its place is removed, and what that hid below stays hidden."""
        path = parent.path + b"/" + name if parent.path else name
        if len(path) > MAX_NAME:
            raise LayerError(f"leads to a path of {len(path)} bytes; the maximum is {MAX_NAME}")
        self._left -= 1
        if self._left < 0:
            raise LayerError(f"needs more than the maximum of {self._limit} directories")
        self.keep(len(path))
        fd = self.fd(parent)
        if parent.links and parent.links.pop(name, None):
            self.cut.add(path)
        try:
            os.mkdir(name, 0o700, dir_fd=fd)
        except FileExistsError:
            self.vacate(parent, name)
            self.cut.add(path)
            os.mkdir(name, 0o700, dir_fd=self.fd(parent))
        child = parent.children[name] = LayerDirectory(parent, name, path)
        return child

    def forget(self) -> None:
        """Drop all cached paths: the removed name may be part of one."""
        self._ways = {b"": self.root}
        self._ways_size = 0

    def vacate(self, parent: LayerDirectory, name: bytes) -> None:
        """Remove a name and everything below it. Descriptors of the caller may be closed."""
        self.forget()   # it may have been part of cached paths
        child = parent.children.pop(name, None)
        if child is None:
            os.unlink(name, dir_fd=self.fd(parent))
            return
        doomed = [child]
        for directory in doomed:   # grows during the loop
            doomed += directory.children.values()
        for directory in reversed(doomed):
            self.trim()
            fd = self.fd(directory)
            for text in os.listdir(fd):
                entry = os.fsencode(text)
                if entry not in directory.children:
                    os.unlink(entry, dir_fd=fd)
            directory.children.clear()
            self._open.remove(directory)
            os.close(directory.fd)
            directory.fd = -1
            above = directory.parent
            assert above is not None   # the root has no name
            os.rmdir(directory.name, dir_fd=self.fd(above))

    def hide(self, parent: LayerDirectory, name: bytes) -> bool:
        """Create a whiteout where this layer has nothing, and record it; whether a node was created."""
        path = parent.path + b"/" + name if parent.path else name
        self.keep(len(path))
        self.cut.add(path)
        if name in parent.children or (parent.links and name in parent.links):
            return False
        fd = self.fd(parent)
        try:
            os.mknod(name, 0o20000, os.makedev(0, 0), dir_fd=fd)
        except FileExistsError:
            return False   # a file of this layer, which whiteouts do not hide, or a second whiteout
        return True

    def is_whiteout(self, parent: LayerDirectory, name: bytes) -> bool:
        """Whether the name is a whiteout that ``hide`` has created."""
        found = os.stat(name, dir_fd=self.fd(parent), follow_symlinks=False)
        return S_ISCHR(found.st_mode) and found.st_rdev == 0

    def all(self) -> Iterator[LayerDirectory]:
        """Every directory, each after everything below it."""
        order = [self.root]
        for directory in order:
            order += directory.children.values()
        return reversed(order)
