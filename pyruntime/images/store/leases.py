"""Leases: content that a running command uses, protected from the garbage collection.

A lease is a file in STORE/leases that its process keeps locked, with a digest or a layer's key on each line. A command
adds content *before* it checks whether the content exists: the line is written under the store's shared lock, so a
garbage collection either has not begun to mark and reads the line, or has removed the content and the check fails. The
lease of an ended process is not locked, and void.

In a read-only store, the shared lock itself is the lease: the garbage collection waits for the reader.
"""
# ruff: noqa: SIM105 -- contextlib would slow down the start of commands

from __future__ import annotations

import errno
import os
from _thread import allocate_lock, get_native_id

from pyruntime.images.store.layout import Layout, abandoned, write_all
from pyruntime.system import files
from pyruntime.system.locks import Lock, hold


class Lease:
    """A context manager that several threads may enter repeatedly: the last exit ends the lease."""

    __slots__ = ("_depth", "_fd", "_held", "_keys", "_layout", "_mutex", "_path", "_pid")

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._mutex = allocate_lock()
        self._depth = 0
        self._fd = -1
        self._path = ""
        self._pid = 0
        self._keys: set[str] = set()
        self._held: Lock | None = None   # instead of a file, in a read-only store

    def __enter__(self) -> Lease:
        with self._mutex:
            self._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        with self._mutex:
            self._depth -= 1
            if self._depth == 0:
                self._end()

    def add(self, *keys: str) -> None:
        """Protect these digests and layers from the garbage collection. Raises HostError if the disk is full.

        No check of the store for this content may come before the call.
        """
        with self._mutex:
            new = set(keys) - self._keys
            if not new or self._held:
                return
            try:
                with self._layout.shared():
                    if self._fd < 0:
                        self._begin()
                    if not self._held:
                        write_all(self._fd, "".join(f"{key}\n" for key in sorted(new)).encode())
            except OSError as error:
                raise self._layout.failure(error, "taking a lease") from None
            self._keys |= new

    def _begin(self) -> None:
        """Create the lease under the shared lock: the garbage collection must not see the file unlocked."""
        number = 0
        while True:
            path = self._layout.below("leases", f"{os.getpid()}.{get_native_id()}.{number}")
            try:
                fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
                break
            except FileExistsError:   # of an ended process, or of the same pid in another pid namespace
                number += 1
            except OSError as error:
                if error.errno not in (errno.EROFS, errno.EACCES):
                    raise
                self._held = self._layout.shared().__enter__()
                return
        hold(fd)
        self._fd, self._path, self._pid = fd, path, os.getpid()

    def _end(self) -> None:
        self._keys.clear()
        if self._held:
            self._held.__exit__()
            self._held = None
        if self._fd >= 0:
            try:
                if os.getpid() == self._pid:   # a forked child must not end its parent's lease
                    os.unlink(self._path)
            except FileNotFoundError:
                pass   # the store has been removed: nothing is left to protect
            os.close(self._fd)
            self._fd = -1


def live(layout: Layout) -> tuple[set[str], list[str]]:
    """All content under lease, and the paths of void leases. To be called under the exclusive lock."""
    keys: set[str] = set()
    void = []
    for name in os.listdir(layout.below("leases")):
        path = layout.below("leases", name)
        fd = abandoned(path)
        if fd >= 0:
            os.close(fd)
            void.append(path)
            continue
        try:
            keys.update(files.read(path, 1 << 26).decode().split())
        except FileNotFoundError:
            pass   # its process has just removed it
    return keys, void
