"""Users and groups of a root filesystem, by name or number (config.md `User`, passwd(5), group(5)).

The files belong to the image: they are opened only inside its root, and read up to a limit. Anything but a regular file
is not opened at all: opening a device can have effects on the host.
"""

from __future__ import annotations

import os
from stat import S_ISREG

from pyruntime.errors import ImageError
from pyruntime.system import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LIMIT = 4 << 20
_IDS = 1 << 32


class ImageUser:
    """The user of a process.

    ``groups``  the supplementary groups, each once, the primary group first: a set-group-ID program replaces its
                process's primary group, which would then escape from files that deny access to it (CVE-2022-36109)
    ``home``    "" if the image has no entry for the user
    """

    __slots__ = ("gid", "groups", "home", "name", "uid")

    def __init__(self, uid: int, gid: int, groups: Iterable[int] = (), name: str = "", home: str = "") -> None:
        self.uid = uid
        self.gid = gid
        self.groups = list(dict.fromkeys([gid, *groups]))
        self.name = name
        self.home = home


def find_user(text: str, root: int) -> ImageUser:
    """The user that ``text`` means in the root filesystem behind the descriptor ``root``.

    Forms: ``user``, ``uid``, ``user:group``, ``uid:gid``, ``uid:group``, ``user:gid``; empty is 0:0. Numbers need no
    entry. Without a group, the user's groups in /etc/group are added, by name or by number (config.md#properties,
    User). Raises ImageError for a name without an entry.
    """
    who, _, group = text.partition(":")
    entry = _passwd(root, who or "0")
    if entry is None and who and not _numeric(who):
        raise ImageError(f'config.User: "{text}": the image\'s /etc/passwd has no user "{who}"', "config.User")
    uid = entry[1] if entry else _number(who or "0", text)
    gid = entry[2] if entry else 0
    name, home = (entry[0], entry[3]) if entry else ("", "")
    if group:
        return ImageUser(uid, _group(root, group, text), name=name, home=home)
    return ImageUser(uid, gid, [number for _, number, members in _groups(root) if name and name in members], name, home)


def find_group(text: str, root: int) -> int:
    """The group ID of a name or a number in a root filesystem. Raises ImageError for a name without an entry."""
    return _group(root, text, text)


def _numeric(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _number(text: str, whole: str) -> int:
    if not _is_id(text):
        raise ImageError(f'config.User: "{whole:.100}": {text:.20} is more than {_IDS - 2}, the largest ID',
                         "config.User")
    return int(text)


def _is_id(text: str) -> bool:
    return _numeric(text) and len(text) <= len(str(_IDS)) and int(text) < _IDS - 1   # -1 is no ID to the kernel


def _passwd(root: int, who: str) -> tuple[str, int, int, str] | None:
    column = 2 if _numeric(who) else 0
    for fields in _lines(root, b"etc/passwd"):
        if len(fields) >= 6 and who == fields[column] and _is_id(fields[2]) and _is_id(fields[3]):
            return fields[0], int(fields[2]), int(fields[3]), fields[5]
    return None


def _groups(root: int) -> Iterator[tuple[str, int, list[str]]]:
    for fields in _lines(root, b"etc/group"):
        if len(fields) >= 3 and _is_id(fields[2]):
            yield fields[0], int(fields[2]), fields[3].split(",") if len(fields) > 3 else []


def _group(root: int, group: str, whole: str) -> int:
    if _numeric(group):   # even if a group has this name: it may have another number (CVE-2016-3697)
        return _number(group, whole)
    for name, number, _ in _groups(root):
        if group == name:
            return number
    raise ImageError(f'config.User: "{whole}": the image\'s /etc/group has no group "{group}"', "config.User")


def _lines(root: int, path: bytes) -> Iterator[list[str]]:
    try:
        there = kernel.openat2(path, os.O_PATH, dir_fd=root,
                               resolve=kernel.RESOLVE_IN_ROOT | kernel.RESOLVE_NO_MAGICLINKS)
    except OSError:
        return   # without the file, only numbers are valid
    try:
        if not S_ISREG(os.fstat(there).st_mode):
            return
        with open(f"/proc/self/fd/{there}", "rb") as file:
            data = file.read(_LIMIT)
    finally:
        os.close(there)
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        if line and not line.startswith("#") and "\0" not in line:
            yield line.split(":")
