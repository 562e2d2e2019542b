"""Walks through trees of any depth, removes and counts them: images may nest directories beyond the length of any path.

One descriptor walks down by name and up by "..", so that neither Python's stack nor the number of open files is a
limit. Symbolic links are never followed, and no mount is entered: files of the host may be bind-mounted into a bundle.
A running container may rename directories during the walk, so that ".." leads elsewhere, even out of the tree: each
step up is compared with the way down.
"""

from __future__ import annotations

import os
from errno import ENOSYS, EPERM, ESTALE, EXDEV

from pyruntime.system import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SUBVOLUME = 256   # the inode of a subvolume's root (btrfs: BTRFS_FIRST_FREE_OBJECTID)


def walk(fd: int, enter: Callable[[int, str], list[str]], leave: Callable[[int, str], None]) -> None:
    """Walk through all directories below ``fd``, which is closed.

    ``enter(fd, name)`` is called for a directory ("": the first one) and returns the names of its subdirectories to
    enter; ``leave(fd, name)`` is called with the parent when a directory is done. OSError: ESTALE if a directory is
    moved meanwhile, EXDEV at a mount.
    """
    names: list[str] = []
    way: list[tuple[int, int]] = []   # the directories above, as they were on the way down
    try:
        todo = [enter(fd, "")]
        while todo:
            if todo[-1]:
                name = todo[-1].pop()
                below = _open(name, fd)
                way.append(_identity(fd))
                os.close(fd)
                fd = below
                names.append(name)
                todo.append(enter(fd, name))
                continue
            todo.pop()
            if names:
                above = os.open("..", _DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = above
                if _identity(fd) != way.pop():
                    raise OSError(ESTALE, "a directory was moved while it was being walked through")
                leave(fd, names.pop())
    finally:
        os.close(fd)


def _identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def _open(name: str, fd: int) -> int:
    try:
        return _enter(name, fd)
    except PermissionError:   # without privileges, a directory of mode 0 is opened by its owner after this only
        os.chmod(name, 0o700, dir_fd=fd)
        return _enter(name, fd)


def _enter(name: str, fd: int) -> int:
    try:
        return kernel.openat2(os.fsencode(name), _DIRECTORY, dir_fd=fd, resolve=kernel.RESOLVE_NO_XDEV)
    except OSError as error:
        if error.errno == EXDEV:
            raise OSError(EXDEV, f'a mount at "{name}" is in the way: unmount it first') from None
        if error.errno not in (ENOSYS, EPERM):   # kernels before 5.6, and seccomp profiles older than it
            raise
    return os.open(name, _DIRECTORY, dir_fd=fd)


def remove(path: str) -> None:
    """Remove a file or a tree; a missing one is no error. Raises OSError."""
    try:
        found = os.stat(path, follow_symlinks=False)
        if found.st_mode & 0o170000 != 0o040000:
            os.unlink(path)
            return
        if found.st_ino == _SUBVOLUME and _destroyed(path):
            return
        parent = os.open(os.path.dirname(path) or ".", _DIRECTORY)
    except FileNotFoundError:
        return
    try:
        clear(_open(os.path.basename(path), parent))
    finally:
        os.close(parent)
    os.rmdir(path)


def clear(fd: int) -> None:
    """Remove everything in a directory; ``fd`` is closed."""
    def empty(fd: int, _name: str) -> list[str]:
        below = []
        with os.scandir(fd) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.name)
                else:
                    os.unlink(entry.name, dir_fd=fd)
        return below

    walk(fd, empty, lambda fd, name: os.rmdir(name, dir_fd=fd))


def _destroyed(path: str) -> bool:
    """Whether it was a subvolume, which the kernel has removed at once."""
    from pyruntime.images.snapshots.subvolumes import destroy  # lazy: only on btrfs

    try:
        destroy(path)
    except OSError:   # not btrfs, or not permitted: removed file by file
        return False
    return True


def survey(path: str) -> tuple[int, int]:
    """The number of names in a tree, and the bytes of its regular files (hard links once)."""
    names = size = 0
    linked: set[int] = set()

    def count(fd: int, _name: str) -> list[str]:
        nonlocal names, size
        below = []
        with os.scandir(fd) as entries:
            for entry in entries:
                names += 1
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.name)
                elif entry.is_file(follow_symlinks=False):
                    found = entry.stat(follow_symlinks=False)
                    if found.st_nlink == 1 or found.st_ino not in linked:
                        size += found.st_size
                        if found.st_nlink > 1:
                            linked.add(found.st_ino)
        return below

    walk(os.open(path, _DIRECTORY), count, lambda _fd, _name: None)
    return names, size
