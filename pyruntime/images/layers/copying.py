"""Copies files between trusted directories: content, owner, attributes, mode and times.

Content is shared if the filesystem supports it (FICLONE), else copied in the kernel (copy_file_range(2)), else by read
and write; holes are kept. The source is the local store, and names are single components in open directories.
"""

from __future__ import annotations

import os
from errno import EBADF, EINVAL, ENOSYS, ENOTTY, ENXIO, EOPNOTSUPP, EXDEV
from fcntl import ioctl
from stat import S_IMODE, S_ISLNK, S_ISREG

from pyruntime.images.layers import xattrs
from pyruntime.system.uapi import FICLONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_CANNOT = frozenset((EBADF, EINVAL, ENOSYS, ENOTTY, EOPNOTSUPP, EXDEV))
_SMALL = 64 << 10           # bytes that are copied fastest by read and write
_STEP = 64 << 20            # bytes of copy_file_range(2) at once


class Copier:
    """Copies nodes; remembers what the two filesystems do not support.

    ``skipped(path, attribute, words)`` is called for extended attributes that could not be set.
    """

    __slots__ = ("_clone", "_range", "skipped")

    def __init__(self, skipped: Callable[[bytes, bytes, str], None]) -> None:
        self.skipped = skipped
        self._clone = self._range = True

    def copy(self, source: int, name: bytes, found: os.stat_result, target: int, new: bytes) -> None:
        """Create ``new`` in ``target`` as a copy of ``name`` in ``source``, which is not a directory; ``found`` is its
        lstat."""
        if S_ISREG(found.st_mode):
            self._file(source, name, found, target, new)
            return
        if S_ISLNK(found.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), new, dir_fd=target)
        else:
            os.mknod(new, found.st_mode & ~0o7777 | 0o600, found.st_rdev, dir_fd=target)
        os.chown(new, found.st_uid, found.st_gid, dir_fd=target, follow_symlinks=False)
        kept = xattrs.read(xattrs.own_path(source, name))
        xattrs.write(xattrs.own_path(target, new), kept, lambda key, words: self.skipped(name, key, words))
        if not S_ISLNK(found.st_mode):
            os.chmod(new, S_IMODE(found.st_mode), dir_fd=target)
        os.utime(new, ns=(found.st_mtime_ns, found.st_mtime_ns), dir_fd=target, follow_symlinks=False)

    def _file(self, source: int, name: bytes, found: os.stat_result, target: int, new: bytes) -> None:
        # Not blocking: the open would wait 45 s for a program that has a lease of its file (fcntl(2), F_SETLEASE).
        old = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source)
        try:
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600,
                         dir_fd=target)
            try:
                self.content(old, fd, found.st_size)
                self.dress(old, fd, found, name)
            finally:
                os.close(fd)
        finally:
            os.close(old)

    def dress(self, old: int, fd: int, found: os.stat_result, name: bytes) -> None:
        """Copy owner, attributes, mode and times of an open file or directory, in the order that keeps all."""
        os.fchown(fd, found.st_uid, found.st_gid)
        xattrs.replace(fd, xattrs.read(old), lambda key, words: self.skipped(name, key, words))
        os.fchmod(fd, S_IMODE(found.st_mode))
        os.utime(fd, ns=(found.st_mtime_ns, found.st_mtime_ns))

    def content(self, old: int, fd: int, size: int) -> None:
        """Copy the first ``size`` bytes of an open file to an empty one."""
        if size == 0:
            return
        if self._clone:
            try:
                ioctl(fd, FICLONE, old)
                return
            except OSError as error:
                if error.errno not in _CANNOT:
                    raise
                self._clone = False
        if size <= _SMALL:
            data = os.read(old, size)
            if len(data) == size and os.write(fd, data) == size:
                return
        self._data(old, fd, size)

    def _data(self, old: int, fd: int, size: int) -> None:
        start = 0
        while start < size:
            try:
                start = os.lseek(old, start, os.SEEK_DATA)
                stop = min(os.lseek(old, start, os.SEEK_HOLE), size)
            except OSError as error:
                if error.errno == ENXIO:   # only a hole follows
                    break
                if error.errno != EINVAL:
                    raise
                stop = size   # a filesystem without holes
            while start < stop:
                start += self._run(old, fd, start, min(stop - start, _STEP))
        os.ftruncate(fd, size)

    def _run(self, old: int, fd: int, start: int, size: int) -> int:
        """Copy bytes at an offset; the number copied."""
        if self._range:
            try:
                count = os.copy_file_range(old, fd, size, start, start)
                if count:
                    return count
            except OSError as error:
                if error.errno not in _CANNOT:
                    raise
            self._range = False
        data = os.pread(old, min(size, 1 << 20), start)
        if not data:
            raise OSError(EINVAL, "the file was truncated while it was being copied")
        return os.pwrite(fd, data, start)
