"""Operations of later commands on a cgroup, with plain directories; real cgroups are tested in
tests/runtime/integration."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from pyruntime.errors import HostError, StateError
from pyruntime.runtime.cgroups.group import Cgroup


def directory(path: Path, **content: str) -> str:
    path.mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        (path / name.replace("__", ".")).write_text(text)
    return str(path)


def test_delete_removes_subdirectories_and_can_be_repeated(tmp_path: Path) -> None:
    paths = {name: directory(tmp_path / name / "c1") for name in ("devices", "memory")}
    for part in ("a/b/c", "d"):
        (tmp_path / "devices" / "c1" / part).mkdir(parents=True)
    group = Cgroup(paths)
    assert group.exists()
    group.delete()
    assert not group.exists()
    assert sorted(os.listdir(tmp_path)) == ["devices", "memory"]   # the parent directories are kept
    group.delete()


def test_delete_never_follows_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside" / "sub"
    outside.mkdir(parents=True)
    path = Path(directory(tmp_path / "c1"))
    (path / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(StateError):
        Cgroup({"": str(path)}).delete(timeout=0.01)
    assert outside.exists()


def test_delete_continues_after_a_failure(tmp_path: Path) -> None:
    stuck = directory(tmp_path / "a", file="")
    free = directory(tmp_path / "b")
    with pytest.raises(StateError, match=rf'unable to remove the container\'s cgroup: rmdir "{stuck}"'):
        Cgroup({"a": stuck, "b": free}).delete(timeout=0.01)
    assert not os.path.exists(free)


def test_no_descriptors_are_no_missing_cgroup(tmp_path: Path) -> None:
    """It would not be removed."""
    paths = {str(number): directory(tmp_path / str(number)) for number in range(3)}
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = [os.open("/", os.O_PATH) for _ in range(2)]
    for fd in free:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[-1] + 1, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            Cgroup(paths).hold()
        assert [os.open("/", os.O_PATH) for _ in free] == free   # none is kept
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for fd in free:
            os.close(fd)


def test_processes(tmp_path: Path) -> None:
    path = directory(tmp_path / "c1", cgroup__procs="3\n4\n")
    directory(tmp_path / "c1" / "sub", cgroup__procs="5\n")
    group = Cgroup({"memory": "/nowhere", "devices": path})
    assert group.pids() == [3, 4, 5]
    assert group.pids(recursive=False) == [3, 4]
    assert Cgroup({"": str(tmp_path / "gone")}).pids() == []
    assert Cgroup({}).pids() == []


def test_freezing_v1(tmp_path: Path) -> None:
    path = directory(tmp_path, freezer__state="THAWED\n")
    group = Cgroup({"freezer": path, "": "/nowhere"})
    assert not group.frozen()
    group.freeze()
    assert group.frozen()
    group.thaw()
    assert not group.frozen()


def test_a_v2_freezer_that_times_out_is_thawed(tmp_path: Path) -> None:
    path = directory(tmp_path, cgroup__freeze="0\n", cgroup__events="populated 1\nfrozen 0\n")
    with pytest.raises(StateError, match="unable to freeze"):
        Cgroup({"": path}).freeze(timeout=0.01)
    assert (tmp_path / "cgroup.freeze").read_text().startswith("0")
    (tmp_path / "cgroup.events").write_text("populated 1\nfrozen 1\n")
    Cgroup({"": path}).freeze()
    assert (tmp_path / "cgroup.freeze").read_text().startswith("1")


def test_a_cgroup_that_vanishes_is_no_error_for_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last process exited, and another command removed the cgroup, between two of the runtime's calls."""
    listed = tmp_path / "listed"
    listed.mkdir()
    group = Cgroup({"devices": directory(listed, cgroup__procs="4194305\n"), "freezer": str(tmp_path / "gone")})
    killed: list[int] = []
    monkeypatch.setattr("pyruntime.runtime.cgroups.group._kill", killed.append)
    group.kill()
    assert killed and set(killed) == {4194305}
    group.thaw()
    with pytest.raises(StateError, match="no longer exists"):
        group.freeze()


def test_kill_without_permission_to_freeze(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = directory(tmp_path, freezer__state="THAWED\n", cgroup__procs="4194305\n")
    killed: list[int] = []
    monkeypatch.setattr("pyruntime.runtime.cgroups.group._kill", killed.append)

    def refused(path: str, data: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("pyruntime.runtime.cgroups.group._write", refused)
    Cgroup({"freezer": path}).kill()
    assert set(killed) == {4194305}


def test_without_a_freezer() -> None:
    group = Cgroup({"memory": "/nowhere"})
    assert not group.frozen()
    with pytest.raises(HostError, match="no cgroup freezer"):
        group.freeze()


def test_kill_uses_cgroup_kill(tmp_path: Path) -> None:
    path = directory(tmp_path, cgroup__kill="", cgroup__procs="")
    Cgroup({"": path}).kill()
    assert (tmp_path / "cgroup.kill").read_text() == "1"
