"""The parent's cgroup steps, on directories in place of a cgroup filesystem."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from pyruntime.runtime.cgroups import create


def files(directory: Path, **content: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        (directory / name.replace("__", ".")).write_text(text)
    return directory


def strerror(caught: pytest.ExceptionInfo[OSError]) -> str:
    return str(caught.value.strerror)


def test_create_creates_and_returns_ancestors(tmp_path: Path) -> None:
    path = str(tmp_path / "a" / "b")
    assert create.create(path) == [str(tmp_path / "a"), path]
    assert create.create(path) == []
    create.remove(path)
    create.remove(path)
    assert not os.path.exists(path)


def test_create_names_the_directory_it_cannot_make(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError) as caught:
        create.create(str(tmp_path / "file" / "x"))
    assert caught.value.errno == errno.ENOTDIR
    assert strerror(caught) == f'mkdir "{tmp_path}/file/x": Not a directory'


def test_a_cgroup_with_processes_is_refused(tmp_path: Path) -> None:
    files(tmp_path / "a", cgroup__procs="12\n13\n")
    files(tmp_path / "a" / "sub", cgroup__procs="14\n")
    with pytest.raises(OSError) as caught:
        create.create(str(tmp_path / "a"))
    assert caught.value.errno == errno.EBUSY
    assert strerror(caught).startswith("container's cgroup is not empty: 3 process(es) found")


@pytest.mark.parametrize("content", [{"freezer__state": "FROZEN\n"}, {"cgroup__events": "populated 0\nfrozen 1\n"}])
def test_a_frozen_cgroup_is_refused(tmp_path: Path, content: dict[str, str]) -> None:
    files(tmp_path / "a", **content)
    with pytest.raises(OSError, match="container's cgroup unexpectedly frozen"):
        create.create(str(tmp_path / "a"))


def test_v1_cpusets_start_with_their_parents_cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mkdir(path: str, mode: int) -> None:   # like the kernel
        real(path, mode)
        files(Path(path), cpuset__cpus="\n", cpuset__mems="\n", cpuset__sched_load_balance="1\n")

    real = os.mkdir
    files(tmp_path, cpuset__cpus="0-3\n", cpuset__mems="0\n")
    monkeypatch.setattr(os, "mkdir", mkdir)
    create.create(str(tmp_path / "a" / "b"))
    for name in ("a", "a/b"):
        assert (tmp_path / name / "cpuset.cpus").read_text().strip() == "0-3"
        assert (tmp_path / name / "cpuset.mems").read_text().strip() == "0"


def test_a_failure_removes_the_created_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise OSError(errno.EBUSY, "frozen")

    monkeypatch.setattr(create, "_require_thawed", refuse)
    with pytest.raises(OSError):
        create.create(str(tmp_path / "a" / "b"))
    assert os.listdir(tmp_path) == []


# --- write -----------------------------------------------------------------------------------------------------------

class Kernel:
    """Files that may refuse writes: ``accept(file, data, values)`` returns 0 or an errno."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch, accept: Any, **values: str) -> None:
        self.values = {name.replace("__", "."): value for name, value in values.items()}
        self.written: list[tuple[str, str]] = []
        files(path, **values)
        real_open, real_write = os.open, os.write
        names: dict[int, str] = {}

        def fake_open(name: str, flags: int, *args: Any) -> int:
            descriptor = real_open(name, flags, *args)
            names[descriptor] = os.path.basename(name)
            return descriptor

        def fake_write(descriptor: int, data: bytes) -> int:
            text = data.decode()
            number = accept(names[descriptor], text, self.values)
            if number:
                raise OSError(number, os.strerror(number))
            self.written.append((names[descriptor], text))
            self.values[names[descriptor]] = text
            return real_write(descriptor, data)

        monkeypatch.setattr(os, "open", fake_open)
        monkeypatch.setattr(os, "write", fake_write)


def memory_rules(file: str, data: str, values: dict[str, str]) -> int:
    new = {**values, file: data}
    top = {name: float("inf") if value == "-1" else int(value) for name, value in new.items()}
    return 0 if top["memory.limit_in_bytes"] <= top["memory.memsw.limit_in_bytes"] else errno.EINVAL


