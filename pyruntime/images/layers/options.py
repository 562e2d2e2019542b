"""How layers are extracted and merged, what is too much, and what came of it."""

from __future__ import annotations

from errno import EDQUOT, ENOSPC

from pyruntime.errors import HostError, LayerError
from pyruntime.images.layers.pax import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SHOWN = 3   # warnings of one kind that are told in full; a layer can cause millions


class Limits:
    """What a layer may come to; the defaults are beyond any layer that is meant well.

    ``bytes``    of the uncompressed archive, and of its files as they appear (a sparse file costs nothing to write)
    ``entries``  headers in the archive, and directories that they ask for: one needs half a kilobyte of memory
    ``ratio``    uncompressed to compressed bytes; gzip cannot reach 1100
    ``memory``   bytes of what is kept to the end: paths and attributes of directories, targets of links, whiteouts
    """

    __slots__ = ("bytes", "entries", "memory", "ratio")

    def __init__(self, bytes: int = 256 << 30, entries: int = 2_000_000, ratio: int = 1100,
                 memory: int = 512 << 20) -> None:
        self.bytes = bytes
        self.entries = entries
        self.ratio = ratio
        self.memory = memory


class Options:
    """Who extracts, and for whom.

    ``privileged``   real root in the initial user namespace: what it cannot do is an error, not a note
    ``userxattr``    overlayfs will be mounted with userxattr: user.overlay.* instead of trusted.overlay.*
    ``uid, gid``     from an id in the archive to the one on disk, None for one that is not mapped; None: as they are
    ``warn``         is told what was left out, one line each
    """

    __slots__ = ("_told", "gid", "privileged", "uid", "userxattr", "warn")

    def __init__(self, *, privileged: bool = True, userxattr: bool = False,
                 uid: Callable[[int], int | None] | None = None, gid: Callable[[int], int | None] | None = None,
                 warn: Callable[[str], None] | None = None) -> None:
        self.privileged = privileged
        self.userxattr = userxattr
        self.uid = uid
        self.gid = gid
        self.warn = warn
        self._told: dict[str, int] = {}

    @property
    def opaque(self) -> bytes:
        """The name of the attribute of an opaque directory."""
        return b"user.overlay.opaque" if self.userxattr else b"trusted.overlay.opaque"

    def note(self, kind: str, text: str) -> None:
        """Warn of something; after a few of one kind they are only counted."""
        count = self._told[kind] = self._told.get(kind, 0) + 1
        if self.warn is not None and count <= _SHOWN:
            self.warn(text)

    def notes_done(self) -> None:
        """Tell how many warnings were not told in full."""
        for kind, count in self._told.items():
            if self.warn is not None and count > _SHOWN:
                self.warn(f"{count - _SHOWN} more like this: {kind}")
        self._told.clear()

    def owner(self, uid: int, gid: int) -> tuple[int, int]:
        """The ids on disk; raises LayerError for one that is not mapped."""
        found = (self.uid(uid) if self.uid else uid, self.gid(gid) if self.gid else gid)
        if found[0] is None or found[1] is None:
            kind, number, file = ("uid", uid, "subuid") if found[0] is None else ("gid", gid, "subgid")
            raise LayerError(f"belongs to {kind} {number}, which is not mapped: give this user a larger range in"
                             f" /etc/{file}, or ignore the owners of files")
        return found[0], found[1]


class Extracted:
    """What came of a layer.

    ``diff_id``      digest of the uncompressed stream to its last byte, for the caller to compare (config.md)
    ``size``         of that stream, in bytes
    ``usage``        bytes on disk, estimated in blocks of 4 KiB
    ``entries``      in the archive
    ``implicit``     directories that were made since an entry's parent was missing, b"" for the root; parents first
    ``lower_links``  hard links whose target is in no entry before them: path, target
    ``whiteouts``    in the directory; those of nothing are for complete() to remove
    ``hides_all``    the root is opaque, which overlayfs does not know of: complete() makes whiteouts of it
    """

    __slots__ = ("diff_id", "entries", "hides_all", "implicit", "lower_links", "size", "usage",
                 "whiteouts")

    def __init__(self) -> None:
        self.diff_id = ""
        self.size = self.usage = self.entries = 0
        self.implicit: list[bytes] = []
        self.lower_links: list[tuple[bytes, bytes]] = []
        self.whiteouts: list[bytes] = []
        self.hides_all = False

    @property
    def alone(self) -> bool:
        """Whether complete() has nothing to do: the directory is the same on top of whatever layers."""
        return not (self.implicit or self.lower_links or self.whiteouts or self.hides_all)


def system_error(error: OSError, name: bytes) -> HostError | LayerError:
    """What to raise where a system call failed for an entry: a full disk is not the layer's fault."""
    if error.errno in (ENOSPC, EDQUOT):
        return HostError(f'"{shown(name)}": cannot be written: {error.strerror}: free some space, then try again')
    return LayerError(f'"{shown(name)}": cannot be made: {error.strerror}', shown(name))
