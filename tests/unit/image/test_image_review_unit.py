"""What a review of the image tool found, without privileges: trees that change while they are walked, and whatever
strangers write into documents, archives and names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyruntime.image.store import trees


def test_a_directory_that_is_moved_up_does_not_lead_out_of_the_tree(tmp_path: Path) -> None:
    """A container that still runs while its root filesystem is removed: ".." must not lead above the tree."""
    (tmp_path / "tree/a/b/c").mkdir(parents=True)
    (tmp_path / "tree/z").mkdir()
    (tmp_path / "z").mkdir()
    entered = []

    def enter(fd: int) -> list[str]:
        entered.append(os.readlink(f"/proc/self/fd/{fd}"))
        if entered[-1].endswith("/c"):
            os.rename(tmp_path / "tree/a/b/c", tmp_path / "tree/c")
        with os.scandir(fd) as entries:
            return sorted(entry.name for entry in entries)[::-1]

    left: list[str] = []
    with pytest.raises(OSError, match="moved"):
        trees.walk(os.open(tmp_path / "tree", os.O_RDONLY), enter, lambda _fd, name: left.append(name))
    assert left == [] and str(tmp_path / "z") not in entered
