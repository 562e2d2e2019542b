"""The IDs of containers with a user namespace.

``userns`` of the settings is ``host`` (no user namespace), ``auto`` (65536 IDs that no other container has, from the
ranges of the user "pocker" or "containers" in /etc/subuid and /etc/subgid), or the name of a user whose whole ranges
are used. ROOT/ids/N is a symbolic link to ID.PID, the container that has the N-th 65536 IDs of ``auto`` and the process
that created it.
"""

from __future__ import annotations

import os

from pyruntime.errors import UsageError
from pyruntime.pocker.settings import IdMaps
from pyruntime.system.processes import start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.pocker.containers.container import Container, ContainerRecord
    from pyruntime.pocker.directories import Directories

IDS = 65536                   # of a user namespace of "auto"
AUTO_USERS = ("pocker", "containers")


def take_ids(places: Directories, record: ContainerRecord) -> None:
    """Choose the IDs of a container with a user namespace. Raises UsageError if no IDs are configured or left."""
    settings = record.settings
    if settings.userns != "auto":
        uids, gids = subordinate(settings.userns)
        record.settings = settings.replace(ids=IdMaps(uids=_lines(uids), gids=_lines(gids)))
        return
    ranges = next((found for user in AUTO_USERS if all(found := _both(user))), None)
    if ranges is None:
        raise UsageError(f'user namespace "auto": /etc/subuid and /etc/subgid have no IDs for "{AUTO_USERS[0]}": add a'
                         f' line "{AUTO_USERS[0]}:FIRST:COUNT" with unused IDs to both')
    pieces = [[one.first + start for one in kind for start in range(0, one.size - IDS + 1, IDS)] for kind in ranges]
    with places.lock("ids"):
        for number, (uid, gid) in enumerate(zip(*pieces, strict=False)):
            if _free(places, number):
                os.symlink(f"{record.id}.{os.getpid()}", f"{places.root}/ids/{number}")
                record.settings = settings.replace(ids=IdMaps(uids=[f"0 {uid} {IDS}"], gids=[f"0 {gid} {IDS}"]))
                return
    raise UsageError(f'user namespace "auto": all {min(map(len, pieces))} ranges of {IDS} IDs are in use: remove'
                     " containers, or add IDs to /etc/subuid and /etc/subgid")


def _free(places: Directories, number: int) -> bool:
    """Whether no container has the IDs of this number, and no process that is creating one."""
    link = f"{places.root}/ids/{number}"
    try:
        owner, _, maker = os.readlink(link).partition(".")
    except FileNotFoundError:
        return True
    if os.path.isdir(f"{places.root}/containers/{owner}") or start_time(int(maker)):
        return False
    os.unlink(link)
    return True


def give_ids(places: Directories, record: ContainerRecord) -> None:
    """Free the IDs of a container that is being removed."""
    with places.lock("ids"):
        for number in os.listdir(f"{places.root}/ids"):
            if number.isdecimal() and os.readlink(f"{places.root}/ids/{number}").startswith(f"{record.id}."):
                os.unlink(f"{places.root}/ids/{number}")


def own_files(container: Container, ids: IdMaps) -> None:
    """Give the container's hosts, resolv.conf and hostname to the root user of its user namespace. Raises HostError."""
    # lazy: only with a user namespace
    from pyruntime.images.snapshots.idmapped import Mapping
    from pyruntime.pocker.containers.etc_files import NAMES

    for name in NAMES:
        os.chown(f"{container.directory}/{name}", *Mapping(ids.uids, ids.gids).owner(0, 0))


def _lines(ranges: list[IdRange]) -> list[str]:
    lines, inside = [], 0
    for one in ranges:
        lines.append(f"{inside} {one.first} {one.size}")
        inside += one.size
    return lines


def _both(user: str) -> tuple[list[IdRange], list[IdRange]]:
    return _ranges("/etc/subuid", user), _ranges("/etc/subgid", user)


class IdRange:
    """Consecutive IDs of the host for a user namespace."""

    __slots__ = ("first", "size")

    def __init__(self, first: int, size: int) -> None:
        self.first = first
        self.size = size


def subordinate(user: str) -> tuple[list[IdRange], list[IdRange]]:
    """The ranges of a user in /etc/subuid and /etc/subgid (subuid(5)). Raises UsageError if there are none."""
    found = _both(user)
    for path, ranges in zip(("/etc/subuid", "/etc/subgid"), found, strict=True):
        if not ranges:
            raise UsageError(f'no line of {path} begins with "{user}:": give that user a range of IDs')
    return found


def _ranges(path: str, user: str) -> list[IdRange]:
    result = []
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                fields = line.strip().split(":")
                if len(fields) == 3 and fields[0] == user and fields[1].isdecimal() and fields[2].isdecimal():
                    result.append(IdRange(int(fields[1]), int(fields[2])))
    except FileNotFoundError:
        return []
    return result