@pytest.mark.parametrize(("old", "new"), [
    (("-1", "-1"), "100+200"), (("100", "200"), "300+400"), (("300", "400"), "100+200"), (("100", "200"), "-1+-1"),
    (("100", "200"), "200+200"), (("5", "5"), "5+5")])
def test_a_group_is_written_in_a_valid_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: tuple[str, str],
                                 new: str) -> None:
    kernel = Kernel(tmp_path, monkeypatch, memory_rules, memory__limit_in_bytes=old[0],
                    memory__memsw__limit_in_bytes=old[1])
    create.write(str(tmp_path), "memory.limit_in_bytes+memory.memsw.limit_in_bytes", new)
    assert list(kernel.values.values()) == new.split("+")


def test_a_group_without_a_valid_order_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Kernel(tmp_path, monkeypatch, memory_rules, memory__limit_in_bytes="-1", memory__memsw__limit_in_bytes="-1")
    with pytest.raises(OSError) as caught:
        create.write(str(tmp_path), "memory.limit_in_bytes+memory.memsw.limit_in_bytes", "200+100")
    assert strerror(caught) == 'memory.memsw.limit_in_bytes: write "100": Invalid argument'


def test_an_optional_member_may_be_missing(tmp_path: Path) -> None:
    files(tmp_path, a="")
    create.write(str(tmp_path), "a+b?", "1+2")
    assert (tmp_path / "a").read_text() == "1"
    assert not (tmp_path / "b").exists()
    with pytest.raises(OSError) as caught:   # but not the cgroup
        create.write(str(tmp_path / "none"), "b?", "2")
    assert caught.value.errno == errno.ENOENT


def test_an_optional_file_may_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Kernel(tmp_path, monkeypatch, lambda *_: errno.ENOTSUP, a="")
    create.write(str(tmp_path), "a?", "1")
    with pytest.raises(OSError, match="Operation not supported"):
        create.write(str(tmp_path), "a", "1")


def test_the_first_that_exists(tmp_path: Path) -> None:
    files(tmp_path, io__weight="")
    create.write(str(tmp_path), "io.bfq.weight|io.weight", "8:0 5|8:0 50")
    assert (tmp_path / "io.weight").read_text() == "8:0 50"
    with pytest.raises(OSError, match="weights need the BFQ scheduler"):
        create.write(str(tmp_path), "blkio.weight|blkio.bfq.weight", "5")


def test_a_limit_below_the_usage_is_rejected(tmp_path: Path) -> None:
    files(tmp_path, memory__max="max", memory__current="500\n")
    with pytest.raises(OSError) as caught:
        create.write(str(tmp_path), "memory.max>memory.current", "500")
    assert strerror(caught) == "rejecting memory limit 500 <= usage 500"
    create.write(str(tmp_path), "memory.max>memory.current", "501")
    assert (tmp_path / "memory.max").read_text() == "501"


def test_lines_are_written_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(tmp_path, monkeypatch, lambda *_: 0, io__max="")
    create.write(str(tmp_path), "io.max", "8:0 rbps=1\n8:16 wbps=2\n")
    assert kernel.written == [("io.max", "8:0 rbps=1"), ("io.max", "8:16 wbps=2")]


def test_an_empty_value_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(tmp_path, monkeypatch, lambda *_: 0, cpuset__cpus="0")
    create.write(str(tmp_path), "cpuset.cpus", "")
    assert kernel.written == [("cpuset.cpus", "\n")]


