"""Files: replaced atomically, removed; directories in other mount namespaces."""

from __future__ import annotations

import os
from _thread import get_native_id
from errno import EDQUOT, ENOSPC, ESTALE

from pyruntime.errors import PyruntimeError


def forget(path: str) -> None:
    """Remove a file; a missing file is no error."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def read(path: str, limit: int = 1 << 20) -> bytes:
    """The content of a file, up to ``limit`` bytes. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while limit > 0 and (part := os.read(fd, min(limit, 1 << 20))):
            parts.append(part)
            limit -= len(part)
        return b"".join(parts)
    finally:
        os.close(fd)


def reopen(path: str, root: str = "") -> int:
    """A descriptor of the same directory in another mount namespace: in this thread's, if ``path`` is the descriptor of
    one (/proc/self/fd/N), or in that of the process with the root directory ``root`` (/proc/PID/root). Raises OSError,
    also if another directory has that path there."""
    # Links are resolved first: inside the root directory, an absolute one would lead elsewhere.
    fd = os.open(root + os.path.realpath(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if not os.path.samestat(os.fstat(fd), os.stat(path)):
        os.close(fd)
        raise OSError(ESTALE, "another directory has that path now", path)
    return fd


def replace(path: str, data: bytes, *, mode: int = 0o600, sync: bool = False) -> None:
    """Write a file atomically: readers see the old content or the new one. Raises OSError.

    The new content is written to ``PATH.TID.new`` and renamed. ``sync`` writes it to disk before the rename.
    """
    temporary = f"{path}.{get_native_id()}.new"
    try:
        try:
            _fill(temporary, data, os.O_CREAT | os.O_EXCL, mode, sync=sync)
        except FileExistsError:   # left by a process that was killed; O_EXCL follows no symbolic link (open(2))
            os.unlink(temporary)
            _fill(temporary, data, os.O_CREAT | os.O_EXCL, mode, sync=sync)
        os.rename(temporary, path)
    except OSError:
        try:  # noqa: SIM105 -- contextlib is too dear for the hot path
            os.unlink(temporary)
        except OSError:
            pass   # never created, or on a filesystem that has become read-only: the first error says why
        raise


def write(path: str, data: bytes, *, sync: bool = False) -> None:
    """Replace a file, and with ``sync`` write it to disk. Raises PyruntimeError.

    On a full disk the file is overwritten in place: otherwise a container that filled the disk could not be removed.
    """
    try:
        try:
            replace(path, data, sync=sync)
        except OSError as error:
            if error.errno not in (ENOSPC, EDQUOT) or not _has_room(path, len(data)):
                raise
            _fill(path, data, 0, 0, sync=sync)
    except OSError as error:
        raise PyruntimeError(f'cannot write "{path}": {error.strerror}') from None


def _fill(path: str, data: bytes, flags: int, mode: int, *, sync: bool) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | flags, mode)
    try:
        length = len(data)
        while data:   # write(2) to a disk that is nearly full takes a part
            data = data[os.write(fd, data):]
        os.ftruncate(fd, length)
        if sync:
            os.fdatasync(fd)
    finally:
        os.close(fd)


def _has_room(path: str, size: int) -> bool:
    """Whether a file occupies at least ``size`` bytes of the disk."""
    try:
        return os.stat(path).st_blocks * 512 >= size
    except FileNotFoundError:
        return False
