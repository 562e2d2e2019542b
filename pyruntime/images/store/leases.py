"""Leases: what a command at work is going to use, so that a gc beside it lets it be.

A lease is a file in STORE/leases that its process keeps flock'ed; it holds a digest or a layer's key a line. Whoever
wants content adds it *before* looking whether it is there: the line is written under the store's shared lock, so a gc
has either not begun to mark and will read it, or has removed the content and the look says so. The lease of a process
that died is not flock'ed, and void.

In a store that cannot be written, the lease is the shared lock itself, held for as long: gc waits for the reader.
"""
# ruff: noqa: SIM105 -- contextlib is too dear for commands that should start at once

from __future__ import annotations

import errno
import fcntl
import os
from _thread import allocate_lock, get_native_id

from pyruntime.images.store.layout import Layout, Lock, abandoned, write_all
from pyruntime.system import files


class Lease:
    """A context manager, to be entered as often as one likes and by several threads: the last to leave ends it."""

    __slots__ = ("_depth", "_fd", "_held", "_keys", "_layout", "_mutex", "_path", "_pid")

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._mutex = allocate_lock()
        self._depth = 0
        self._fd = -1
        self._path = ""
        self._pid = 0
        self._keys: set[str] = set()
        self._held: Lock | None = None   # instead of a file, where we cannot write one

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
        """Keep these digests and layers from gc. Raises HostError when the store is full.

        Nothing may be looked for before this has returned.
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
        """Under the shared lock: a gc must not find the file before it is locked."""
        number = 0
        while True:
            path = self._layout.below("leases", f"{os.getpid()}.{get_native_id()}.{number}")
            try:
                fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
                break
            except FileExistsError:   # of a dead process, or of one with our number in another pid namespace
                number += 1
            except OSError as error:
                if error.errno not in (errno.EROFS, errno.EACCES):
                    raise
                self._held = self._layout.shared().__enter__()
                return
        fcntl.flock(fd, fcntl.LOCK_EX)
        self._fd, self._path, self._pid = fd, path, os.getpid()

    def _end(self) -> None:
        self._keys.clear()
        if self._held:
            self._held.__exit__()
            self._held = None
        if self._fd >= 0:
            try:
                if os.getpid() == self._pid:   # a forked child leaves its parent's lease alone
                    os.unlink(self._path)
            except FileNotFoundError:
                pass   # somebody removed the store's directory; there is nothing left to protect
            os.close(self._fd)
            self._fd = -1


def live(layout: Layout) -> tuple[set[str], list[str]]:
    """Everything under lease, and the paths of void leases. To be called under the exclusive lock."""
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
            pass   # its process has just ended it
    return keys, void
