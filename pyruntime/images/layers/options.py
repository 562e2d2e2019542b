"""Options, limits and results of extraction and merging."""

from __future__ import annotations

from errno import EDQUOT, ENOSPC

from pyruntime.errors import HostError, LayerError
from pyruntime.images.layers.pax import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SHOWN = 3   # warnings of one kind that are shown; a layer can cause millions


class LayerLimits:
    """Limits of a layer; the defaults are far beyond legitimate layers.

    ``bytes``    of the uncompressed archive, and of its files' apparent sizes (a sparse file costs nothing to write)
    ``entries``  headers in the archive, and directories that they imply: each needs half a kilobyte of memory
    ``ratio``    uncompressed to compressed bytes; gzip cannot reach 1100
    ``memory``   bytes kept to the end: paths and attributes of directories, targets of links, whiteouts
    """

    __slots__ = ("bytes", "entries", "memory", "ratio")

    def __init__(self, bytes: int = 256 << 30, entries: int = 2_000_000, ratio: int = 1100,
                 memory: int = 512 << 20) -> None:
        self.bytes = bytes
        self.entries = entries
        self.ratio = ratio
        self.memory = memory


class ExtractOptions:
    """The privileges of the extraction, and the owners of its files.

    ``privileged``   real root in the initial user namespace: what fails is an error, not a warning
    ``userxattr``    for overlayfs with userxattr: user.overlay.* instead of trusted.overlay.*
    ``uid, gid``     from an ID in the archive to the ID on disk, None for an unmapped one; None: IDs are kept
    ``warn``         called for everything that is skipped
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
        """Warn; after a few warnings of one kind they are only counted."""
        count = self._told[kind] = self._told.get(kind, 0) + 1
        if self.warn is not None and count <= _SHOWN:
            self.warn(text)

    def notes_done(self) -> None:
        """Warn about the number of warnings that were not shown."""
        for kind, count in self._told.items():
            if self.warn is not None and count > _SHOWN:
                self.warn(f"{count - _SHOWN} more like this: {kind}")
        self._told.clear()

    def owner(self, uid: int, gid: int) -> tuple[int, int]:
        """The IDs on disk; raises LayerError for an unmapped ID."""
        found = (self.uid(uid) if self.uid else uid, self.gid(gid) if self.gid else gid)
        if found[0] is None or found[1] is None:
            kind, number, file = ("uid", uid, "subuid") if found[0] is None else ("gid", gid, "subgid")
            raise LayerError(f"belongs to {kind} {number}, which is not mapped: use a larger range of IDs in"
                             f" /etc/{file}, or ignore the owners of files")
        return found[0], found[1]


class Extracted:
    """The result of an extraction.

    ``diff_id``      digest of the whole uncompressed stream, for the caller to compare (config.md)
    ``size``         of that stream, in bytes
    ``usage``        bytes on disk, estimated in blocks of 4 KiB
    ``entries``      in the archive
    ``implicit``     directories without an entry, created as parents, b"" for the root; parents first
    ``lower_links``  hard links without an earlier target in the archive: path, target
    ``whiteouts``    in the directory; complete() removes those that hide nothing
    ``hides_all``    the root is opaque, which overlayfs ignores: complete() converts it to whiteouts
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
        """Whether complete() has nothing to do: the directory is valid on top of any layers."""
        return not (self.implicit or self.lower_links or self.whiteouts or self.hides_all)


def system_error(error: OSError, name: bytes) -> HostError | LayerError:
    """The error for a failed system call at an entry: a full disk is not the layer's fault."""
    if error.errno in (ENOSPC, EDQUOT):
        return HostError(f'"{shown(name)}": cannot be written: {error.strerror}: free some space, then try again')
    return LayerError(f'"{shown(name)}": cannot be created: {error.strerror}', shown(name))
