"""Copies of directories of any depth, with all that overlayfs needs of them."""

from __future__ import annotations

import os
from contextlib import contextmanager
from errno import ENOSPC
from stat import S_IMODE, S_ISDIR

from pyruntime.errors import HostError, words
from pyruntime.images.layers.copying import Copier
from pyruntime.images.store.trees import walk
from pyruntime.sandbox.host_errors import refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_OPAQUE = "trusted.overlay.opaque", "user.overlay.opaque"   # with root, and without


def copy_tree(source: str, target: str, remedy: str = "give a larger limit of disk") -> None:
    """Copy the content of a directory, with owners, modes, times and whiteouts. Raises HostError; if there is no room,
    with the ``remedy``."""
    try:
        with opened(source) as old, opened(target) as new:
            _copy(old, new, Copier(lambda path, name, words: None))
    except OSError as error:
        if error.errno == ENOSPC:
            raise HostError(f"cannot copy the sandbox's files: {words(error)}: {remedy}") from None
        raise refused("copy the sandbox's files", error) from None


def _copy(source: int, target: int, copier: Copier) -> None:
    new = os.dup(target)   # of the directory where the walk is

    def go(name: str) -> None:
        nonlocal new
        with opened(name, new) as fd:
            os.dup2(fd, new, inheritable=False)

    def enter(old: int, name: str) -> list[str]:
        if name:
            os.mkdir(name, 0o700, dir_fd=new)
            go(name)
        below = []
        for text in os.listdir(old):
            found = os.lstat(text, dir_fd=old)
            if S_ISDIR(found.st_mode):
                below.append(text)
            else:
                copier.copy(old, os.fsencode(text), found, new, os.fsencode(text))
        return below

    def leave(above: int, name: str) -> None:
        with opened(name, above) as old:
            copier.dress(old, new, os.fstat(old), os.fsencode(name))
            for attribute in set(_OPAQUE) & set(os.listxattr(old)):
                os.setxattr(new, attribute, os.getxattr(old, attribute))
        go("..")

    try:
        walk(os.dup(source), enter, leave)
    finally:
        os.close(new)


def dress_like(source: str, target: str) -> None:
    """Give a directory the owner and the mode of another one."""
    found = os.stat(source)
    os.chown(target, found.st_uid, found.st_gid)
    os.chmod(target, S_IMODE(found.st_mode))


@contextmanager
def opened(path: str | bytes, directory: int | None = None) -> Iterator[int]:
    """A descriptor of a directory; of a name in the open ``directory``, if that is given."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW * (directory is not None) | os.O_CLOEXEC,
                 dir_fd=directory)
    try:
        yield fd
    finally:
        os.close(fd)
