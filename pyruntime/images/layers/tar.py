"""Tar archives as layers have them: v7, ustar, GNU and PAX, read entry by entry from a stream.

Spec:   pax(1), the manual of GNU tar, layer.md
Reads:  long names in every way (ustar prefix, GNU L and K, PAX), base-256 numbers, times before 1970 and with
        fractions, extended attributes (SCHILY.xattr, LIBARCHIVE.xattr), sparse files. Names are bytes throughout.
Accepts: an archive without its end blocks, an empty one, and anything behind the end blocks.
Refuses: checksums that do not match, entries that are cut off, negative sizes, numbers that no system call takes, and
        anything that readers interpret differently (a global header that renames every entry,
        one lone zero block). Raises LayerError, nothing else.

What costs time is done once for each *distinct* value: mode and owner are three of a few hundred combinations.
"""

from __future__ import annotations

import zlib

from pyruntime.errors import LayerError
from pyruntime.images.layers import sparse
from pyruntime.images.layers.pax import (
    MAX_COMPONENT,
    MAX_HEADER,
    MAX_NAME,
    SECOND,
    about,
    attribute,
    decimal,
    number,
    records,
    shown,
    time,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.layers.stream import LayerStream

FILE, LINK, SYMLINK, CHARACTER, BLOCK, DIRECTORY, FIFO = b"0123456"
_V7_FILE, _CONTIGUOUS, _SPARSE = b"\x007S"
_LONG_LINK, _LONG_NAME, _LOCAL, _GLOBAL, _SOLARIS = b"KLxgX"
_EXTENSIONS = frozenset((_LONG_LINK, _LONG_NAME, _LOCAL, _GLOBAL, _SOLARIS))
_WITH_CONTENT = frozenset((FILE, _V7_FILE, _CONTIGUOUS, _SPARSE))
_KNOWN = frozenset((FILE, LINK, SYMLINK, CHARACTER, BLOCK, DIRECTORY, FIFO))
_ZERO = bytes(512)
_MAX_ID = (1 << 32) - 2        # one more is -1, which chown(2) takes as "leave it"
_MAX_SECONDS = 1 << 55         # of a time: a billion years, which still fit as nanoseconds
# Keys that a global header may not set, for all entries after it. Go's reader, and with it Docker,
# ignores global headers, GNU tar obeys them; so such an archive has two meanings.
_NEVER_GLOBAL = (b"path", b"linkpath", b"size", b"GNU.sparse.")


class TarEntry:
    """One entry: ``name`` and ``link`` as in the archive, ``mtime`` in nanoseconds, ``size`` of the file.

    ``type`` is FILE, LINK (hard), SYMLINK, CHARACTER, BLOCK, DIRECTORY or FIFO; ``device`` is (major, minor).
    ``pieces`` is the map of a sparse file; ``stored`` the number of its bytes in the archive.
    """

    __slots__ = ("device", "gid", "link", "mode", "mtime", "name", "pieces", "size", "stored", "type", "uid", "xattrs")

    def __init__(self, name: bytes, type: int = FILE, *, mode: int = 0o644, uid: int = 0, gid: int = 0, size: int = 0,
                 mtime: int = 0, link: bytes = b"", device: tuple[int, int] = (0, 0),
                 xattrs: dict[bytes, bytes] | None = None) -> None:
        self.name = name
        self.type = type
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.size = size
        self.mtime = mtime
        self.link = link
        self.device = device
        self.xattrs = xattrs
        self.stored = size
        self.pieces: list[tuple[int, int]] | None = None

    def __repr__(self) -> str:
        return (f"Entry({self.name!r}, {chr(self.type)!r}, mode={self.mode:o}, uid={self.uid}, gid={self.gid},"
                f" size={self.size}, mtime={self.mtime}, link={self.link!r}, xattrs={self.xattrs!r})")


class Reader:
    """The entries of an archive. ``read_content`` is for the entry that ``next`` returned last.

    ``headers`` counts every header, also extended ones: an archive may consist of nothing else.
    """

    __slots__ = ("_global", "_left", "_owners", "headers", "max_headers", "stream")

    def __init__(self, stream: LayerStream, max_headers: int = 1 << 62) -> None:
        self.stream = stream
        self.headers = 0
        self.max_headers = max_headers
        self._left = 0                                         # unread bytes of the entry, and padding
        self._global: dict[bytes, bytes] = {}
        self._owners: dict[bytes, tuple[int, int, int]] = {}   # mode, uid and gid of 24 bytes of header

    def content(self, size: int) -> bytes:
        """The next ``size`` bytes of the entry's content; at most ``stored`` in all."""
        self._left -= size
        return self.stream.take(size)

    def some(self, limit: int) -> tuple[int, int]:
        """The position in ``stream.data`` of the next bytes of content; at most ``limit`` of them."""
        start, stop = self.stream.some(limit)
        self._left -= stop - start
        return start, stop

    def next(self) -> TarEntry | None:
        """The next entry, or None at the end of the archive."""
        stream = self.stream
        if self._left:
            stream.skip(self._left)
            self._left = 0
        extension: _Extension | None = None
        while True:
            header = stream.block()
            if not header or header == _ZERO:
                self._end(header, extension)
                return None
            self.headers += 1
            if self.headers > self.max_headers:
                raise LayerError(f"more than the maximum of {self.max_headers} entries")
            stored = header[148:156]
            # adler32's low half is 1 + the sum of all bytes, in a tenth of the time of sum(). The field itself counts
            # as eight spaces.
            if zlib.adler32(header) & 0xFFFF != (number(stored, "checksum") + sum(stored) - 255) % 65521:
                self._signed(header)
            name = header[:100]
            try:
                if header[156] in _EXTENSIONS:
                    extension = extension or _Extension()
                    self._extend(extension, header)
                    continue
                entry = self._entry(header)
                if extension is not None or self._global:
                    self._amend(entry, extension or _Extension())
                name = entry.name
                return self._checked(entry, header)
            except LayerError as error:
                raise about(error, name) from None

    def _end(self, header: bytes, extension: _Extension | None) -> None:
        if extension is not None:
            raise LayerError("truncated archive: no entry follows an extended header")
        if header:
            second = self.stream.block()
            if second and second != _ZERO:
                raise LayerError("a lone zero block between entries: some readers would stop here, others go on")

    @staticmethod
    def _signed(header: bytes) -> None:
        """Some old writers sum signed bytes (tar(5)); no other checksum is valid."""
        rest = header[:148] + b"        " + header[156:]
        signed = sum(byte - 256 if byte > 127 else byte for byte in rest)
        if signed != number(header[148:156], "checksum"):
            raise LayerError(f'bad checksum in the header of "{shown(header[:100].partition(bytes(1))[0])}":'
                             " not a tar archive, or a damaged one")

    def _entry(self, header: bytes) -> TarEntry:
        owner = header[100:124]
        values = self._owners.get(owner)
        if values is None:
            values = (number(owner[:8], "mode") & 0o7777, number(owner[8:16], "uid"), number(owner[16:], "gid"))
            if len(self._owners) > 4096:   # hostile archives may have any number
                self._owners.clear()
            self._owners[owner] = values
        name = header[:100]
        if not name[99] or b"\0" in name:
            name = name[:name.index(0)]
        entry = TarEntry.__new__(TarEntry)
        entry.mode, entry.uid, entry.gid = values
        entry.name = name
        entry.type = kind = header[156]
        entry.size = entry.stored = number(header[124:136], "size")
        entry.mtime = number(header[136:148], "mtime") * SECOND
        entry.link = header[157:257].partition(b"\0")[0] if header[157] else b""
        entry.device = (0, 0)
        entry.xattrs = entry.pieces = None
        if header[345] and header[257:263] == b"ustar\0":
            prefix = header[345:476] if header[508:512] == b"tar\0" else header[345:500]   # star keeps times behind it
            entry.name = prefix.partition(b"\0")[0] + b"/" + entry.name
        if kind in (CHARACTER, BLOCK):
            entry.device = (number(header[329:337], "device"), number(header[337:345], "device"))
        return entry

    def _extend(self, extension: _Extension, header: bytes) -> None:
        """Read one extended header: of PAX for the next entry or for all, or a long name of GNU."""
        size = number(header[124:136], "size of an extended header")
        if not 0 <= size <= MAX_HEADER:
            raise LayerError(f"extended header of {size} bytes; the limit is {MAX_HEADER}")
        data = self.stream.take(size + -size % 512)[:size]
        kind = header[156]
        if kind == _LONG_NAME:
            extension.name = data.partition(b"\0")[0]
        elif kind == _LONG_LINK:
            extension.link = data.partition(b"\0")[0]
        elif kind == _GLOBAL:
            self._extend_all(records(data))
        else:
            extension.records = records(data)

    def _extend_all(self, found: list[tuple[bytes, bytes]]) -> None:
        for key, value in found:
            if key.startswith(_NEVER_GLOBAL):
                raise LayerError(f'a global extended header sets "{shown(key)}" of every entry after it; no tool that'
                                 " makes layers does so")
            self._global[key] = value
        if sum(len(key) + len(value) for key, value in self._global.items()) > MAX_HEADER:
            raise LayerError(f"global extended headers of more than {MAX_HEADER} bytes")

    def _amend(self, entry: TarEntry, extension: _Extension) -> None:
        """Apply extended headers. An empty value cancels a record, but is a valid value of an attribute."""
        keys = {**self._global, **dict(extension.records)}
        for key, value in keys.items():
            found = attribute(key, value)
            if found is not None:
                entry.xattrs = entry.xattrs or {}
                if key.startswith(b"SCHILY.") or found[0] not in entry.xattrs:
                    entry.xattrs[found[0]] = found[1]
            elif not value:
                continue
            elif key == b"path":
                entry.name = value
            elif key == b"linkpath":
                entry.link = value
            elif key == b"size":
                entry.size = entry.stored = decimal(value, "size")
            elif key == b"mtime":
                entry.mtime = time(value, "mtime")
            elif key == b"uid":
                entry.uid = decimal(value, "uid")
            elif key == b"gid":
                entry.gid = decimal(value, "gid")
        entry.name = extension.name or entry.name
        entry.link = extension.link or entry.link
        if any(key.startswith(b"GNU.sparse.") for key in keys) and entry.type in _WITH_CONTENT:
            self._sparse(entry, extension.records, keys)

    def _sparse(self, entry: TarEntry, found: list[tuple[bytes, bytes]], keys: dict[bytes, bytes]) -> None:
        entry.name = keys.get(b"GNU.sparse.name") or entry.name
        version = (keys.get(b"GNU.sparse.major", b"0"), keys.get(b"GNU.sparse.minor", b"0"))
        if version == (b"1", b"0"):
            entry.size = decimal(keys.get(b"GNU.sparse.realsize", b""), "GNU.sparse.realsize")
            entry.pieces = []   # precedes the content, which must not be read before the other checks
        elif version[0] == b"0":
            described = sparse.from_records(found, keys, entry.stored)
            if described is not None:
                entry.size, entry.pieces = described
                sparse.check(entry.size, entry.pieces, entry.stored)
        else:
            raise LayerError(f'sparse file of the unknown format "{shown(version[0])}.{shown(version[1])}"')

    def _checked(self, entry: TarEntry, header: bytes) -> TarEntry:
        """The entry, verified for the applier."""
        name, kind = entry.name, entry.type
        if kind not in _WITH_CONTENT:
            entry.size = entry.stored = 0   # as in Go: the size of a directory or a link has no meaning
        if entry.stored < 0 or entry.size < 0:
            raise LayerError(f"negative size {min(entry.stored, entry.size)}")
        self._left = entry.stored + -entry.stored % 512
        if kind == _SPARSE:
            self._old_sparse(entry, header)
        elif entry.pieces == [] and entry.stored:   # format 1.0
            left, pieces = sparse.from_content(self.stream, entry.stored)
            self._left -= entry.stored - left
            entry.stored = left
            # GNU tar pads the map to whole blocks, and the last piece may be empty at the end of the file.
            entry.pieces = sparse.check(entry.size, pieces, left)
        if kind not in _KNOWN:
            if kind == _V7_FILE and name.endswith(b"/"):
                entry.type = DIRECTORY
            elif kind in _WITH_CONTENT:
                entry.type = FILE
            else:
                raise LayerError(f"unknown type {chr(kind)!r}")
        if len(name) > MAX_COMPONENT:
            _check_length(name)
        if b"\0" in name or b"\0" in entry.link:
            raise LayerError("a NUL within a name")
        if not name:
            raise LayerError("an entry without a name")
        if len(entry.link) > MAX_NAME:
            raise LayerError(f"the target of a link has {len(entry.link)} bytes; the maximum is {MAX_NAME}")
        if not (0 <= entry.uid <= _MAX_ID and 0 <= entry.gid <= _MAX_ID):
            raise LayerError(f"owner {entry.uid}:{entry.gid} is outside of the range 0 to {_MAX_ID}")
        if not -_MAX_SECONDS * SECOND <= entry.mtime <= _MAX_SECONDS * SECOND:
            raise LayerError(f"modification time {entry.mtime // SECOND} is out of range")
        return entry

    def _old_sparse(self, entry: TarEntry, header: bytes) -> None:
        entry.size, pieces = sparse.old(header, self.stream)
        if entry.size < 0:
            raise LayerError(f"negative size {entry.size}")
        entry.pieces = sparse.check(entry.size, pieces, entry.stored)


class _Extension:
    """The values of extended headers for the next entry."""

    __slots__ = ("link", "name", "records")

    def __init__(self) -> None:
        self.name = b""
        self.link = b""
        self.records: list[tuple[bytes, bytes]] = []


def _check_length(name: bytes) -> None:
    if len(name) > MAX_NAME:
        raise LayerError(f"a name of {len(name)} bytes; the maximum is {MAX_NAME}")
    longest = max(map(len, name.split(b"/")))
    if longest > MAX_COMPONENT:
        raise LayerError(f"a component of {longest} bytes in a name; the maximum is {MAX_COMPONENT}")
