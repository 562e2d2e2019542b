"""Mounts that only one thread sees, and what it starts: they are never on the host, and cannot be left behind there."""

from __future__ import annotations

from threading import Thread

from pyruntime.errors import HostError
from pyruntime.system import kernel
from pyruntime.system.uapi import CLONE_NEWNS, MS_PRIVATE, MS_REC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def in_private_mounts(work: Callable[[], None]) -> None:
    """Call ``work`` in a thread that has a mount namespace of its own, which ends with the thread and its programs.
    Raises what ``work`` raises, and HostError."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            try:
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
    if failures:
        raise failures[0]
