"""Mounts that only one sandbox sees: they are never on the host, and cannot be left behind there.

For root they are made by a thread with a mount namespace of its own; without root, by the helper process.
"""

from __future__ import annotations

import os

from pyruntime.errors import HostError
from pyruntime.sandbox.apart import apart
from pyruntime.sandbox.host_errors import refused
from pyruntime.system import kernel
from pyruntime.system.uapi import CLONE_NEWNS, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOSUID, MS_PRIVATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


def call(function: Callable[..., Any], *args: Any, fds: Sequence[int] = (), base: int = -1) -> Any:
    """The result of ``function(*fds, *args)``, a function of a module, called where it may mount and nobody else sees
    that: in a copy of the mount namespace ``base``, or of this process's. Raises what the function raises, and
    HostError."""
    result, namespace = call_and_keep(function, *args, fds=fds, base=base)
    os.close(namespace)
    return result


def call_and_keep(function: Callable[..., Any], *args: Any, fds: Sequence[int] = (), base: int = -1
                  ) -> tuple[Any, int]:
    """As `call`, and a descriptor of the mount namespace in which that was: it exists while this is open."""
    if os.geteuid():
        from pyruntime.sandbox.helper import helper  # lazy: only without root

        return helper().call(function, args, fds, base)
    found: list[tuple[Any, int]] = []

    def work() -> None:
        result = function(*fds, *args)
        found.append((result, namespace_of_this_thread()))

    in_private_mounts(work, base)
    return found[0]


def namespace_of_this_thread() -> int:
    """A descriptor of its mount namespace."""
    return os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)


def bounded_files(path: str, size: int) -> None:
    """Mount a tmpfs of this size, in bytes; a file also takes one of size / 4096 inodes. Raises HostError."""
    try:
        os.makedirs(path, 0o700, exist_ok=True)
        kernel.mount_filesystem("tmpfs", path, [
            ("size", str(size)), ("nr_inodes", str(max(size >> 12, 1024))), ("mode", "0700")],
            MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)
    except OSError as error:
        raise refused(f'make the sandbox\'s files in "{path}"', error) from None


def in_private_mounts(work: Callable[[], None], base: int = -1) -> None:
    """As `apart`, and the thread has a mount namespace of its own, which ends with the thread and its programs. It
    begins as a copy of the process's, or of that of the descriptor ``base``. Raises HostError, too."""
    def run() -> None:
        try:
            if base >= 0:
                kernel.setns(base, CLONE_NEWNS)
            kernel.unshare(CLONE_NEWNS)
            kernel.set_propagation(MS_PRIVATE)
        except OSError as error:
            raise HostError(f"cannot make mounts for a sandbox: {error.strerror}: it needs CAP_SYS_ADMIN") from None
        work()

    apart(run)
