"""Locks of files (flock(2)). The kernel releases the lock of a process that is killed."""

from __future__ import annotations

import fcntl
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO


def hold(file: int | IO[bytes], *, shared: bool = False, wait: bool = True) -> None:
    """Lock an open file or directory until it is closed; ``shared`` and ``wait`` as in Lock. Raises OSError."""
    fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))


class Lock:
    """The lock of a file while the context lasts; the file is created if it is missing.

    ``shared``: several processes may hold the lock at once, none of them exclusively. ``wait``: without it, entering
    raises BlockingIOError if another process holds the lock. Never hold a lock while a program of the user's runs.
    """

    __slots__ = ("_shared", "_wait", "fd", "path")

    def __init__(self, path: str, *, shared: bool = False, wait: bool = True) -> None:
        self.path = path
        self._shared, self._wait = shared, wait
        self.fd = -1

    def __enter__(self) -> Lock:
        """Raises BlockingIOError, as described above, and OSError for a file that cannot be opened."""
        self.fd = os.open(self.path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            hold(self.fd, shared=self._shared, wait=self._wait)
        except BaseException:
            os.close(self.fd)
            self.fd = -1
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
