"""Layers that tools interpret differently, row by row: extracted for overlayfs, and merged into a plain tree."""

from __future__ import annotations

import io
import os
import random
import stat
import struct
from pathlib import Path

import pytest

from pyruntime.errors import LayerError
from pyruntime.images.layers.apply import ExtractOptions, extract
from tests.images.integration.hostile import directory, file, hardlink, node, pax, symlink, tar
from tests.images.integration.trees import Layers, listing, opened

BASE = (directory(b"dir"), file(b"dir/a", b"a"), file(b"dir/b", b"b"), directory(b"dir/sub"), file(b"dir/sub/c", b"c"),
        symlink(b"lnk", b"dir"), directory(b"priv", mode=b"0000700", uid=b"0000005", mtime=b"00000001234"),
        file(b"priv/x", b"x"), file(b"plain", b"plain"))
# name, the second layer, the visible tree: path -> content, None for a missing path, "dir", "link:..."
ROWS: list[tuple[str, bytes, dict[str, bytes | str | None]]] = [
    ("through a lower link: the link is replaced", tar(file(b"lnk/z", b"z")),
     {"lnk/z": b"z", "lnk/a": None, "dir/z": None}),
    ("link and file through it in one layer", tar(symlink(b"l", b"/new/place"), file(b"l/p", b"p")),
     {"new/place/p": b"p", "l": "link:/new/place"}),
    ("whiteout and new content, before", tar(file(b".wh.dir", b""), file(b"dir/c", b"c")),
     {"dir/c": b"c", "dir/a": None, "dir/sub": None}),
    ("whiteout and new content, after", tar(file(b"dir/c", b"c"), file(b".wh.dir", b"")),
     {"dir/c": b"c", "dir/a": None, "dir/sub": None}),
    ("whiteout and explicit directory", tar(file(b".wh.dir", b""), directory(b"dir"), file(b"dir/c", b"c")),
     {"dir/c": b"c", "dir/a": None}),
    ("opaque, before", tar(directory(b"dir"), file(b"dir/.wh..wh..opq", b""), file(b"dir/c", b"c")),
     {"dir/c": b"c", "dir/a": None, "dir/sub": None}),
    ("opaque, after", tar(file(b"dir/sub/d", b"d"), file(b"dir/.wh..wh..opq", b"")),
     {"dir/sub/d": b"d", "dir/sub/c": None, "dir/a": None}),
    ("opaque root", tar(file(b".wh..wh..opq", b""), file(b"dir/c", b"c"), file(b"new", b"n")),
     {"dir/c": b"c", "dir/a": None, "priv": None, "plain": None, "new": b"n", "lnk": None}),
    ("duplicates: the last one", tar(file(b"f", b"1"), file(b"f", b"2")), {"f": b"2"}),
    ("directory, then link, then through it", tar(directory(b"a"), file(b"a/old", b"o"), symlink(b"a", b"/etc"),
                                                  file(b"a/y", b"y")), {"etc/y": b"y", "a": "link:/etc"}),
    ("file below a file", tar(file(b"plain/y", b"y")), {"plain/y": b"y"}),
    ("file below a file of this layer", tar(file(b"dir", b"now a file"), file(b"dir/y", b"y")),
     {"dir/y": b"y", "dir/a": None}),
    ("file over a directory", tar(file(b"dir", b"f")), {"dir": b"f"}),
    ("whiteout and the same name, before", tar(file(b".wh.plain", b""), file(b"plain", b"new")), {"plain": b"new"}),
    ("whiteout and the same name, after", tar(file(b"plain", b"new"), file(b".wh.plain", b"")), {"plain": b"new"}),
    ("whiteout below a whiteout", tar(file(b".wh.dir", b""), file(b"dir/.wh.a", b"")), {"dir": "dir", "dir/a": None}),
    ("whiteout of nothing", tar(file(b"dir/.wh.nothing", b"")), {"dir/a": b"a", "dir/nothing": None}),
    ("link to a lower file", tar(hardlink(b"h", b"dir/a")), {"h": b"a", "dir/a": b"a"}),
    ("link to a lower file that is replaced", tar(hardlink(b"h", b"plain"), file(b"plain", b"new")),
     {"h": b"plain", "plain": b"new"}),
    ("link to a lower file that is removed", tar(hardlink(b"h", b"plain"), file(b".wh.plain", b"")),
     {"h": b"plain", "plain": None}),
    ("link through a lower link", tar(hardlink(b"h", b"lnk/sub/c")), {"h": b"c"}),
    ("link to a link that waits", tar(hardlink(b"h", b"plain"), hardlink(b"i", b"h")), {"h": b"plain", "i": b"plain"}),
    ("link that is overwritten", tar(hardlink(b"h", b"plain"), file(b"h", b"h")), {"h": b"h", "plain": b"plain"}),
    ("link that becomes a directory", tar(hardlink(b"h", b"plain"), file(b"h/y", b"y")), {"h/y": b"y"}),
    ("link before its target", tar(hardlink(b"h", b"later"), file(b"later", b"l")), {"h": b"l", "later": b"l"}),
    ("link into a directory that is not there", tar(hardlink(b"n/m/h", b"dir/sub/c")), {"n/m/h": b"c"}),
    ("link to a symbolic link", tar(symlink(b"s", b"plain"), hardlink(b"h", b"s")), {"h": "link:plain"}),
    ("link to a lower symbolic link", tar(hardlink(b"h", b"lnk")), {"h": "link:dir"}),
    (".whfoo is a name", tar(file(b".whfoo", b"x"), file(b"a.wh.b", b"y")), {".whfoo": b"x", "a.wh.b": b"y"}),
]


