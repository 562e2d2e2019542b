"""IDs for user namespaces: parsing of their text."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyruntime.images.rootless import map_words, subordinate_ids


@pytest.mark.parametrize(("text", "expected"), [
    ("", []), ("me:100000:65536\n", [(100000, 65536)]), ("1000:5:6", [(5, 6)]),
    ("you:1:2\nme:3:4\n1000:7:8\n", [(3, 4), (7, 8)]),
    ("me:x:4\nme:1\nme:1:0\n# me:1:2\nme:1:2:3\n", []), ("mean:1:2\n", []),
])
def test_subordinate_ids(tmp_path: Path, text: str, expected: list[tuple[int, int]]) -> None:
    (tmp_path / "subuid").write_text(text)
    assert subordinate_ids(str(tmp_path / "subuid"), "me", 1000) == expected


def test_no_subordinate_ids(tmp_path: Path) -> None:
    assert subordinate_ids(str(tmp_path / "absent"), "me", 1000) == []


def test_map_words() -> None:
    assert map_words(1000, []) == ["0", "1000", "1"]
    assert map_words(1000, [(5, 6), (90, 2)]) == ["0", "1000", "1", "1", "5", "6", "7", "90", "2"]
