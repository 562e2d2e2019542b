"""Reading and writing files of a sandbox, whose programs may have put anything in their places.

Names are resolved below the sandbox's root without following a symbolic link (openat2(2)), nothing but a regular file
is opened for reading or writing, and no more is read than the caller has asked for.
"""

from __future__ import annotations

import os
from contextlib import suppress
from errno import ELOOP
from stat import S_ISREG
from threading import Lock

from pyruntime.errors import SandboxFileError
from pyruntime.system import kernel

_entering = Lock()   # until a new directory is its user's, no other thread writes to it
os.register_at_fork(before=_entering.acquire, after_in_parent=_entering.release, after_in_child=_entering.release)
# A link could lead to /proc, where root's writes and reads have effects.
_RESOLVE = kernel.RESOLVE_BENEATH | kernel.RESOLVE_NO_MAGICLINKS | kernel.RESOLVE_NO_SYMLINKS


def read(root: int, path: str, limit: int) -> bytes:
    """The bytes of a regular file below the directory ``root``. Raises SandboxFileError: no such file, another kind of
    file, a symbolic link, more than ``limit`` bytes."""
    fd = -1
    try:
        # Opening a device, or a FIFO, can have effects or block: first its kind, then the file.
        place = kernel.openat2(_relative(path), os.O_PATH, dir_fd=root, resolve=_RESOLVE)
        try:
            if not S_ISREG(os.fstat(place).st_mode):
                raise SandboxFileError(f'"{path}" is not a regular file')
            fd = os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        finally:
            os.close(place)
        parts, size = [], 0
        while data := os.read(fd, min(1 << 20, limit + 1 - size)):
            parts.append(data)
            size += len(data)
            if size > limit:
                raise SandboxFileError(f'"{path}" has more than {limit} bytes: give a larger limit')
        return b"".join(parts)
    except OSError as error:
        raise _failure("read", path, error) from None
    finally:
        if fd >= 0:
            os.close(fd)


def write(root: int, path: str, data: bytes, *, mode: int, uid: int, gid: int) -> None:
    """Create or replace a regular file below ``root``; missing directories are created. Raises SandboxFileError."""
    *parents, name = _relative(path).split(b"/")
    place = os.dup(root)
    try:
        with _entering:
            for parent in parents:
                place = _enter(place, parent, uid, gid)
        # Not O_TRUNC: a FIFO or a device may be there, which is only known when it is open; it is not opened for that.
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=place)
        fd = kernel.openat2(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=place, resolve=_RESOLVE, mode=0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view):]
            os.fchown(fd, uid, gid)
            os.fchmod(fd, mode)
        finally:
            os.close(fd)
    except OSError as error:
        raise _failure("write", path, error) from None
    finally:
        os.close(place)


def _enter(place: int, name: bytes, uid: int, gid: int) -> int:
    """Open a directory in the directory ``place``, which is closed unless that fails; create it if it is missing."""
    try:
        found = kernel.openat2(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=place, resolve=_RESOLVE)
    except FileNotFoundError:
        os.mkdir(name, 0o755, dir_fd=place)
        found = kernel.openat2(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=place, resolve=_RESOLVE)
        # A program may have put another directory there, in a mount of the host one of root's.
        if os.listdir(found):
            os.close(found)
            raise SandboxFileError(f'the directory "{os.fsdecode(name)}" is busy: a program has replaced it') from None
        os.fchown(found, uid, gid)
        os.fchmod(found, 0o755)   # whatever our umask
    os.close(place)
    return found


def _relative(path: str) -> bytes:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not path.startswith("/") or not parts or ".." in parts or "\0" in path:
        raise SandboxFileError(f'"{path}": name a file by its absolute path in the sandbox, without ".."')
    return os.fsencode("/".join(parts))


def _failure(verb: str, path: str, error: OSError) -> SandboxFileError:
    reason = "a part of the name is a symbolic link" if error.errno == ELOOP else os.strerror(error.errno or 0).lower()
    return SandboxFileError(f'cannot {verb} "{path}" of the sandbox: {reason}')
