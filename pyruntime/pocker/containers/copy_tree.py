"""Trees of files: read the source of `cp`, and write its destination.

    walk        entries of a tree as in a tar archive, each with a descriptor of its content
    TreeWriter  makes entries below a directory, from a tree or from an archive

One of the two sides is a container, whose programs may change everything at any moment. So each node is first opened by
O_PATH, which has no effect on a device and follows no link; its type is read from that descriptor, and its content is
opened by /proc/self/fd. New files are made with O_EXCL.
"""

from __future__ import annotations

import os
from errno import EEXIST, ELOOP, ENODATA, ENOENT, ENOTDIR, EOPNOTSUPP
from stat import S_IFMT, S_IMODE, S_ISBLK, S_ISCHR, S_ISDIR, S_ISFIFO, S_ISLNK, S_ISREG, S_ISSOCK

from pyruntime.errors import HostError, UsageError
from pyruntime.images.layers import xattrs
from pyruntime.images.layers.copying import Copier
from pyruntime.images.layers.pax import shown
from pyruntime.images.layers.tar import BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, LINK, SYMLINK, TarEntry
from pyruntime.images.layers.tree import open_beneath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NODE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_TYPES = {S_ISREG: FILE, S_ISDIR: DIRECTORY, S_ISLNK: SYMLINK, S_ISCHR: CHARACTER, S_ISBLK: BLOCK, S_ISFIFO: FIFO}
_MODES = {CHARACTER: 0o020000, BLOCK: 0o060000, FIFO: 0o010000}   # S_IFCHR, S_IFBLK, S_IFIFO
_GONE = (ENOENT, ENOTDIR, ELOOP)
_STEP = 1 << 16
_SET_ID = 0o6000
_CAPABILITIES = b"security.capability"   # capabilities(7): privileges of a program beyond those of its user
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def by_descriptor(node: int) -> bytes:
    """The path of an open node, for calls that take no O_PATH descriptor."""
    return b"/proc/self/fd/%d" % node


