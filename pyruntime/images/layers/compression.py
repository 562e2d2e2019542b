"""Compression of layers: detected by the first bytes, decompressed as a stream, written reproducibly.

Spec:   layer.md (+gzip, +zstd), RFC 1952, RFC 8878
Reads:  gzip with any number of members, zstd with any number of frames and skippable frames between them
        (zstd:chunked), and uncompressed archives; for archives that are not layers also bzip2 and xz. The first bytes
        decide, not the media type: many layers are mislabelled, and no tar archive begins like gzip.
Guards: the caller's limit of bytes, a limit of the ratio (gzip's maximum is 1032:1, zstd has none), no zstd window
        above 128 MiB. No output buffer is larger than CHUNK: a bomb costs time, but no memory.

Raises LayerError for every error in the stream.
"""

from __future__ import annotations

import zlib

from pyruntime.errors import HostError, LayerError, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Buffer, Callable, Iterator  # type: ignore[attr-defined,unused-ignore]
    from typing import Any, Protocol

    class Writer(Protocol):
        """Takes content, returns compressed bytes; ``flush`` returns the last ones."""

        def compress(self, data: Buffer, /) -> bytes: ...
        def flush(self) -> bytes: ...

CHUNK = 256 << 10       # bytes of output at once: what fits into a second-level cache beside its copy
_INPUT = 128 << 10      # bytes of input at once
_FIRST = 4 << 10        # of a member's first input: what follows the member is copied, and a layer may have a member
                        # per file (eStargz), or millions of empty ones in a hostile layer