def test_the_error_for_a_memory_limit_below_the_usage_has_runcs_phrase(tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    Kernel(tmp_path, monkeypatch, lambda *_: errno.EBUSY, memory__limit_in_bytes="", memory__usage_in_bytes="7000\n",
           memory__max_usage_in_bytes="9000\n")
    with pytest.raises(OSError) as caught:
        create.write(str(tmp_path), "memory.limit_in_bytes", "1024")
    assert caught.value.errno == errno.EBUSY
    assert strerror(caught) == ("unable to set memory limit to 1024 (current usage: 7000, peak usage: 9000)\n"
                                '  memory.limit_in_bytes: write "1024": Device or resource busy')


def test_a_missing_file_is_explained(tmp_path: Path) -> None:
    for file, words in (("memory.memsw.limit_in_bytes", "swapaccount=1"), ("cpu.rt_runtime_us", "RT_GROUP_SCHED"),
                        ("hugetlb.3MB.max", "no huge pages of this size"), ("x.y", "no such file in")):
        with pytest.raises(OSError, match=words):
            create.write(str(tmp_path), file, "1")
    files(tmp_path, cgroup__controllers="cpu pids\n")
    with pytest.raises(OSError, match='the controller "memory" is not available in'):
        create.write(str(tmp_path), "memory.max", "1")
    with pytest.raises(OSError, match=r"the cgroup .* does not exist"):
        create.write(str(tmp_path / "none"), "memory.max", "1")


# --- cgroup.subtree_control ------------------------------------------------------------------------------------------

def test_enabled_controllers_are_not_enabled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(tmp_path, monkeypatch, lambda *_: 0, cgroup__subtree_control="cpu memory\n")
    create.write(str(tmp_path), "cgroup.subtree_control", "+cpu +memory")
    assert kernel.written == []
    create.write(str(tmp_path), "cgroup.subtree_control", "+cpu +io +pids")
    assert kernel.written == [("cgroup.subtree_control", "+io +pids")]


@pytest.mark.parametrize(("number", "words"), [
    (errno.EBUSY, "this cgroup contains processes"), (errno.ENOTSUP, "Operation not supported"),
    (errno.ENOENT, "its parent does not delegate this controller"), (errno.EACCES, "Permission denied")])
def test_available_controllers_are_enabled_and_others_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                          number: int, words: str) -> None:
    kernel = Kernel(tmp_path, monkeypatch, lambda _file, data, _values: number if "+cpu" in data else 0,
                    cgroup__subtree_control="")
    with pytest.raises(OSError) as caught:
        create.write(str(tmp_path), "cgroup.subtree_control", "+cpu +io +pids")
    assert caught.value.errno == number
    assert 'write "+cpu"' in strerror(caught) and words in strerror(caught)
    assert [data for _, data in kernel.written] == ["+io", "+pids"]


def test_a_threaded_cgroup_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Kernel(tmp_path, monkeypatch, lambda *_: errno.ENOENT, cgroup__subtree_control="", cgroup__type="threaded\n",
           cgroup__procs="")
    with pytest.raises(OSError, match="the cgroup is threaded"):
        create.write(str(tmp_path), "cgroup.subtree_control", "+memory")


def test_nothing_is_enabled_in_a_cgroup_with_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The kernel would accept "+cpu", and the new child would be unusable.
    kernel = Kernel(tmp_path, monkeypatch, lambda *_: 0, cgroup__subtree_control="", cgroup__type="domain\n",
                    cgroup__procs="1\n")
    with pytest.raises(OSError, match="this cgroup contains processes"):
        create.write(str(tmp_path), "cgroup.subtree_control", "+cpu")
    assert kernel.written == []


# --- join, own -------------------------------------------------------------------------------------------------------

def test_join(tmp_path: Path) -> None:
    paths = [str(files(tmp_path / name, cgroup__procs="")) for name in ("a", "b")]
    create.join(paths, 42)
    assert [Path(path, "cgroup.procs").read_text() for path in paths] == ["42", "42"]


@pytest.mark.parametrize(("number", "file", "words"), [
    (errno.EBUSY, "cgroup__subtree_control", "delegates controllers to its children"),
    (errno.ENOSPC, "cpuset__cpus", "cpuset.cpus or cpuset.mems is empty"),
    (errno.ESRCH, "x", "the process has exited")])
def test_a_refused_join_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, file: str,
                                     words: str) -> None:
    Kernel(tmp_path, monkeypatch, lambda *_: number, **{"cgroup__procs": "", file: ""})
    with pytest.raises(OSError) as caught:
        create.join([str(tmp_path)], 42)
    assert caught.value.errno == number
    assert words in strerror(caught)


def test_own_changes_only_delegated_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = []
    monkeypatch.setattr(os, "chown", lambda path, *_args, **_kw: changed.append(os.path.basename(path)))
    create.own(str(tmp_path), 1000)
    assert changed[0] == ""
    assert set(create.DELEGATED) <= set(changed)
    assert "memory.max" not in changed