def write_all(fd: int, data: bytes) -> None:
    """Write all data."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view):]


# --- reading ----------------------------------------------------------------------------------------------------------


def walk(node: int, top: bytes, warn: Callable[[str], None], kernel: frozenset[int] = frozenset()
         ) -> Iterator[tuple[TarEntry, int]]:
    """The entries of a node that is open by O_PATH, with the name ``top``; a directory comes before its content. Files
    on the devices ``kernel`` are left out, and directories there are empty.

    The descriptor is that of the entry's node, and is closed with the next entry. Sockets and files that vanish
    meanwhile are left out. Further names of a file are links to its first name.
    """
    first: dict[tuple[int, int], bytes] = {}
    found = os.fstat(node)
    if found.st_dev in kernel:
        raise UsageError(f'"{shown(top)}" is in a filesystem of the kernel, which cannot be copied')
    yield _entry(node, top, found), node
    if not S_ISDIR(found.st_mode):
        return
    todo = [b""]
    while todo:
        path = todo.pop()
        try:
            directory = open_beneath(node, path)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            continue
        try:
            for name in sorted(map(os.fsencode, os.listdir(directory))):
                full = path + b"/" + name if path else name
                try:
                    child = os.open(name, NODE, dir_fd=directory)
                except OSError as error:
                    if error.errno not in _GONE:
                        raise
                    continue
                try:
                    found = os.fstat(child)
                    if S_ISSOCK(found.st_mode):
                        warn(f'"{shown(full)}": left out: a socket')
                        continue
                    entry = _entry(child, top + b"/" + full if top else full, found)
                    if found.st_nlink > 1 and not S_ISDIR(found.st_mode):
                        key = (found.st_dev, found.st_ino)
                        if key in first:
                            entry.type, entry.link, entry.size = LINK, first[key], 0
                        else:
                            first[key] = entry.name
                    if found.st_dev in kernel:
                        if not S_ISDIR(found.st_mode):
                            continue
                        entry.xattrs = None
                        yield entry, child
                        continue
                    yield entry, child
                    if S_ISDIR(found.st_mode):
                        todo.append(full)
                finally:
                    os.close(child)
        finally:
            os.close(directory)


def _entry(node: int, name: bytes, found: os.stat_result) -> TarEntry:
    kind = next((kind for test, kind in _TYPES.items() if test(found.st_mode)), None)
    if kind is None:
        raise UsageError(f'"{shown(name)}" is a socket, which cannot be copied')
    entry = TarEntry(name, kind, mode=S_IMODE(found.st_mode), uid=found.st_uid, gid=found.st_gid,
                  mtime=found.st_mtime_ns, size=found.st_size if kind == FILE else 0,
                  xattrs=_attributes(by_descriptor(node)) if kind in (FILE, DIRECTORY) else None)
    if kind == SYMLINK:
        entry.link = os.readlink(b"", dir_fd=node)
    elif kind in (CHARACTER, BLOCK):
        entry.device = (os.major(found.st_rdev), os.minor(found.st_rdev))
    return entry


def _attributes(path: bytes) -> dict[bytes, bytes]:
    """The extended attributes that are copied."""
    found = {}
    try:
        for text in sorted(os.listxattr(path)):
            if xattrs.admitted(os.fsencode(text)):
                found[os.fsencode(text)] = os.getxattr(path, text)
    except OSError as error:
        if error.errno not in (EOPNOTSUPP, ENODATA):   # not supported here, or removed in the meantime
            raise
    return found


def open_content(node: int) -> int:
    """Open a regular file, which is open by O_PATH, for reading."""
    return os.open(by_descriptor(node), os.O_RDONLY | os.O_CLOEXEC)


def _mount_of(fd: int) -> str:
    """The ID of the mount of an open node (proc_pid_fdinfo(5))."""
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as file:
        return next((line for line in file if line.startswith("mnt_id:")), "")


# --- writing ----------------------------------------------------------------------------------------------------------


class TreeWriter:
    """Makes entries below a directory.

    ``open``    opens the directory of a relative path; the caller closes it
    ``owner``   the owner and group of an entry on the host
    ``powers``  keep set-user-ID bits, capabilities and devices
    ``size``    counts the bytes of content
    """

    def __init__(self, open: Callable[[bytes], int], owner: Callable[[TarEntry], tuple[int, int]], *,
                 powers: bool = True, warn: Callable[[str], None]) -> None:
        self._open = open
        self._owner = owner
        self._powers = powers
        self._left_out: set[bytes] = set()   # devices, to which links may follow
        self._made: list[tuple[TarEntry, tuple[int, int]]] = []
        self._warn = warn
        self._copier = Copier(lambda path, key, words: warn(f'"{shown(path)}": attribute "{shown(key)}" left out:'
                                                            f" {words}"))
        self.size = 0

    def put(self, entry: TarEntry, content: Callable[[int], None] | int) -> None:
        """Make an entry. ``content``: of a file, its node, or a function that writes it to a descriptor. Raises
        UsageError if a directory would have to replace a file or the reverse, HostError."""
        if not entry.name:
            return   # the directory itself
        if not self._powers:
            if entry.type in (CHARACTER, BLOCK) or (entry.type == LINK and entry.link in self._left_out):
                self._left_out.add(entry.name)
                self._warn(f'"{shown(entry.name)}": left out: a device, which would be a device of the host')
                return
            entry.mode &= ~_SET_ID
            if entry.xattrs:
                entry.xattrs.pop(_CAPABILITIES, None)
        try:
            self._put(entry, content)
        except OSError as error:
            raise HostError(f'cannot make "{shown(entry.name)}": {error.strerror}') from None

    def _put(self, entry: TarEntry, content: Callable[[int], None] | int) -> None:
        head, _, name = entry.name.rpartition(b"/")
        parent = self._parent(head)
        try:
            if entry.type == DIRECTORY:
                self._directory(entry, parent, name)
                return
            in_place = self._remove(entry, parent, name)
            if in_place >= 0:
                try:
                    self._content(entry, in_place, content)
                finally:
                    os.close(in_place)
            elif entry.type == LINK:
                self._link(entry, parent, name)
            elif entry.type == FILE:
                self._file(entry, parent, name, content)
            else:
                self._special(entry, parent, name)
        finally:
            os.close(parent)

    def _parent(self, path: bytes) -> int:
        """The directory of this path, which an archive need not have an entry for."""
        try:
            return self._open(path)
        except FileNotFoundError:
            if not path:
                raise
        head, _, name = path.rpartition(b"/")
        above = self._parent(head)
        try:
            os.mkdir(name, 0o755, dir_fd=above)
        finally:
            os.close(above)
        return self._open(path)

    def _directory(self, entry: TarEntry, parent: int, name: bytes) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            if not S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                raise UsageError(f'cannot overwrite "{shown(entry.name)}", which is not a directory, with a directory'
                                 ) from None
            return   # it stays as it is
        made = os.stat(name, dir_fd=parent, follow_symlinks=False)
        self._made.append((entry, (made.st_dev, made.st_ino)))

    def _remove(self, entry: TarEntry, parent: int, name: bytes) -> int:
        """Remove the file that an entry replaces. A descriptor of that file if it must stay, because it is a mount
        point; else -1."""
        try:
            node = os.open(name, NODE, dir_fd=parent)
        except FileNotFoundError:
            return -1
        try:
            there = os.fstat(node)
            if S_ISDIR(there.st_mode):
                raise UsageError(f'cannot overwrite the directory "{shown(entry.name)}" with a file')
            if _mount_of(node) != _mount_of(parent):
                # To unlink a mount point would unmount it: the kernel refuses that (EBUSY) in its own mount namespace
                # only.
                if entry.type != FILE or not S_ISREG(there.st_mode):
                    raise UsageError(f'"{shown(entry.name)}" is a mount point')
                return os.open(by_descriptor(node), os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        finally:
            os.close(node)
        try:
            os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            return -1   # another process has removed it
        return -1

    def _file(self, entry: TarEntry, parent: int, name: bytes, content: Callable[[int], None] | int) -> None:
        fd = os.open(name, _CREATE, 0o600, dir_fd=parent)
        try:
            try:
                self._content(entry, fd, content)
            except BaseException:
                os.unlink(name, dir_fd=parent)
                raise
            self._dress(entry, fd, os.fstat(fd))
        finally:
            os.close(fd)

    def _content(self, entry: TarEntry, fd: int, content: Callable[[int], None] | int) -> None:
        if isinstance(content, int):
            old = open_content(content)
            try:
                size = os.fstat(old).st_size
                self._copier.content(old, fd, size)
                while not size and (data := os.read(old, _STEP)):   # files of the kernel report no size
                    write_all(fd, data)
            finally:
                os.close(old)
        else:
            content(fd)
        self.size += entry.size

    def _link(self, entry: TarEntry, parent: int, name: bytes) -> None:
        head, _, target = entry.link.rpartition(b"/")
        source = self._open(head)
        try:
            os.link(target, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(source)

    def _special(self, entry: TarEntry, parent: int, name: bytes) -> None:
        if entry.type == SYMLINK:
            os.symlink(entry.link, name, dir_fd=parent)
        else:
            os.mknod(name, _MODES[entry.type] | 0o600, os.makedev(*entry.device), dir_fd=parent)
        node = os.open(name, NODE, dir_fd=parent)
        try:
            found = os.fstat(node)
            if S_IFMT(found.st_mode) != _MODES.get(entry.type, 0o120000):
                raise OSError(EEXIST, "another file has taken its place")
            self._dress(entry, node, found)
        finally:
            os.close(node)

    def _dress(self, entry: TarEntry, fd: int, found: os.stat_result) -> None:
        """Owner, attributes, mode, times, in the order that keeps all (pyruntime.images.layers.apply)."""
        path = by_descriptor(fd)
        uid, gid = self._owner(entry)
        os.chown(path, uid, gid)
        if entry.xattrs and not S_ISLNK(found.st_mode):
            for key, value in entry.xattrs.items():
                self._attribute(entry, path, key, value)
        if not S_ISLNK(found.st_mode):
            os.chmod(path, entry.mode)
        os.utime(path, ns=(entry.mtime, entry.mtime))

    def _attribute(self, entry: TarEntry, path: bytes, key: bytes, value: bytes) -> None:
        try:
            os.setxattr(path, key, value)
        except OSError as error:
            self._warn(f'"{shown(entry.name)}": attribute "{shown(key)}" left out: {error.strerror}')

    def finish(self) -> None:
        """Set owners, modes and times of the new directories, last: a mode may keep the owner out, and new entries
        change the time. Raises HostError."""
        for entry, inode in reversed(self._made):
            try:
                fd = self._open(entry.name)
                try:
                    found = os.fstat(fd)
                    if (found.st_dev, found.st_ino) == inode:   # else another directory has taken its place
                        self._dress(entry, fd, found)
                finally:
                    os.close(fd)
            except OSError as error:
                if error.errno not in _GONE:
                    raise HostError(f'cannot finish "{shown(entry.name)}": {error.strerror}') from None