_FLOOR = 64 << 20       # bytes of output below which no ratio is suspicious: an empty disk image compresses well
_WINDOW = 27            # log2 of the largest zstd window (128 MiB), as zstd(1) has it without --long
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_OTHERS = {b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x04\x22\x4d\x18": "lz4", b"\x5d\x00\x00": "lzma"}
_ARCHIVES = ("bzip2", "xz")
_XZ_MEMORY = 256 << 20   # bytes that an xz stream may ask for; `xz -9` asks for 65 MiB


def kind_of(head: bytes, *, archive: bool = False) -> str:
    """The compression of a stream with these first bytes (6 are enough): "gzip", "zstd" or "none"; of an ``archive``
    that is not a layer also "bzip2" or "xz".

    Raises LayerError for other compressions, which no layer may have. A tar archive whose first name looks like one of
    them needs 262 bytes to be recognised.
    """
    if head[:2] == GZIP:
        return "gzip"
    if head[:4] == ZSTD or _skippable(head):
        return "zstd"
    for magic, name in _OTHERS.items():
        if head.startswith(magic) and head[257:262] != b"ustar":
            if archive and name in _ARCHIVES:
                return name
            raise LayerError(f"compressed with {name}, which no {'archive' if archive else 'layer'} may use; compress"
                             f" it with gzip{', bzip2, xz' if archive else ''} or zstd")
    return "none"


def _skippable(head: bytes) -> bool:
    return len(head) >= 4 and head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50


class Inflater:
    """The decompressed stream of a layer. ``kind`` is known from the beginning; ``taken`` and ``given`` count bytes."""

    __slots__ = ("_chunks", "_data", "_limit", "_pos", "_ratio", "_read", "given", "kind", "taken")

    def __init__(self, read: Callable[[int], bytes], limit: int = 1 << 62, ratio: int = 1 << 62, *,
                 archive: bool = False) -> None:
        """``read(n)`` returns up to n compressed bytes, b"" at the end; ``limit`` of output bytes, ``ratio`` of output
        to input; ``archive``: not a layer, so that bzip2 and xz are allowed."""
        self._read = read
        self._limit = limit
        self._ratio = ratio
        self.taken = self.given = 0
        self._data = b""   # the input, consumed up to _pos
        self._pos = 0
        self._have(512)
        self.kind = kind_of(self._data[:512], archive=archive)
        self._chunks = {"gzip": self._gzip, "zstd": self._zstd, "none": self._plain, "bzip2": self._bzip2,
                        "xz": self._xz}[self.kind]()

    def read(self) -> bytes:
        """The next chunk, at most CHUNK bytes if the stream is compressed; b"" at the end."""
        chunk = next(self._chunks, b"")
        self.given += len(chunk)
        if self.given > self._limit:
            raise LayerError(f"unpacks to more than the maximum of {self._limit} bytes")
        if self.given > _FLOOR and self.given > self._ratio * self.taken:
            raise LayerError(f"decompression bomb: {self.taken} bytes unpack to more than {self._ratio} times as many;"
                             " raise the limit of the ratio if you trust the image")
        return chunk

    def _have(self, size: int) -> bool:
        """Read until ``size`` bytes are buffered; whether they are."""
        while len(self._data) - self._pos < size:
            try:
                more = self._read(_INPUT)
            except OSError as error:   # else it would be mistaken for an error of the output
                raise HostError(f"the layer cannot be read: {words(error)}") from None
            if not more:
                return False
            self.taken += len(more)
            self._data = self._data[self._pos:] + more if self._pos < len(self._data) else more
            self._pos = 0
        return True

    def _piece(self, size: int) -> bytes:
        """Up to ``size`` of the next bytes, b"" at the end."""
        self._have(1)
        piece = self._data[self._pos:self._pos + size]
        self._pos += len(piece)
        return piece

    def _plain(self) -> Iterator[bytes]:
        while piece := self._piece(_INPUT):
            yield piece

    def _gzip(self) -> Iterator[bytes]:
        fresh, errors = _gzip_engine()
        while True:
            yield from self._member(_Deflated(fresh()), errors, "gzip")
            # Tapes and block devices pad gzip files with zeros, and gzip(1) ignores them.
            self._skip_zeros()
            if not self._have(1):
                return

    def _bzip2(self) -> Iterator[bytes]:
        import bz2  # lazy: only for this compression

        while self._have(1):
            yield from self._member(_Framed(bz2.BZ2Decompressor()), OSError, "bzip2")

    def _xz(self) -> Iterator[bytes]:
        import lzma  # lazy: only for this compression

        while self._have(1):
            engine = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
            yield from self._member(_Framed(engine), lzma.LZMAError, "xz")
            self._skip_zeros()   # xz(5): streams may be padded

    def _skip_zeros(self) -> None:
        while self._have(1) and not self._data[self._pos]:
            self._data = self._data[self._pos:].lstrip(b"\0")
            self._pos = 0

    def _zstd(self) -> Iterator[bytes]:
        zstd = _zstd_module()
        options = {zstd.DecompressionParameter.window_log_max: _WINDOW}
        while self._have(1):
            if self._have(8) and _skippable(self._data[self._pos:self._pos + 4]):
                left = 8 + int.from_bytes(self._data[self._pos + 4:self._pos + 8], "little")
                while left:
                    piece = self._piece(left)
                    if not piece:
                        raise LayerError("truncated zstd stream: it ends in a skippable frame")
                    left -= len(piece)
                continue
            yield from self._member(_Framed(zstd.ZstdDecompressor(options=options)), zstd.ZstdError, "zstd")

    def _member(self, engine: _Deflated | _Framed, errors: Any, kind: str) -> Iterator[bytes]:
        """One gzip member or zstd frame; the bytes after it stay in the buffer."""
        step = _FIRST
        while not engine.eof:
            piece = self._piece(step)
            step = min(step * 4, _INPUT)
            try:
                yield from engine.inflate(piece)
            except errors as error:
                raise LayerError(f"corrupt {kind} stream after {self.given} bytes of content: {error}") from None
            if not piece and not engine.eof:
                raise LayerError(f"truncated {kind} stream: it ends after {self.given} bytes of content")
        self._pos -= engine.unused


class _Framed:
    """The decompressors of zstd, bz2 and lzma."""

    __slots__ = ("_engine", "eof", "unused")

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.eof = False
        self.unused = 0

    def inflate(self, piece: bytes) -> Iterator[bytes]:
        engine = self._engine
        rest: bytes | None = piece
        while rest is not None:
            out = engine.decompress(rest, CHUNK)
            if engine.eof:
                self.eof = True
                self.unused = len(engine.unused_data)
            if out:
                yield out
            rest = None if self.eof else self._rest(full=len(out) == CHUNK)

    def _rest(self, *, full: bool) -> bytes | None:
        """The next input, or None if the engine needs more of the stream; after a ``full`` buffer it may have more."""
        return None if self._engine.needs_input and not full else b""


class _Deflated(_Framed):
    """The decompressor of zlib, which returns the input that it has not consumed."""

    __slots__ = ()

    def _rest(self, *, full: bool) -> bytes | None:
        tail: bytes = self._engine.unconsumed_tail
        return tail if tail or full else None


def _gzip_engine() -> tuple[Callable[[], Any], Any]:
    """The constructor of a gzip decompressor, and its exceptions; ISA-L needs half of zlib's time."""
    try:
        from isal import isal_zlib  # lazy: only for this compression
    except ImportError:
        return (lambda: zlib.decompressobj(31)), zlib.error
    return (lambda: isal_zlib.decompressobj(31)), (isal_zlib.error, zlib.error)


def _zstd_module() -> Any:
    try:
        # lazy: only for this compression
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # new in Python 3.14
    except ImportError:
        try:
            # lazy: only for this compression
            from backports import zstd  # type: ignore[no-redef,unused-ignore]
        except ImportError:
            raise HostError("zstd layers need Python 3.14 or the package backports.zstd") from None
    return zstd


class _Plain:
    __slots__ = ()

    def compress(self, data: Buffer) -> bytes:
        return bytes(data)

    def flush(self) -> bytes:
        return b""


class _Gzip:
    """A member with mtime 0, no name and the operating system "unknown": the same zlib gives the same bytes."""

    __slots__ = ("_crc", "_engine", "_head", "_size")

    def __init__(self, level: int) -> None:
        self._engine = zlib.compressobj(level, zlib.DEFLATED, -15, 8)
        self._head = GZIP + b"\x08\0\0\0\0\0\0\xff"
        self._crc = self._size = 0

    def compress(self, data: Buffer) -> bytes:
        self._crc = zlib.crc32(data, self._crc)
        self._size += memoryview(data).nbytes
        head, self._head = self._head, b""
        return head + self._engine.compress(data)

    def flush(self) -> bytes:
        head, self._head = self._head, b""
        tail = self._crc.to_bytes(4, "little") + (self._size & 0xFFFFFFFF).to_bytes(4, "little")
        return head + self._engine.flush() + tail


def writer(kind: str, level: int = -1) -> Writer:
    """A compressor of ``kind`` "gzip", "zstd" or "none".

    gzip is always the standard zlib's, level 6 by default, and never ISA-L's: a blob's digest must not depend on
    installed packages. ``level`` -1 is 6 for gzip and 3 for zstd.
    """
    if kind == "none":
        return _Plain()
    if kind == "gzip":
        return _Gzip(6 if level < 0 else level)
    if kind == "zstd":
        engine: Writer = _zstd_module().ZstdCompressor(3 if level < 0 else level)
        return engine
    raise LayerError(f'"{kind}" is not a compression: write gzip, zstd or none')
