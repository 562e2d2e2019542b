"""COPY and ADD: copy from trees into a root filesystem, in which every path is resolved.

Missing parent directories of the target are created with mode 0755. Of a source directory the content is copied;
existing files are kept, except those of the same name. Owners are kept, but files of a local context get 0:0, and
--chown overrides both.
"""

from __future__ import annotations

import os
from errno import EEXIST, ELOOP, ENOENT, ENOTDIR
from stat import S_IMODE, S_ISDIR, S_ISLNK, S_ISREG

from pyruntime.builder.steps.archives import is_archive, unpack
from pyruntime.builder.steps.modes import mode_of
from pyruntime.builder.steps.tree import CopySource, Tree
from pyruntime.errors import BuildError, ImageError
from pyruntime.images.layers.copying import Copier
from pyruntime.images.layers.tree import open_beneath
from pyruntime.images.users import find_user
from pyruntime.system import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyruntime.builder.ignore import Ignore

_IN_ROOT = kernel.RESOLVE_IN_ROOT | kernel.RESOLVE_NO_MAGICLINKS
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_HEAD = 64 << 10
_LINKS = 40    # that the kernel follows in one path (path_resolution(7))


class _Seen:
    """The stat of a file for Copier, with another owner and mode."""

    __slots__ = ("st_gid", "st_mode", "st_mtime_ns", "st_rdev", "st_size", "st_uid")

    def __init__(self, found: os.stat_result, mode: int, owner: tuple[int, int]) -> None:
        self.st_mode = mode
        self.st_uid, self.st_gid = owner
        self.st_size = found.st_size
        self.st_rdev = found.st_rdev
        self.st_mtime_ns = found.st_mtime_ns


