"""Opens directories by path below an open root, without symbolic links: for trees deeper than the limit of open files.

A walk keeps one directory open and returns to another by its path. openat2(2) resolves the path in one call that
refuses links and magic links; kernels before 5.6, and older seccomp profiles, get one call per component.
"""

from __future__ import annotations

import os
from errno import ENOENT, ENOSYS, ENOTDIR, EPERM
from stat import S_ISLNK, S_ISREG

from pyruntime.system import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LINKS = 40    # that the kernel follows in one path (path_resolution(7))
_IN_ROOT = kernel.RESOLVE_IN_ROOT | kernel.RESOLVE_NO_MAGICLINKS
_RESOLVE = kernel.RESOLVE_BENEATH | kernel.RESOLVE_NO_SYMLINKS | kernel.RESOLVE_NO_MAGICLINKS


def open_beneath(root: int, path: bytes) -> int:
    """Open the directory at a relative path; b"" is the root itself. Raises OSError: ELOOP for a link."""
    path = path or b"."
    try:
        return kernel.openat2(path, DIRECTORY, dir_fd=root, resolve=_RESOLVE)
    except OSError as error:
        if error.errno not in (ENOSYS, EPERM):
            raise
    here = os.open(b".", DIRECTORY, dir_fd=root)
    for part in path.split(b"/"):
        try:
            there = os.open(part, DIRECTORY, dir_fd=here)
        finally:
            os.close(here)
        here = there
    return here


def open_file(directory: int, name: bytes) -> int:
    """Open a regular file in an open directory for reading. Raises OSError: ENOENT if it is no longer a regular file.

    Opening a device can have effects, and opening a pipe can block: a process that changes the tree meanwhile could
    cause both. An O_PATH descriptor does neither, and stays with its inode.
    """
    node = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        if not S_ISREG(os.fstat(node).st_mode):
            raise FileNotFoundError(ENOENT, "it is no longer a regular file")
        # Not blocking, as in copying.py.
        return os.open(f"/proc/self/fd/{node}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(node)


def not_there(root: int, target: bytes) -> Iterator[bytes]:
    """The missing directories of a path; links are followed within the root, also to missing targets."""
    path: list[bytes] = []
    waiting, links = target.split(b"/")[::-1], 0
    while waiting and links < _LINKS:
        part = waiting.pop()
        if part in (b"", b"."):
            continue
        if part == b"..":
            path = path[:-1]
            continue
        whole = b"/".join((*path, part))
        try:
            fd = kernel.openat2(whole, os.O_PATH | os.O_NOFOLLOW, dir_fd=root, resolve=_IN_ROOT)
        except OSError as error:
            if error.errno not in (ENOENT, ENOTDIR):
                raise
            yield whole
            path.append(part)
            continue
        try:
            link = os.readlink(b"", dir_fd=fd) if S_ISLNK(os.fstat(fd).st_mode) else None
        finally:
            os.close(fd)
        if link is None:
            path.append(part)
            continue
        links += 1
        path = [] if link.startswith(b"/") else path
        waiting += link.split(b"/")[::-1]
