"""Names of entries and whiteouts."""

from __future__ import annotations

import pytest

from pyruntime.errors import LayerError
from pyruntime.images.layers.names import OPAQUE, clean, whiteout


@pytest.mark.parametrize(("name", "wanted"), [
    (b"a", b"a"), (b"./a", b"a"), (b"/a", b"a"), (b"a/", b"a"), (b"a//b", b"a/b"), (b"./a/./b/.", b"a/b"), (b".", b""),
    (b"./", b""), (b"/", b""), (b"///", b""), (b"/.", b""), (b".a", b".a"), (b"a/.b", b"a/.b"), (b"a/...", b"a/..."),
    (b"..a/b..", b"..a/b.."), (b"\xff\xfe/x", b"\xff\xfe/x"), (b"././/./a", b"a"), (b"a//", b"a"),
    (b"./.wh.x", b".wh.x")])
def test_clean(name: bytes, wanted: bytes) -> None:
    assert clean(name) == wanted


@pytest.mark.parametrize("name", [b"..", b"../a", b"a/..", b"a/../b", b"/..", b"./..", b"a/./../b", b"//../a", b"../"])
def test_out_of_the_directory(name: bytes) -> None:
    with pytest.raises(LayerError, match=r"\.\."):
        clean(name)


@pytest.mark.parametrize(("name", "wanted"), [
    (b"a/.wh.b", b"b"), (b".wh.b", b"b"), (b".wh..wh..opq", OPAQUE), (b"a/.wh..wh..opq", OPAQUE), (b"a.wh.b", None),
    (b"a/b.wh.", None), (b".wh..wh.plnk", b""), (b".wh..wh.plnk/1.2", b""), (b".wh..b", b".b"), (b".wh....", b"..."),
    (b".wh. ", b" ")])
def test_whiteouts(name: bytes, wanted: bytes | None) -> None:
    assert whiteout(name) == wanted


@pytest.mark.parametrize("name", [b".wh.", b"a/.wh.", b".wh..", b".wh...", b".wh.a/b", b"x/.wh.a/b/c"])
def test_no_whiteouts(name: bytes) -> None:
    with pytest.raises(LayerError, match="whiteout"):
        whiteout(name)
