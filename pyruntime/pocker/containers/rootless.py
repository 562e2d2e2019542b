"""Without root: all containers of a user share one user namespace, which every command enters.

The first command makes it (pyruntime.images.rootless: its root is the user, and the IDs of /etc/subuid follow) and
starts a process that keeps it; other commands join its user and mount namespaces (setns(2)). Files of its root user
belong to the user outside.

    RUN/namespace         pid and start time of that process, flock(1)
    RUN/namespace.users   flock'ed shared by every command and monitor until they end; the process that keeps the
                          namespace waits for an exclusive lock, which it gets when all have ended
"""

from __future__ import annotations

import os
from errno import ENOENT, ESRCH

from pyruntime.errors import HostError
from pyruntime.images import rootless
from pyruntime.system import kernel
from pyruntime.system.files import write
from pyruntime.system.json import decode, encode
from pyruntime.system.locks import Lock, hold
from pyruntime.system.processes import start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyruntime.pocker.directories import Directories

_NAMESPACES = (("user", 0x10000000), ("mnt", 0x00020000))   # linux/sched.h: CLONE_NEWUSER, CLONE_NEWNS


def enter(places: Directories, warn: Callable[[str], None]) -> None:
    """Become root in the user namespace; for processes without root, before they have threads. Raises HostError."""
    path = f"{places.below_run()}/namespace"
    with Lock(f"{path}.lock"):
        _use(places)
        if not _join(path):
            rootless.enter("", warn)
            _keep(path)


def _use(places: Directories) -> None:
    """Register as a user of the namespace until this process ends. Before the keeper is checked: it
    stays alive then."""
    fd = os.open(_users(places), os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    hold(fd, shared=True)   # waits while the keeper is ending


def _users(places: Directories) -> str:
    return f"{places.run}/namespace.users"


def uses(places: Directories, *, handed_on: bool) -> list[int]:
    """The descriptors that register this process as a user. ``handed_on``: they stay open on execve, for a monitor; a
    program that enters a container must not have them."""
    try:
        wanted = os.stat(_users(places))
    except FileNotFoundError:
        return []   # root uses no user namespace
    found = []
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            if os.path.samestat(os.fstat(fd), wanted):
                os.set_inheritable(fd, handed_on)
                found.append(fd)
        except OSError:
            continue   # the descriptor of the listing itself
    return found


def _join(path: str) -> bool:
    """Join the namespaces of the recorded process, if it is still alive."""
    try:
        with open(path, "rb") as file:
            pid, started = _holder(file.read(), path)
    except FileNotFoundError:
        return False
    if start_time(pid) != started:
        return False
    here = os.getcwd()
    fds: list[int] = []
    try:
        # Opened before the first setns(2), after which they may be inaccessible.
        for name, _ in _NAMESPACES:
            fds.append(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC))
        for fd, (_, kind) in zip(fds, _NAMESPACES, strict=True):
            kernel.setns(fd, kind)
        os.chdir(here)   # setns(2) of a mount namespace changes to its root, and paths may be relative
    except OSError as error:
        # It has ended just now; ENOENT and ESRCH: it is about to, and has no namespaces any more.
        if len(fds) < len(_NAMESPACES) and (error.errno in (ENOENT, ESRCH) or start_time(pid) != started):
            return False
        raise HostError(f"cannot join the user namespace of your containers, kept by process {pid}:"
                        f" {error.strerror}") from None
    finally:
        for fd in fds:
            os.close(fd)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    return True


def _holder(data: bytes, path: str) -> tuple[int, int]:
    value = decode(data, path)
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(entry, int) for entry in value):
        return 0, -1   # damaged: as if there was none
    return value[0], value[1]


def _keep(path: str) -> None:
    """Start a process that keeps the namespaces."""
    null = "/dev/null"
    actions: list[tuple[Any, ...]] = [(os.POSIX_SPAWN_OPEN, fd, null, os.O_RDWR, 0) for fd in (0, 1, 2)]
    # Inherited descriptors would stay open in the process.
    actions += [(os.POSIX_SPAWN_CLOSE, fd) for fd in map(int, os.listdir("/proc/self/fd")) if fd > 2 and _inherited(fd)]
    words = ["flock", "--exclusive", f"{path}.users", "true"]
    try:
        pid = os.posix_spawnp(words[0], words, os.environ, file_actions=actions, setsid=True)
    except OSError as error:
        raise HostError(f"cannot keep the user namespace of your containers: flock(1): {error.strerror}: install"
                        " util-linux") from None
    write(path, encode([pid, start_time(pid)]).encode())


def _inherited(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False   # the descriptor of the listing itself
