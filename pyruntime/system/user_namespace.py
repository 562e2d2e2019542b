"""The user namespace of this process: who is root in it, and which IDs it maps (user_namespaces(7))."""

from __future__ import annotations

import os

from pyruntime.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_ALL = (0, 0, 0xFFFFFFFF)   # the map of the initial user namespace: every ID is itself


def privileged() -> bool:
    """Whether this process is root of the initial user namespace: only then may it set trusted.* attributes and make
    device nodes."""
    return os.geteuid() == 0 and id_map("uid") == [_ALL]


def id_map(kind: str) -> list[tuple[int, int, int]]:
    """The ID map of this process's user namespace, as (inside, outside, count); ``kind`` is "uid" or "gid"."""
    fd = os.open(f"/proc/self/{kind}_map", os.O_RDONLY | os.O_CLOEXEC)
    try:
        lines = os.read(fd, 65536).decode().splitlines()
    finally:
        os.close(fd)
    return [(int(inside), int(outside), int(count)) for inside, outside, count in map(str.split, lines)]


def real_uid() -> int:
    """The user ID of this process outside of its user namespace: root of a namespace is the user who created it."""
    return next((outside + os.geteuid() - inside for inside, outside, count in id_map("uid")
                 if inside <= os.geteuid() < inside + count), os.geteuid())


def home() -> str:
    """The home directory of this process's user: HOME, or that of passwd(5), also as root of the user's namespace.
    Raises HostError."""
    if told := os.environ.get("HOME", ""):
        return told
    import pwd  # lazy: HOME is nearly always set

    try:
        return pwd.getpwuid(real_uid()).pw_dir
    except KeyError:
        raise HostError(f"the home directory of user {real_uid()} is unknown: set HOME, or add the user to /etc/passwd"
                        ) from None


def mapped(kind: str) -> Callable[[int], int | None]:
    """A function that returns an ID unchanged, or None if this user namespace does not map the ID."""
    ranges = [range(inside, inside + count) for inside, _, count in id_map(kind)]
    return lambda number: number if any(number in ids for ids in ranges) else None


def setgroups_denied() -> bool:
    """Whether setgroups(2) fails in this user namespace: only the user's own group is mapped."""
    with open("/proc/self/setgroups", "rb") as file:
        return file.read().strip() == b"deny"