class Copying:
    """One COPY or ADD into the root filesystem ``root``.

    ``chown`` and ``chmod`` as in the flags; ``exclude`` patterns; ``unpack``: archives are unpacked, in directories
    below ``scratch``.
    """

    def __init__(self, root: int, scratch: str, *, chown: str = "", chmod: str = "", exclude: Ignore | None = None,
                 unpack: bool = False, warn: Callable[[str], None]) -> None:
        self._root = root
        self._scratch = scratch
        self._owner = owner_of(chown, root) if chown else None
        self._chmod = chmod
        self._exclude = exclude
        self._unpack = unpack
        self._warn = warn
        self._copier = Copier(lambda path, key, words: warn(
            f'"{os.fsdecode(path)}": attribute "{os.fsdecode(key)}" skipped: {words}'))
        self._links: dict[tuple[int, int], tuple[bytes, bytes]] = {}

    # ---- where to -------------------------------------------------------------------------------

    def directory(self, path: str, links: int = 0) -> tuple[int, bool]:
        """A descriptor of a directory, created with its parents if missing; whether it was created. A link to a missing
        target is followed, and the target created. ``links``: links followed so far."""
        name = os.fsencode(path.strip("/"))
        try:
            return kernel.openat2(name or b".", _DIRECTORY, dir_fd=self._root, resolve=_IN_ROOT), False
        except OSError as error:
            if error.errno == ENOTDIR:
                raise BuildError(f'"{path}" is a file in the image, not a directory') from None
            if error.errno == ELOOP:
                raise BuildError(f'"{path}" in the image is a symbolic link in a cycle') from None
            if error.errno != ENOENT:
                raise
        head, _, last = name.rpartition(b"/")
        if last == b"..":
            raise BuildError(f'"{path}" in the image is a symbolic link to a missing file')
        above, _ = self.directory("/" + os.fsdecode(head), links)
        try:
            os.mkdir(last, 0o755, dir_fd=above)
            os.chmod(last, 0o755, dir_fd=above)   # whatever the umask is
            if self._owner:
                os.chown(last, *self._owner, dir_fd=above, follow_symlinks=False)
            return os.open(last, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above), True
        except FileExistsError:
            if links == _LINKS:
                raise BuildError(f'"{path}" in the image: too many symbolic links') from None
            link = os.fsdecode(os.readlink(last, dir_fd=above))
            return self.directory(link if link.startswith("/") else f"/{os.fsdecode(head)}/{link}", links + 1)
        finally:
            os.close(above)

    def _is_directory(self, path: str) -> bool:
        try:
            fd = kernel.openat2(os.fsencode(path.strip("/")) or b".", os.O_PATH | os.O_DIRECTORY, dir_fd=self._root,
                                resolve=_IN_ROOT)
        except OSError:
            return False
        os.close(fd)
        return True

    # ---- what -----------------------------------------------------------------------------------

    def sources(self, sources: list[CopySource], target: str, *, parents: bool = False, several: bool = False) -> None:
        """Copy; ``several``: the target is a directory, because there are several sources."""
        into = parents or several or target.endswith("/") or self._is_directory(target)
        for source in sources:
            if source.directory:
                self._tree(source, f"{target}/{os.fsdecode(source.name)}" if parents else target)
                continue
            if self._unpack and self._archive(source, target):
                continue
            name = os.fsdecode(source.name)
            path = f"{target.rstrip('/')}/{name}" if into else target
            head, _, last = path.rpartition("/")
            fd, _ = self.directory(head)
            try:
                above, _, own = source.path.rpartition(b"/")
                directory = source.tree.open(above, _DIRECTORY)
                try:
                    self._file(directory, own, source.found, fd, os.fsencode(last), local=source.tree.local)
                finally:
                    os.close(directory)
            finally:
                os.close(fd)

    def text(self, name: str, content: str, target: str, *, several: bool, time: int) -> None:
        """Create a file with this content: a here-document."""
        into = several or target.endswith("/") or self._is_directory(target)
        head, _, last = (f"{target.rstrip('/')}/{name}" if into else target).rpartition("/")
        fd, _ = self.directory(head)
        try:
            self._vacate(fd, os.fsencode(last))
            file = os.open(last, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=fd)
            try:
                data = memoryview(content.encode())
                while data:
                    data = data[os.write(file, data):]
                os.fchown(file, *(self._owner or (0, 0)))
                os.fchmod(file, self._mode(0o644, directory=False))
                os.utime(file, (time, time))
            finally:
                os.close(file)
        finally:
            os.close(fd)

    def _mode(self, mode: int, *, directory: bool) -> int:
        return mode_of(self._chmod, mode, directory=directory) if self._chmod else mode

    def _seen(self, found: os.stat_result, *, local: bool) -> Any:
        owner = self._owner or ((0, 0) if local else (found.st_uid, found.st_gid))
        mode = found.st_mode
        if not S_ISLNK(mode):
            mode = mode & ~0o7777 | self._mode(S_IMODE(mode), directory=S_ISDIR(mode))
        return _Seen(found, mode, owner)

    def _vacate(self, fd: int, name: bytes) -> None:
        """Remove what is at a file's path."""
        try:
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return
        if S_ISDIR(found.st_mode):
            raise BuildError(f'"{os.fsdecode(name)}" is a directory in the image, which a file cannot replace')
        os.unlink(name, dir_fd=fd)

    def _file(self, directory: int, name: bytes, found: os.stat_result, fd: int, new: bytes, *, local: bool) -> None:
        self._vacate(fd, new)
        self._copier.copy(directory, name, self._seen(found, local=local), fd, new)

    def _tree(self, source: CopySource, target: str) -> None:
        fd, made = self.directory(target)
        try:
            times: list[tuple[bytes, Any]] = []
            if made:
                times.append((b"", self._seen(source.found, local=source.tree.local)))
            here, current = b"", os.dup(fd)
            try:
                for node in source.tree.walk(source.path, self._exclude):
                    above, _, name = node.path.rpartition(b"/")
                    if above != here:
                        os.close(current)
                        current = -1
                        here, current = above, open_beneath(fd, above)
                    if S_ISDIR(node.found.st_mode):
                        self._make(current, name, node.path)
                        times.append((node.path, self._seen(node.found, local=source.tree.local)))
                    elif not self._linked(node.found, fd, current, node.path, name):
                        self._file(node.directory, node.name, node.found, current, name, local=source.tree.local)
            finally:
                if current >= 0:
                    os.close(current)
            self._dress(source, fd, times)
        finally:
            os.close(fd)

    def _make(self, fd: int, name: bytes, path: bytes) -> None:
        try:
            os.mkdir(name, 0o755, dir_fd=fd)
        except OSError as error:
            if error.errno != EEXIST:
                raise
            if not S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                raise BuildError(f'"{os.fsdecode(path)}" is not a directory in the image, and a directory cannot'
                                 " replace it") from None

    def _linked(self, found: os.stat_result, root: int, fd: int, path: bytes, name: bytes) -> bool:
        """Whether the file was hard-linked to another name of it that has been copied."""
        if found.st_nlink < 2 or not S_ISREG(found.st_mode):
            return False
        key = (found.st_dev, found.st_ino)
        if key not in self._links:
            self._links[key] = path.rpartition(b"/")[::2]
            return False
        head, first = self._links[key]
        other = open_beneath(root, head)
        try:
            self._vacate(fd, name)
            os.link(first, name, src_dir_fd=other, dst_dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return False   # below another target
        finally:
            os.close(other)
        return True

    def _dress(self, source: CopySource, fd: int, times: list[tuple[bytes, Any]]) -> None:
        """Set owner, mode, attributes and times of directories, after all writes."""
        for path, seen in reversed(times):
            whole = source.path + b"/" + path if source.path and path else source.path or path
            old = source.tree.open(whole, _DIRECTORY)
            try:
                new = open_beneath(fd, path)
                try:
                    self._copier.dress(old, new, seen, path)
                finally:
                    os.close(new)
            finally:
                os.close(old)

    # ---- archives -------------------------------------------------------------------------------

    def _archive(self, source: CopySource, target: str) -> bool:
        """Whether the source was an archive, which has been unpacked below the target."""
        if not S_ISREG(source.found.st_mode):   # opening a device can have effects on the host
            return False
        fd = source.tree.open(source.path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            if not is_archive(os.pread(fd, _HEAD, 0)):
                return False
            directory = f"{self._scratch}/{len(os.listdir(self._scratch))}.unpacked"
            os.mkdir(directory, 0o755)
            tree = os.open(directory, _DIRECTORY | os.O_CLOEXEC)
            try:
                unpack(lambda count: os.read(fd, count), tree, owners=True, warn=self._warn)
                found = os.fstat(tree)
                self._tree(CopySource(Tree(tree, "the archive"), b"", b"", found), target)
            finally:
                os.close(tree)
        finally:
            os.close(fd)
        return True


def owner_of(text: str, root: int) -> tuple[int, int]:
    """The owner of --chown: by name or number; without a group, the group has the user's number."""
    try:
        user = find_user(text, root)
    except ImageError as error:   # its message names a configuration
        raise BuildError(str(error).replace("config.User", "--chown", 1)) from None
    return (user.uid, user.gid if ":" in text else user.uid)
