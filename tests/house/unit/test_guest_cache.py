"""tools/vm: what remains in the cache when a part of it is built again."""

from __future__ import annotations

import fcntl
import os
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TOP


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[Path, Path]]]:
    """Its function `build`, with a cache of its own, which makes empty disks and states."""
    made: Any = runpy.run_path(str(TOP / "tools/vm"))["build"]
    values: dict[str, object] = {"CACHE": tmp_path, "NAME": "bookworm-amd64", "build_disk": lambda work: None,
                                 "build_warm": lambda work, disk: None}
    for name, value in values.items():
        monkeypatch.setitem(made.__globals__, name, value)
    monkeypatch.setattr("shutil.which", lambda name: str(TOP / "tools/vm"))
    before = set(os.listdir("/proc/self/fd"))
    yield made
    for fd in set(os.listdir("/proc/self/fd")) - before:   # of `hold`, until the end of the process
        if os.path.realpath(f"/proc/self/fd/{fd}").startswith(str(tmp_path)):
            os.close(int(fd))


def test_old_disks_and_states_are_removed(build: Callable[..., tuple[Path, Path]], tmp_path: Path) -> None:
    others = {"disk-trixie-amd64-0123456789ab", "warm-bookworm-arm64-0123456789ab", "new-trixie-amd64-x"}
    for name in (*others, "disk-bookworm-amd64-0123456789ab", "warm-bookworm-amd64-0123456789ab",
                 "disk-0123456789ab", "warm-0123456789ab", "new-bookworm-amd64-killed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    names = {path.name for path in build()}
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == names | others


def test_a_disk_in_use_stays(build: Callable[..., tuple[Path, Path]], tmp_path: Path,
                             capsys: pytest.CaptureFixture[str]) -> None:
    old = tmp_path / "disk-bookworm-amd64-0123456789ab"
    old.mkdir()
    user = os.open(old, os.O_RDONLY)
    fcntl.flock(user, fcntl.LOCK_SH)
    disk, warm = build()
    assert old.exists() and f"{old} is in use, and stays" in capsys.readouterr().err
    os.close(user)
    with pytest.raises(SystemExit):   # this process uses it
        build(force=True)
    assert f"{disk} cannot be replaced while a guest uses it" in capsys.readouterr().err
    assert disk.exists() and warm.exists() and not old.exists()
