"""Restoring old values: the values that can be read from each kind of file."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyruntime.errors import StepError
from pyruntime.runtime.cgroups.update import apply, present
from pyruntime.runtime.plan.steps import Step, step


def write(path: Path, file: str, data: str, where: str = "x") -> Step:
    return step("cgroup", "cgroup_write", where, path=str(path), file=file, data=data)


@pytest.mark.parametrize(("name", "content", "file", "data", "old"), [
    ("pids.max", "max\n", "pids.max", "5", [("pids.max", "max")]),
    ("memory.max", "100\n", "memory.max>memory.current", "5", [("memory.max", "100")]),
    ("x", "1", "y?", "5", []),
    ("io.max", "8:0 rbps=5 wbps=max riops=max wiops=max\n", "io.max", "8:0 rbps=7",
     [("io.max", "8:0 rbps=5 wbps=max riops=max wiops=max")]),
    ("io.max", "8:0 rbps=5 wbps=max riops=max wiops=max\n", "io.max", "8:16 rbps=7",
     [("io.max", "8:16 rbps=max wbps=max riops=max wiops=max")]),
    ("io.weight", "default 100\n8:0 50\n", "io.bfq.weight|io.weight", "7|70", [("io.weight", "100")]),
    ("io.weight", "default 100\n8:0 50\n", "io.bfq.weight|io.weight", "8:0 7|8:0 70", [("io.weight", "8:0 50")]),
    ("blkio.throttle.read_bps_device", "", "blkio.throttle.read_bps_device", "8:0 7",
     [("blkio.throttle.read_bps_device", "8:0 0")]),
    ("memory.oom_control", "oom_kill_disable 1\nunder_oom 0\n", "memory.oom_control", "0",
     [("memory.oom_control", "1")]),
    ("cpu.shares", "1024\n", "cpu.shares+cpu.idle", "2+1", [("cpu.shares", "1024")]),
])
def test_current_values(tmp_path: Path, *, name: str, content: str, file: str, data: str,
                           old: list[tuple[str, str]]) -> None:
    (tmp_path / name).write_text(content)
    assert present(str(tmp_path), file, data) == [(str(tmp_path), *item) for item in old]


def test_groups_are_restored_together(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1\n")
    (tmp_path / "b").write_text("2\n")
    assert present(str(tmp_path), "a+b?+c?", "3+4+5") == [(str(tmp_path), "a+b", "1+2")]


def test_a_failure_restores_and_names_the_place(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    with pytest.raises(StepError) as caught:
        apply([write(tmp_path, "a", "3"), write(tmp_path, "b", "4"), write(tmp_path, "c", "5", "pids.limit")])
    assert (caught.value.where, caught.value.step, caught.value.notes) == ("pids.limit", "cgroup_write", [])
    assert [(tmp_path / name).read_text() for name in "ab"] == ["1", "2"]


def test_a_failed_restore_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")

    def steps() -> list[Step]:
        return [write(tmp_path, "a", "3"), write(tmp_path, "none", "4")]

    first, second = steps()

    class Vanishing:
        def __iter__(self):  # type: ignore[no-untyped-def]
            yield first
            (tmp_path / "a").unlink()
            yield second

    with pytest.raises(StepError) as caught:
        apply(Vanishing())
    assert "and while cleaning up: a: no such file" in str(caught.value)
