"""Root filesystems for user namespaces: files appear with the namespace's IDs, and are stored under their own.

The layers are mounted again with an ID mapping (mount_setattr(2), Linux 5.12; as layers of overlayfs 5.19), so
containers in all namespaces share them. A container's changes in an overlay's upper directory are stored under the
mapped IDs: overlayfs creates files there as the host's root, whose ID is not in such a mapping.
"""

from __future__ import annotations

import os

from pyruntime.errors import HostError
from pyruntime.system import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Mapping:
    """The IDs of a user namespace: lines of uid_map and gid_map, "INSIDE OUTSIDE COUNT" (user_namespaces(7))."""

    __slots__ = ("gids", "uids")

    def __init__(self, uids: Sequence[str], gids: Sequence[str]) -> None:
        self.uids = list(uids)
        self.gids = list(gids)

    def owner(self, uid: int, gid: int) -> tuple[int, int]:
        """The host's IDs of a user inside. Raises HostError if the user is not mapped."""
        return _outside(self.uids, uid), _outside(self.gids, gid)

    def reversed(self) -> Mapping:
        """The mapping that shows files with the namespace's IDs as the container's own."""
        return Mapping(*(["{1} {0} {2}".format(*line.split()) for line in lines] for lines in (self.uids, self.gids)))

    def tree(self, path: str, namespace: int) -> int:
        """A detached copy of a directory's mount in which files have the namespace's IDs. OSError."""
        tree = kernel.open_tree(path, clone=True, recursive=False)
        try:
            kernel.mount_idmap(tree, namespace, recursive=False)
        except BaseException:
            os.close(tree)
            raise
        return tree


def _outside(lines: list[str], inside: int) -> int:
    for line in lines:
        first, outside, count = map(int, line.split())
        if first <= inside < first + count:
            return outside + inside - first
    raise HostError(f"ID {inside} of the image is not mapped in the user namespace: use a larger range in"
                    " /etc/subuid and /etc/subgid")


class Mapped:
    """Directories mounted with mapped IDs at PLACE/0, PLACE/1, ... while the context lasts: long enough to pass them to
    overlayfs, which keeps its own mounts."""

    def __init__(self, mapping: Mapping, directories: Sequence[str], place: str) -> None:
        self._mapping = mapping
        self._directories = directories
        self._place = place

    def __enter__(self) -> list[str]:
        """The mount points. Raises HostError."""
        places: list[str] = []
        try:
            namespace = kernel.user_namespace(self._mapping.uids, self._mapping.gids)
            try:
                for number, path in enumerate(self._directories):
                    place = f"{self._place}/{number}"
                    os.makedirs(place, 0o700, exist_ok=True)
                    tree = self._mapping.tree(path, namespace)
                    try:
                        kernel.move_mount(tree, place)
                    finally:
                        os.close(tree)
                    places.append(place)
            finally:
                os.close(namespace)
        except OSError as error:
            self._unmount(places)
            raise HostError(f"cannot mount the image's layers for a user namespace: {error.strerror}") from None
        return places

    def __exit__(self, *_: object) -> None:
        self._unmount([f"{self._place}/{number}" for number in range(len(self._directories))])

    @staticmethod
    def _unmount(places: list[str]) -> None:
        for place in places:
            kernel.umount2(place, kernel.MNT_DETACH | kernel.UMOUNT_NOFOLLOW)


def show(mapping: Mapping, path: str, target: str) -> None:
    """Mount a directory at ``target`` so that its files have the namespace's IDs. Raises HostError."""
    try:
        namespace = kernel.user_namespace(mapping.uids, mapping.gids)
        try:
            tree = mapping.tree(path, namespace)
        finally:
            os.close(namespace)
        try:
            kernel.move_mount(tree, target)
        finally:
            os.close(tree)
    except OSError as error:
        raise HostError(f'cannot mount "{target}" for a user namespace: {error.strerror}') from None
