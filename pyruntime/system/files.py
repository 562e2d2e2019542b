"""Files: written whole or not at all, locked, removed."""

from __future__ import annotations

import fcntl
import os
from _thread import get_native_id
from errno import EDQUOT, ENOSPC

from pyruntime.errors import PyruntimeError


class Lock:
    """flock(2) of a file while the context lasts; who is killed lets go. Not held across a program of the user's."""

    __slots__ = ("_wait", "fd", "path")

    def __init__(self, path: str, *, wait: bool = True) -> None:
        self.path = path
        self._wait = wait
        self.fd = -1

    def __enter__(self) -> Lock:
        """Raises BlockingIOError where somebody has it and we do not want to wait."""
        self.fd = os.open(self.path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | (0 if self._wait else fcntl.LOCK_NB))
        except BaseException:
            os.close(self.fd)
            self.fd = -1
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def forget(path: str) -> None:
    """Remove a file; none is fine."""
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


def write(path: str, data: bytes, *, sync: bool = False) -> None:
    """Write a file, whole or not at all, and with ``sync`` to disk. Raises PyruntimeError.

    On a full disk what is there already is written over: otherwise a container that filled it could not be removed.
    """
    temporary = f"{path}.{get_native_id()}.new"
    try:
        try:
            _fill(temporary, data, os.O_CREAT | os.O_TRUNC, sync=sync)
            os.rename(temporary, path)
        except OSError as error:
            forget(temporary)
            if error.errno not in (ENOSPC, EDQUOT) or not _has_room(path, len(data)):
                raise
            _fill(path, data, 0, sync=sync)
    except OSError as error:
        raise PyruntimeError(f'cannot write "{path}": {error.strerror}') from None


def _fill(path: str, data: bytes, flags: int, *, sync: bool) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | flags, 0o600)
    try:
        length = len(data)
        while data:
            data = data[os.write(fd, data):]
        os.ftruncate(fd, length)
        if sync:
            os.fdatasync(fd)
    finally:
        os.close(fd)


def _has_room(path: str, size: int) -> bool:
    """Whether the file has as many bytes on the disk."""
    try:
        return os.stat(path).st_blocks * 512 >= size
    except FileNotFoundError:
        return False