def view(top: Path, path: str) -> bytes | str | None:
    place = top / path
    if not os.path.lexists(place) or any(not parent.is_dir() or parent.is_symlink()
                                         for parent in place.parents if top in parent.parents):
        return None
    if place.is_symlink():
        return f"link:{os.readlink(place)}"
    return "dir" if place.is_dir() else place.read_bytes()


@pytest.mark.parametrize(("layer", "wanted"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_row(layer: bytes, wanted: dict[str, bytes | str | None], tmp_path: Path) -> None:
    layers = Layers(tmp_path)
    layers.add(tar(*BASE))
    layers.add(layer)
    merged = layers.merged()
    assert {path: view(merged, path) for path in wanted} == wanted
    with layers.mounted() as mounted:
        assert {path: view(mounted, path) for path in wanted} == wanted
        assert listing(mounted, links=False) == listing(merged, links=False)


def test_parents_keep_the_attributes_of_lower_layers(tmp_path: Path) -> None:
    layers = Layers(tmp_path)
    layers.add(tar(*BASE))
    done = layers.add(tar(file(b"priv/y"), file(b"dir/sub/new/y")))
    assert done.implicit == [b"", b"dir", b"dir/sub", b"dir/sub/new", b"priv"]
    with layers.mounted() as mounted:
        status = (mounted / "priv").stat()
        assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_mtime) == (0o700, 5, 0o1234)
        assert stat.S_IMODE((mounted / "dir/sub/new").stat().st_mode) == 0o755


def test_parents_below_a_whiteout_inherit_nothing(tmp_path: Path) -> None:
    layers = Layers(tmp_path)
    layers.add(tar(directory(b"a", mode=b"0000700"), directory(b"a/b", mode=b"0000711"), file(b"a/b/c")))
    layers.add(tar(file(b".wh.a", b""), file(b"a/b/x")))
    layers.add(tar(file(b"a/b/y")))
    for name in ("a", "a/b"):
        assert stat.S_IMODE((layers.merged(name.replace("/", "-")) / name).stat().st_mode) == 0o755


def test_parents_inherit_from_the_visible_layer(tmp_path: Path) -> None:
    layers = Layers(tmp_path)
    layers.add(tar(directory(b"a", mode=b"0000700")))
    layers.add(tar(directory(b"a", mode=b"0000711"), file(b"a/f")))
    layers.add(tar(file(b"unrelated")))
    layers.add(tar(file(b"a/g"), file(b"a/.wh..wh..opq", b"")))
    with layers.mounted() as mounted:
        assert stat.S_IMODE((mounted / "a").stat().st_mode) == 0o711
        assert os.listdir(mounted / "a") == ["g"]


def test_attributes(tmp_path: Path) -> None:
    """Set-user-ID and file capabilities survive the change of owner, and no umask leaks in."""
    capability = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
    before = os.umask(0o077)
    try:
        layers = Layers(tmp_path)
        layers.add(tar(
            file(b"suid", mode=b"0006755", uid=b"0000005"), file(b"open", mode=b"0000777"),
            file(b"none", mode=b"0000000"), directory(b"sticky", mode=b"0001777"),
            directory(b"closed", mode=b"0000000"), file(b"closed/f"),
            pax((b"SCHILY.xattr.security.capability", capability), (b"SCHILY.xattr.user.empty", b"")),
            file(b"cap", uid=b"0000005"), pax((b"mtime", b"-1.5")), file(b"old"),
            pax((b"mtime", b"10000000000.25")), directory(b"far"), node(b"null", b"3", 1, 3)))
    finally:
        os.umask(before)
    top = layers.paths[0]
    modes = {name: oct(stat.S_IMODE((top / name).lstat().st_mode)) for name in os.listdir(top)}
    assert modes == {"suid": "0o6755", "open": "0o777", "none": "0o0", "sticky": "0o1777", "closed": "0o0",
                     "cap": "0o644", "old": "0o644", "far": "0o755", "null": "0o644"}
    assert os.getxattr(top / "cap", "security.capability") == capability
    assert os.getxattr(top / "cap", "user.empty") == b""
    assert (top / "suid").stat().st_uid == 5
    assert (top / "old").stat().st_mtime_ns == -1_500_000_000
    assert (top / "far").stat().st_mtime_ns == 10_000_000_000_250_000_000
    assert (top / "null").stat().st_rdev == os.makedev(1, 3)


def test_zeros_become_holes(tmp_path: Path) -> None:
    layers = Layers(tmp_path)
    content = b"head" + bytes(4 << 20) + b"tail" + bytes(1 << 20)
    done = layers.add(tar(file(b"f", content)))
    status = (layers.paths[0] / "f").stat()
    assert (layers.paths[0] / "f").read_bytes() == content and status.st_blocks * 512 < 512 << 10
    assert done.usage < 512 << 10
    merged = (layers.merged() / "f").stat()
    assert merged.st_blocks * 512 < 512 << 10 and merged.st_size == len(content)


def test_large_files_with_any_chunks(tmp_path: Path) -> None:
    """Runs of zeros of every length lie across chunks of every size."""
    dice = random.Random(7)
    for round_ in range(25):
        content = b"".join(bytes(dice.randrange(40_000)) + dice.randbytes(dice.choice((1, 100, 4096, 9000)))
                           for _ in range(dice.randrange(5, 60)))
        layer = io.BytesIO(tar(file(b"f", b"x" * dice.randrange(600)), file(b"big", content)))
        step = dice.choice((513, 4096, 5000, 65536, 100_000))
        target = tmp_path / str(round_)
        target.mkdir()
        with opened(target) as fd:
            extract(lambda size, layer=layer, step=step: layer.read(min(size, step)), fd)  # type: ignore[misc]
        assert (target / "big").read_bytes() == content


def test_a_layer_needs_an_empty_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with opened(tmp_path) as fd, pytest.raises(LayerError, match="not empty"):
        extract(lambda size: b"", fd)


def test_unmapped_ids_are_an_error(tmp_path: Path) -> None:
    target = tmp_path / "t"
    target.mkdir()
    shifted = ExtractOptions(uid=lambda uid: uid + 100000 if uid < 10 else None, gid=lambda gid: gid + 100000)
    with opened(target) as fd:
        extract(io.BytesIO(tar(file(b"f", uid=b"0000005"))).read, fd, shifted)
    status = (target / "f").stat()
    assert (status.st_uid, status.st_gid, target.stat().st_uid) == (100005, 100000, 100000)
    (target / "f").unlink()
    with opened(target) as fd, pytest.raises(LayerError, match=r'"d/g": belongs to uid 64.*/etc/subuid'):
        extract(io.BytesIO(tar(file(b"d/g", uid=b"0000100"))).read, fd, shifted)


def test_warnings_are_counted_after_a_few(tmp_path: Path) -> None:
    layers = Layers(tmp_path)
    bad = pax((b"SCHILY.xattr.trusted.overlay.opaque", b"y"))
    layers.add(tar(*(bad + directory(b"d%d" % number) for number in range(10))))
    assert len(layers.notes) == 4 and "7 more like this" in layers.notes[3]
