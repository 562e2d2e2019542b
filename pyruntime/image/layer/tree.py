"""Directories by path below an open root, without a symbolic link on the way: for trees deeper than descriptors last.

Whoever walks a tree keeps one directory open and comes back by its path. openat2(2) resolves it as one call that
refuses links and mounts of magic; kernels before 5.6, and seccomp profiles older than it, get one call per component.
"""

from __future__ import annotations

import os
from errno import ENOENT, ENOSYS, EPERM
from stat import S_ISREG

from pyruntime.native import kernel

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_RESOLVE = kernel.RESOLVE_BENEATH | kernel.RESOLVE_NO_SYMLINKS | kernel.RESOLVE_NO_MAGICLINKS


def open_beneath(root: int, path: bytes) -> int:
    """Open the directory at a relative path; b"" is the root itself. Raises OSError: ELOOP where a link is met."""
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
    """Open a regular file in an open directory to be read. Raises OSError: ENOENT where it is something else by now.

    To open a device is to do something with it, and to open a pipe is to wait: whoever may change the tree meanwhile
    could have us do so. A descriptor of O_PATH does neither, and stays with its inode.
    """
    node = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        if not S_ISREG(os.fstat(node).st_mode):
            raise FileNotFoundError(ENOENT, "it is no file any more")
        return os.open(f"/proc/self/fd/{node}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(node)
