"""The reader of tar archives, with the standard library's and GNU tar's writers, and with random data."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pyruntime.errors import LayerError
from pyruntime.images.layers import pax
from pyruntime.images.layers.stream import Ahead, LayerStream
from pyruntime.images.layers.tar import CHARACTER, DIRECTORY, FIFO, FILE, LINK, SYMLINK, Reader, TarEntry
from pyruntime.images.layers.write import TarWriter


def stream(data: bytes, size: int = 700) -> LayerStream:
    source = io.BytesIO(data)
    return LayerStream(lambda: source.read(size))


def read(data: bytes, size: int = 700) -> list[tuple[TarEntry, bytes]]:
    """Every entry with its content; chunks of an odd size, so that headers cross them."""
    reader = Reader(stream(data, size))
    found = []
    while (entry := reader.next()) is not None:
        content = bytearray(entry.size)
        for offset, length in [(0, entry.stored)] if entry.pieces is None else entry.pieces:
            content[offset:offset + length] = reader.content(length)
        found.append((entry, bytes(content)))
    reader.stream.drain()
    return found


def written(*entries: tuple[TarEntry, bytes], subsecond: bool = False) -> bytes:
    out = io.BytesIO()
    writer = TarWriter(out.write, subsecond=subsecond)
    for entry, content in entries:
        writer.add(entry, io.BytesIO(content).read)
    writer.close()
    assert writer.size == len(out.getvalue())
    return out.getvalue()


def same(one: TarEntry, other: TarEntry) -> bool:
    return all(getattr(one, slot) == getattr(other, slot) for slot in TarEntry.__slots__ if slot != "name") \
        and one.name.rstrip(b"/") == other.name.rstrip(b"/")


NAMES = st.lists(st.binary(min_size=1, max_size=150).filter(lambda part: not set(part) & {0, 0x2F}), min_size=1,
                 max_size=6).map(b"/".join).filter(lambda name: len(name) < 1000)
ENTRIES = st.builds(
    TarEntry, NAMES, st.sampled_from([FILE, DIRECTORY, SYMLINK, LINK, CHARACTER, FIFO]),
    mode=st.integers(0, 0o7777), uid=st.integers(0, (1 << 32) - 2), gid=st.integers(0, (1 << 32) - 2),
    mtime=st.integers(-(1 << 40), 1 << 40).map(lambda seconds: seconds * 10**9 + 5 * 10**8),
    xattrs=st.none() | st.dictionaries(st.binary(min_size=1, max_size=20).filter(lambda key: not set(key) & {0, 0x3D}),
                                       st.binary(max_size=100), min_size=1, max_size=3))


@settings(max_examples=200)
@given(st.lists(st.tuples(ENTRIES, st.binary(max_size=2000), NAMES), max_size=4))
def test_what_is_written_is_read(cases: list[tuple[TarEntry, bytes, bytes]]) -> None:
    entries = []
    for entry, content, link in cases:
        entry.size = entry.stored = len(content) if entry.type == FILE else 0
        entry.link = link if entry.type in (LINK, SYMLINK) else b""
        entry.device = (7, 300) if entry.type == CHARACTER else (0, 0)
        entries.append((entry, content if entry.type == FILE else b""))
    archive = written(*entries, subsecond=True)
    found = read(archive)
    assert len(found) == len(entries)
    for (entry, content), (again, same_content) in zip(entries, found, strict=True):
        assert same(entry, again), (entry, again)
        assert content == same_content
    assert written(*entries, subsecond=True) == archive


def test_whole_seconds_unless_asked() -> None:
    entry = TarEntry(b"f", mtime=1_500_000_000)
    assert read(written((entry, b"")))[0][0].mtime == 1_000_000_000
    assert b"mtime" not in written((entry, b""))
    assert read(written((entry, b""), subsecond=True))[0][0].mtime == 1_500_000_000


def test_plain_entries_need_no_extended_header() -> None:
    archive = written((TarEntry(b"usr/" * 30 + b"x" * 60, uid=65534), b""))
    assert len(archive) == 512 + 1024
    with tarfile.open(fileobj=io.BytesIO(archive)) as other:
        assert other.getnames() == ["usr/" * 30 + "x" * 60]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("chunk", [100, 512, 1 << 20])
def test_the_standard_librarys_archives(form: int, chunk: int) -> None:
    out = io.BytesIO()
    wanted = []
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for number, (kind, name, link, mtime, uid, data) in enumerate((
                (tarfile.REGTYPE, "a", "", 0, 0, b"x"), (tarfile.REGTYPE, "d/" * 40 + "f" * 60, "", 5, 1, b"y" * 513),
                (tarfile.DIRTYPE, "dir", "", 7, 2, b""), (tarfile.SYMTYPE, "s", "target", 8, 3, b""),
                (tarfile.LNKTYPE, "h", "a", 9, 4, b""), (tarfile.FIFOTYPE, "p", "", 10, 5, b""),
                (tarfile.REGTYPE, "n" * 180 if form else "n", "", -5 if form else 0, 1 << 30 if form else 6, b""),
                (tarfile.SYMTYPE, "m", "t/" * 80 if form else "t", 8, 3, b""))):
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mtime, info.uid, info.gid = kind, link, mtime, uid, number
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
            wanted.append((name.encode(), kind[0], link.encode(), mtime * 10**9, uid, number, data))
    found = [(entry.name.rstrip(b"/"), entry.type, entry.link, entry.mtime, entry.uid, entry.gid, data)
             for entry, data in read(out.getvalue(), chunk)]
    assert found == wanted


@pytest.mark.parametrize("form", [["--format=gnu"], *(["--format=pax", f"--sparse-version={version}"]
                                                      for version in ("0.0", "0.1", "1.0"))], ids=" ".join)
def test_sparse_files_of_gnu_tar(tmp_path: Path, form: list[str]) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        for number in range(40):
            file.seek(number * 300_000)
            file.write(b"%d" % number)
        file.truncate(20_000_000)
    (tmp_path / "empty").touch()
    os.truncate(tmp_path / "empty", 1 << 20)
    archive = subprocess.run(["tar", "-C", tmp_path, "--sparse", *form, "-cf-", "sparse", "empty"], check=True,
                             capture_output=True).stdout
    assert len(archive) < 1 << 20
    found = {entry.name: (content, entry.pieces) for entry, content in read(archive)}
    assert found[b"sparse"][0] == (tmp_path / "sparse").read_bytes()
    assert found[b"empty"][0] == bytes(1 << 20)
    assert found[b"sparse"][1] is not None


def test_a_signed_checksum_is_right_too() -> None:
    block = bytearray(written((TarEntry("häß".encode()), b""))[:512])
    block[148:156] = b"        "
    signed = sum(byte - 256 if byte > 127 else byte for byte in block)
    block[148:156] = b"%06o\0 " % signed
    assert read(bytes(block))[0][0].name == "häß".encode()
    block[0] ^= 1
    with pytest.raises(LayerError, match="checksum"):
        read(bytes(block))


@pytest.mark.parametrize(("text", "value"), [
    (b"0", 0), (b"1", 10**9), (b"1.5", 1_500_000_000), (b"-1.5", -1_500_000_000), (b"1.0000000019", 1_000_000_001),
    (b"-0.5", -500_000_000), (b"1350244992.023960108", 1350244992023960108), (b"7258118400", 7258118400 * 10**9)])
def test_times(text: bytes, value: int) -> None:
    assert pax.time(text, "mtime") == value


@pytest.mark.parametrize("text", [b"", b"-", b".", b".5", b"--1", b"1.-5", b"+1", b"1e5", b"0x1", b"nan", b"9" * 30])
def test_no_times(text: bytes) -> None:
    with pytest.raises(LayerError):
        pax.time(text, "mtime")


def test_global_headers_hold_until_they_are_overridden() -> None:
    from tests.images.integration.hostile import file, tar
    from tests.images.integration.hostile import pax as extended

    archive = tar(extended((b"uid", b"7"), (b"comment", b"x"), kind=b"g"), file(b"a"), extended((b"uid", b"8")),
                  file(b"b"), file(b"c"), extended((b"uid", b""), kind=b"g"), file(b"d"))
    assert [entry.uid for entry, _ in read(archive)] == [7, 8, 7, 0]


def test_attributes_of_both_dialects() -> None:
    from tests.images.integration.hostile import file, pax, tar

    archive = tar(pax((b"SCHILY.xattr.user.a", b"\0\xff="), (b"LIBARCHIVE.xattr.user.a", b"Yg"),
                      (b"LIBARCHIVE.xattr.user.b%20c", b"AP8"), (b"SCHILY.xattr.user.empty", b"")), file(b"f"))
    assert read(archive)[0][0].xattrs == {b"user.a": b"\0\xff=", b"user.b c": b"\0\xff", b"user.empty": b""}


SEED = written((TarEntry(b"dir", DIRECTORY), b""),
               (TarEntry(b"dir/f", size=700, xattrs={b"user.a": b"b"}, mtime=-1), b"x" * 700),
               (TarEntry(b"l", SYMLINK, link=b"t" * 150), b""), (TarEntry(b"n" * 300), b""))


@settings(max_examples=400)
@given(st.lists(st.tuples(st.integers(0, len(SEED) - 1), st.integers(0, 255)), min_size=1, max_size=6), st.booleans(),
       st.integers(0, len(SEED)))
@example([(0, 0)], True, 100)
def test_mutated_archives_raise_nothing_else(changes: list[tuple[int, int]], mend: bool, cut: int) -> None:
    data = bytearray(SEED)
    for where, byte in changes:
        data[where] = byte
    if mend:   # with right checksums, so that the mutation gets further
        for start in range(0, len(data) - 511, 512):
            block = data[start:start + 512]
            block[148:156] = b" " * 8
            data[start + 148:start + 156] = b"%06o\0 " % sum(block)
    try:
        read(bytes(data[:cut] if cut % 3 == 0 else data))
    except LayerError as error:
        assert str(error).isprintable()


@settings(max_examples=200)
@given(st.binary(max_size=3000))
def test_noise_raises_nothing_else(data: bytes) -> None:
    try:
        read(data)
    except LayerError:
        assert data


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_noise_as_extended_header(data: bytes) -> None:
    from tests.images.integration.hostile import file, raw_pax, tar

    try:
        read(tar(raw_pax(data), file(b"f")))
    except LayerError as error:
        assert str(error).isprintable()


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from([
    b"GNU.sparse.major", b"GNU.sparse.minor", b"GNU.sparse.map", b"GNU.sparse.size", b"GNU.sparse.realsize", b"size",
    b"GNU.sparse.numblocks", b"GNU.sparse.offset", b"GNU.sparse.numbytes", b"path"]),
    st.sampled_from([b"0", b"1", b"2", b"0,1", b"1,1,3,1", b"512", b"1000000", b"-1", b"x"])), max_size=6),
    st.sampled_from([b"x", b"1\n0\n1\n", b"0\n", b"9999\n", bytes(600)]))
def test_sparse_nonsense(pairs: list[tuple[bytes, bytes]], content: bytes) -> None:
    from tests.images.integration.hostile import file, pax, tar

    try:
        for entry, _ in read(tar(pax(*pairs), file(b"f", content + bytes(-len(content) % 512) + b"y"))):
            assert entry.size < 1 << 31
    except LayerError as error:
        assert str(error).isprintable()


def test_ahead_returns_chunks_and_errors() -> None:
    source = iter([b"a"] * 20 + [b""])
    with Ahead(lambda: next(source)) as ahead:
        assert b"".join(iter(ahead.chunk, b"")) == b"a" * 20
        assert ahead.chunk() == b""

    def broken() -> bytes:
        raise LayerError("the source is broken")

    with Ahead(broken) as ahead, pytest.raises(LayerError, match="broken"):
        ahead.chunk()


def test_ahead_ends_without_a_reader() -> None:
    ahead = Ahead(lambda: b"endless")
    with ahead:
        assert ahead.chunk() == b"endless"
    assert not ahead._thread.is_alive()
