"""A cgroup and its sub-cgroups: listed, thawed, removed.

A container that may write to its cgroup can nest sub-cgroups deeper than PATH_MAX and than any recursion. So a walk has
one open directory, reads the sub-cgroups relative to it, and goes back by "..". Symbolic links are never followed.
"""

from __future__ import annotations

import os
from errno import ENODEV, ENOENT, ENOTSUP

from pyruntime.runtime.cgroups.host import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def processes(path: str, *, recursive: bool) -> list[int]:
    """The process IDs in a cgroup, with its sub-cgroups if ``recursive``; empty if it does not exist.

    A threaded v2 sub-cgroup returns EOPNOTSUPP: its processes are listed by its threaded root.
    """
    found: list[int] = []
    for place in walk(path) if recursive else (path,):
        try:
            found += [int(number) for number in read(place + "/cgroup.procs").split()]
        except OSError as error:
            if error.errno not in (ENOENT, ENODEV, ENOTSUP):
                raise
    return found


def visible(path: str) -> bool:
    """Whether the hierarchy of a cgroup is mounted in this mount namespace, even if the cgroup does not exist."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return os.path.exists(f"{path}/cgroup.procs")


def walk(path: str) -> Iterator[str]:
    """The paths of a cgroup and of its sub-cgroups, parents first. The path of a sub-cgroup goes through a descriptor,
    and is valid until the next step of the walk."""
    yield path
    for fd, entered in _steps(path):
        if entered:
            yield f"/proc/self/fd/{fd}"


def remove(path: str) -> str:
    """Remove a cgroup and its sub-cgroups, depth first; return the reason why ``path`` is still there, or ""."""
    names: list[str] = []
    for fd, entered in _steps(path, names):
        if not entered:
            try:
                os.rmdir(names.pop(), dir_fd=fd)
            except OSError:
                continue   # in use: then the parent cannot be removed either, and returns the reason
    try:
        os.rmdir(path)
    except OSError as error:
        return "" if error.errno in (ENOENT, ENODEV) else os.strerror(error.errno or 0)
    return ""


def _steps(path: str, names: list[str] | None = None) -> Iterator[tuple[int, bool]]:
    """Walk through the sub-cgroups: the open directory, and whether it was entered, or returned to from the sub-cgroup
    that ``names`` ends with. A cgroup that is removed meanwhile ends the walk of what was below it."""
    try:
        fd = os.open(path, _DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        waiting = [_subdirectories(fd)]   # for each level, the sub-cgroups that are still to be entered
        while True:
            if waiting[-1]:
                name = waiting[-1].pop()
                try:
                    child = os.open(name, _DIRECTORY, dir_fd=fd)
                except (FileNotFoundError, NotADirectoryError):
                    continue
                os.close(fd)
                fd = child
                if names is not None:
                    names.append(name)
                yield fd, True
                waiting.append(_subdirectories(fd))
            else:
                waiting.pop()
                if not waiting:
                    return
                parent = os.open("..", _DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = parent
                yield fd, False
    finally:
        os.close(fd)


def _subdirectories(fd: int) -> list[str]:
    try:
        with os.scandir(fd) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        if error.errno in (ENOENT, ENODEV):
            return []   # removed meanwhile
        raise
