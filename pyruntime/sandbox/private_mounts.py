"""Mounts that only one thread sees, and what it starts: they are never on the host, and cannot be left behind there."""

from __future__ import annotations

import os
from threading import Thread

from pyruntime.errors import HostError
from pyruntime.system import kernel
from pyruntime.system.uapi import CLONE_FS, CLONE_NEWNS, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOSUID, MS_PRIVATE, MS_REC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def private_place(path: str, size: int) -> int:
    """A mount namespace in which ``path`` is an empty tmpfs of this size, in bytes; it exists while its descriptor is
    open. Raises HostError."""
    found: list[int] = []

    def make() -> None:
        bounded_files(path, size)
        found.append(os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC))

    in_private_mounts(make)
    return found[0]


def bounded_files(path: str, size: int) -> None:
    """Mount a tmpfs of this size, in bytes; a file also takes one of size / 4096 inodes. Raises HostError."""
    try:
        os.makedirs(path, 0o700, exist_ok=True)
        kernel.mount_filesystem("tmpfs", path, [
            ("size", str(size)), ("nr_inodes", str(max(size >> 12, 1024))), ("mode", "0700")],
            MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)
    except OSError as error:
        raise HostError(f"cannot make the sandbox's files: {error.strerror}") from None


def in_private_mounts(work: Callable[[], None], base: int = -1) -> None:
    """Call ``work`` in a thread that has a mount namespace of its own, which ends with the thread and its programs.
    It begins as a copy of the process's, or of that of the descriptor ``base``. Raises what ``work`` raises, and
    HostError."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            try:
                if base >= 0:
                    kernel.unshare(CLONE_FS)   # setns(2) requires it
                    kernel.setns(base, CLONE_NEWNS)
                kernel.unshare(CLONE_NEWNS)   # implies CLONE_FS: the other threads keep their working directory
                kernel.mount("none", "/", "none", MS_REC | MS_PRIVATE, "")
            except OSError as error:
                raise HostError(f"cannot make mounts for a sandbox: {error.strerror}: it needs CAP_SYS_ADMIN") from None
            work()
        except BaseException as error:
            failures.append(error)

    thread = Thread(target=run, name="pyruntime-sandbox")
    thread.start()
    thread.join()
    try:
        if failures:
            raise failures[0]
    finally:
        failures.clear()   # it is in the frames of the failure: all that they hold would wait for the garbage collector
