"""Whether a cgroup can be seen."""

from __future__ import annotations

from pathlib import Path

from pyruntime.runtime.cgroups.tree import visible


def test_what_is_mounted_is_visible(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    missing = str(tmp_path / "cpu/app.scope/sandbox")
    assert not visible(missing), "an empty directory, where the hierarchy is not mounted"
    (tmp_path / "cpu/cgroup.procs").touch()
    assert visible(missing), "the cgroup and its parent have been removed"
    (tmp_path / "cpu/app.scope/sandbox").mkdir(parents=True)
    (tmp_path / "cpu/app.scope/sandbox/cgroup.procs").touch()
    assert visible(missing)
