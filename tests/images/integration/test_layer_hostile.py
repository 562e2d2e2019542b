"""Hostile layers: each is refused with a message, or stays within its directory."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyruntime.errors import LayerError
from pyruntime.images.layers.apply import ExtractOptions, LayerLimits, complete, extract
from tests.images.integration.hostile import CASES, LIMITS, OUTSIDE, Case


def snapshot(top: Path) -> list[tuple[str, int, int, int, int]]:
    """Everything below a directory that an escape could change."""
    found = []
    for path in [top, *sorted(top.rglob("*"))]:
        status = path.lstat()
        found.append((str(path), status.st_mode, status.st_size, status.st_mtime_ns, status.st_nlink))
    return found


@pytest.fixture
def outside() -> Iterator[Path]:
    OUTSIDE.mkdir()
    OUTSIDE.joinpath("canary").write_text("alive")
    yield OUTSIDE
    shutil.rmtree(OUTSIDE)


def check(target: Path, path: str, wanted: bytes | str) -> None:
    place = target / path
    status = place.lstat() if os.path.lexists(place) else None
    if wanted == "absent":
        assert status is None, path
        return
    assert status is not None, f"{path} is missing"
    if wanted == "whiteout":
        assert stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
    elif wanted in ("dir", "opaque"):
        assert stat.S_ISDIR(status.st_mode)
        names = [name for name in os.listxattr(place) if "overlay" in name]
        assert names == (["trusted.overlay.opaque"] if wanted == "opaque" else []), names
    elif isinstance(wanted, str):
        assert os.readlink(place) == wanted.removeprefix("link:")
    else:
        assert stat.S_ISREG(status.st_mode) and place.read_bytes() == wanted
        assert not [name for name in os.listxattr(place) if "overlay" in name or name == "security.selinux"]


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    """An empty directory, removed here: pytest recurses, and some trees are deeper than Python's stack."""
    path = tmp_path / "target"
    path.mkdir()
    yield path
    subprocess.run(["rm", "-rf", path], check=True)


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_hostile_layer(case: Case, target: Path, tmp_path: Path, outside: Path) -> None:
    (tmp_path / "beside").write_text("untouched")
    before = snapshot(outside), sorted(os.listdir(tmp_path)), os.listdir("/proc/self/fd")
    fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    notes: list[str] = []
    try:
        if case.refused is None:
            done = extract(io.BytesIO(case.layer()).read, fd, ExtractOptions(warn=notes.append), LayerLimits(*LIMITS))
            complete(fd, done, [])
        else:
            with pytest.raises(LayerError) as caught:
                done = extract(io.BytesIO(case.layer()).read, fd, ExtractOptions(warn=notes.append),
                               LayerLimits(*LIMITS))
                complete(fd, done, [])
            message = str(caught.value)
            assert case.refused in message and message.isprintable() and len(message) < 600, message
            assert "Traceback" not in message
    finally:
        os.close(fd)
    assert (snapshot(outside), sorted(os.listdir(tmp_path)), os.listdir("/proc/self/fd")) == before
    for path, wanted in case.expect.items():
        check(target, path, wanted)
    if case.name.startswith("xattr-") and case.refused is None:
        assert notes, "no warning about the skipped attribute"


def test_there_are_enough_and_their_names_differ() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 60
    assert {case.refused is None for case in CASES} == {True, False}
