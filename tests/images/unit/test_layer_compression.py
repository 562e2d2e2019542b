"""Compressed streams: recognised, decompressed, refused; and written with the same bytes each time."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import struct
import sys
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyruntime.errors import LayerError
from pyruntime.images.layers.compression import CHUNK, Inflater, kind_of, writer

CONTENT = b"".join(b"%d of many lines\n" % number for number in range(60_000)) + bytes(3_000_000)
SKIPPABLE = b"\x5f\x2a\x4d\x18" + struct.pack("<I", 300_000) + bytes(300_000)


def inflate(blob: bytes, step: int = 1 << 20, *, archive: bool = False, **limits: int) -> bytes:
    source = io.BytesIO(blob)
    reader = Inflater(lambda size: source.read(min(size, step)), archive=archive, **limits)
    chunks = list(iter(reader.read, b""))
    assert max(map(len, chunks), default=0) <= CHUNK
    assert reader.read() == b"" and reader.given == sum(map(len, chunks))
    return b"".join(chunks)


def compressed(kind: str, data: bytes = CONTENT) -> bytes:
    engine = writer(kind)
    return b"".join([*(engine.compress(data[start:start + 70_000]) for start in range(0, len(data), 70_000)),
                     engine.flush()])


@pytest.fixture(params=["isal", "zlib"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "isal", None)   # as if it were not installed
    return str(request.param)


@pytest.mark.parametrize("kind", ["gzip", "zstd", "none"])
@pytest.mark.parametrize("step", [1, 1000, 1 << 20])
def test_what_is_written_is_read(kind: str, step: int, library: str) -> None:
    data = CONTENT if step > 1 else CONTENT[:20_000]
    blob = compressed(kind, data)
    assert kind_of(blob[:512]) == kind
    assert inflate(blob, step) == data


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_several_members(kind: str, library: str) -> None:
    parts = [compressed(kind, data) for data in (b"one", b"", CONTENT, b"two")]
    assert inflate(b"".join(parts)) == b"one" + CONTENT + b"two"


def test_members_as_of_estargz(library: str) -> None:
    assert inflate(b"".join(gzip.compress(b"%d," % number) for number in range(3000)), 5000) == \
        b"".join(b"%d," % number for number in range(3000))


def test_skippable_frames_anywhere() -> None:
    frame = compressed("zstd", b"content")
    assert kind_of(SKIPPABLE[:512]) == "zstd"
    assert inflate(SKIPPABLE + frame + SKIPPABLE + SKIPPABLE + frame + SKIPPABLE, 999) == b"content" * 2
    assert inflate(SKIPPABLE) == b""


def test_gzip_bytes_are_pinned() -> None:
    """Digests depend on them: neither time, nor name, nor an accelerator may change them."""
    blob = compressed("gzip", b"hello\n" * 1000)
    assert blob[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    assert gzip.decompress(blob) == b"hello\n" * 1000
    raw = zlib.compressobj(6, zlib.DEFLATED, -15, 8)
    assert blob[10:-8] == raw.compress(b"hello\n" * 1000) + raw.flush()
    assert hashlib.sha256(compressed("gzip")).digest() == hashlib.sha256(compressed("gzip")).digest()


def test_padding_behind_gzip_is_no_member(library: str) -> None:
    assert inflate(compressed("gzip", b"x") + bytes(300_000), 1000) == b"x"


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@pytest.mark.parametrize("cut", [1, 4, 9, 1000])
def test_truncated(kind: str, cut: int, library: str) -> None:
    with pytest.raises(LayerError, match=f"truncated {kind}"):
        inflate(compressed(kind)[:-cut])


def test_damaged_gzip(library: str) -> None:
    blob = bytearray(compressed("gzip"))
    blob[-6] ^= 1   # the checksum
    with pytest.raises(LayerError, match="corrupt gzip"):
        inflate(bytes(blob))
    with pytest.raises(LayerError, match="gzip"):
        inflate(compressed("gzip", b"x") + b"no member")


def test_limits() -> None:
    with pytest.raises(LayerError, match="the maximum of 1000000 bytes"):
        inflate(compressed("gzip"), limit=1_000_000)
    bomb = writer("zstd")
    blob = b"".join([*(bomb.compress(bytes(1 << 20)) for _ in range(100)), bomb.flush()])
    with pytest.raises(LayerError, match="bomb"):
        inflate(blob, ratio=1100)
    assert len(inflate(blob)) == 100 << 20


@pytest.mark.parametrize(("pack", "kind"), [(bz2.compress, "bzip2"), (lzma.compress, "xz")])
def test_archives_may_use_more_compressions_than_layers(pack: Callable[[bytes], bytes], kind: str) -> None:
    packed = pack(b"one" * 100_000) + pack(b"two")   # packed piece by piece
    assert inflate(packed, archive=True) == b"one" * 100_000 + b"two"
    with pytest.raises(LayerError, match=f"compressed with {kind}, which no layer may use"):
        inflate(packed)
    with pytest.raises(LayerError, match=f"truncated {kind}"):
        inflate(packed[:-20], archive=True)
    broken = bytearray(packed)
    broken[len(broken) // 4] ^= 0xFF
    with pytest.raises(LayerError, match=f"corrupt {kind}"):
        inflate(bytes(broken), archive=True)
    with pytest.raises(LayerError, match="compressed with lz4, which no archive may use"):
        kind_of(b"\x04\x22\x4d\x18" + bytes(100), archive=True)


def test_other_compressions_are_refused() -> None:
    with pytest.raises(LayerError, match="xz"):
        kind_of(b"\xfd7zXZ\x00" + bytes(100))
    name = bytearray(b"BZh-is-a-name".ljust(512, b"\0"))
    name[257:262] = b"ustar"
    assert kind_of(bytes(name)) == "none"
    assert kind_of(b"") == "none"
    with pytest.raises(LayerError, match="brotli"):
        writer("brotli")


@settings(max_examples=150)
@given(st.sampled_from([b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\x51\x2a\x4d\x18", b""]), st.binary(max_size=400))
def test_noise_raises_nothing_else(magic: bytes, rest: bytes) -> None:
    try:
        inflate(magic + rest)
    except LayerError as error:
        assert str(error)
