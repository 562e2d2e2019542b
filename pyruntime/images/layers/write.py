"""Writes tar archives for layers: the same entries give the same bytes, on every host and in every version.

Spec:   layer.md, pax(1)
Writes: ustar; a PAX header only for what ustar cannot express: long names, large numbers, times before 1970, extended
        attributes (SCHILY.xattr, sorted). IDs are numbers, names of users are empty, access times are never written.
        Times are whole seconds by default, like Docker's, so that the digest does not depend on the tool.

The caller determines the order of entries, which is part of the digest.
"""

from __future__ import annotations

from pyruntime.errors import LayerError
from pyruntime.images.layers.pax import MAX_COMPONENT, SECOND, shown
from pyruntime.images.layers.tar import BLOCK, CHARACTER, DIRECTORY, FILE, LINK, SYMLINK, TarEntry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_STEP = 256 << 10   # bytes of content at once
_MAX_SIZE, _MAX_ID, _MAX_DEVICE = 8 ** 11 - 1, 8 ** 7 - 1, 8 ** 7 - 1   # the maximum of the octal fields


class TarWriter:
    """Writes an archive by ``write``, piece by piece; ``size`` counts its bytes."""

    __slots__ = ("_subsecond", "_write", "size")

    def __init__(self, write: Callable[[bytes], object], *, subsecond: bool = False) -> None:
        self._write = write
        self._subsecond = subsecond
        self.size = 0

    def add(self, entry: TarEntry, read: Callable[[int], bytes] | None = None) -> None:
        """Write an entry. ``read(n)`` returns up to n bytes of content, b"" at the end; needed unless ``size`` is 0.

        Raises LayerError for an entry that no archive can hold, and if the content is shorter than ``entry.size``.
        """
        size = entry.size if entry.type == FILE else 0
        self._emit(self._head(entry, size))
        left = size
        while left:
            data = read(min(left, _STEP)) if read is not None else b""
            if not data:
                raise LayerError(f'"{shown(entry.name)}": {left} of {size} bytes are missing: was it changed while it'
                                 " was being read?", shown(entry.name))
            left -= len(data)
            self._emit(data)
        if size % 512:
            self._emit(bytes(-size % 512))

    def close(self) -> None:
        """Write the end of the archive."""
        self._emit(bytes(1024))

    def _emit(self, data: bytes) -> None:
        self._write(data)
        self.size += len(data)

    def _head(self, entry: TarEntry, size: int) -> bytes:
        """The entry's header, after a PAX header if it needs one."""
        name = entry.name + b"/" if entry.type == DIRECTORY and not entry.name.endswith(b"/") else entry.name
        records: dict[bytes, bytes] = {}
        prefix, short = _split(name)
        if len(short) > 100:
            records[b"path"] = name
        link = entry.link if entry.type in (LINK, SYMLINK) else b""
        if len(link) > 100:
            records[b"linkpath"] = link
        seconds, rest = divmod(entry.mtime, SECOND)
        if rest and self._subsecond:
            records[b"mtime"] = _fraction(entry.mtime)
        elif not 0 <= seconds <= _MAX_SIZE:
            records[b"mtime"] = b"%d" % seconds
        for field, number, limit in ((b"size", size, _MAX_SIZE), (b"uid", entry.uid, _MAX_ID),
                                     (b"gid", entry.gid, _MAX_ID)):
            if number > limit:
                records[field] = b"%d" % number
        if max(entry.device) > _MAX_DEVICE:
            raise LayerError(f'"{shown(name)}": a device number that no archive can hold', shown(name))
        for key, value in (entry.xattrs or {}).items():
            if b"=" in key or not key or len(key) > MAX_COMPONENT:
                raise LayerError(f'"{shown(name)}": no archive can hold an attribute of the name "{shown(key)}"',
                                 shown(name))
            records[b"SCHILY.xattr." + key] = value
        header = _header(entry, short[:100], prefix, link[:100], size, seconds)
        return _pax(name, records) + header if records else header


def _split(name: bytes) -> tuple[bytes, bytes]:
    """The name in ustar's form: a prefix of up to 155 bytes, and the rest after a slash."""
    if len(name) <= 100:
        return b"", name
    cut = name.find(b"/", len(name) - 101, 156) if len(name) <= 256 else -1
    if cut < 1 or cut == len(name) - 1:
        return b"", name
    return name[:cut], name[cut + 1:]


def _fraction(time: int) -> bytes:
    seconds, rest = divmod(abs(time), SECOND)
    return (b"-" if time < 0 else b"") + b"%d.%s" % (seconds, (b"%09d" % rest).rstrip(b"0"))


def _octal(value: int, width: int, limit: int) -> bytes:
    """An octal field; 0 if a PAX record has the value."""
    return b"%0*o\0" % (width - 1, value if 0 <= value <= limit else 0)


def _header(entry: TarEntry, name: bytes, prefix: bytes, link: bytes, size: int, seconds: int) -> bytes:
    major, minor = entry.device if entry.type in (CHARACTER, BLOCK) else (0, 0)
    header = b"".join((
        name.ljust(100, b"\0"), _octal(entry.mode & 0o7777, 8, _MAX_ID), _octal(entry.uid, 8, _MAX_ID),
        _octal(entry.gid, 8, _MAX_ID), _octal(size, 12, _MAX_SIZE), _octal(seconds, 12, _MAX_SIZE), b"        ",
        bytes((entry.type,)), link.ljust(100, b"\0"), b"ustar\00000", bytes(64), _octal(major, 8, _MAX_DEVICE),
        _octal(minor, 8, _MAX_DEVICE), prefix.ljust(155, b"\0"), bytes(12)))
    return b"%s%06o\0 %s" % (header[:148], sum(header), header[156:])


def _pax(name: bytes, records: dict[bytes, bytes]) -> bytes:
    """An extended header for the entry that follows."""
    text = b"".join(_record(key, value) for key, value in sorted(records.items()))
    entry = TarEntry(b"PaxHeaders/" + name.rstrip(b"/").rpartition(b"/")[2][:80], b"x"[0], mode=0o644)
    return _header(entry, entry.name, b"", b"", len(text), 0) + text + bytes(-len(text) % 512)


def _record(key: bytes, value: bytes) -> bytes:
    """A record; its length, at its beginning, includes the digits of the length."""
    size = len(key) + len(value) + 3
    total = size + len(str(size))
    total = size + len(str(total))
    return b"%d %s=%s\n" % (total, key, value)
