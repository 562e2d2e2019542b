"""The state directory and `delete` after processes died, the disk filled up or a cgroup was frozen."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pyruntime.runtime.cgroups.host import directories_of
from pyruntime.runtime.lifecycle.store import StateDirectory, StateRecord
from pyruntime.system.processes import start_time
from tests.commands import COMMAND
from tests.containers import PATIENCE, Bundle, Runtime


@pytest.fixture
def freezer() -> Iterator[Path]:
    """An empty cgroup in the v1 freezer hierarchy that no container created."""
    hierarchy = Path("/sys/fs/cgroup/freezer")
    if not (hierarchy / "cgroup.procs").exists():
        pytest.skip("the host has no v1 freezer")
    path = hierarchy / f"review-{os.getpid()}"
    path.mkdir()
    yield path
    deadline = time.monotonic() + 5
    while path.is_dir() and time.monotonic() < deadline:
        try:
            path.rmdir()
        except OSError:
            time.sleep(0.02)


def record_of(runtime: Runtime, name: str) -> dict[str, object]:
    value = json.loads((runtime.root / name / "state.json").read_text())
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("words", [["delete", "--force", "c1"], ["kill", "c1", "KILL"]])
def test_a_frozen_container_can_be_killed(runtime: Runtime, bundle: Bundle, freezer: Path, words: list[str]) -> None:
    bundle.save(process__args=["sleep", "100"], linux__cgroupsPath=f"/{freezer.name}")
    runtime.ok("run", "-d", "c1", bundle)
    (freezer / "freezer.state").write_text("FROZEN")
    runtime.await_status("c1", "paused")
    before = time.monotonic()
    runtime.ok(*words)
    if words[0] == "kill":
        runtime.await_status("c1", "stopped")
        runtime.ok("delete", "c1")
    assert time.monotonic() - before < 5
    assert freezer.is_dir()   # not the container's own


def test_delete_kills_processes_with_host_pids_in_an_existing_cgroup(
        runtime: Runtime, bundle: Bundle, freezer: Path) -> None:
    # Every hierarchy must have it: delete kills the processes in cgroups that create made.
    path = f"/{freezer.name}"
    made = []
    for hierarchy in Path("/sys/fs/cgroup").iterdir():
        if (hierarchy / "cgroup.procs").exists() and not hierarchy.is_symlink() and hierarchy.name != "freezer":
            made.append(hierarchy / freezer.name)
            made[-1].mkdir()
            for file in ("cpuset.cpus", "cpuset.mems"):
                if (hierarchy / file).exists():
                    (made[-1] / file).write_text((hierarchy / file).read_text())
    try:
        spaces = [entry for entry in bundle.config["linux"]["namespaces"] if entry["type"] != "pid"]
        bundle.shell("sleep 1234 & exec sleep 0.1", linux__cgroupsPath=path, linux__namespaces=spaces)
        runtime.ok("run", "-d", "c1", bundle)
        runtime.await_status("c1", "stopped")
        assert (freezer / "cgroup.procs").read_text()
        runtime.ok("delete", "c1")
        deadline = time.monotonic() + 5
        while (freezer / "cgroup.procs").read_text() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not (freezer / "cgroup.procs").read_text()
    finally:
        for directory in made:
            for _ in range(100):
                try:
                    directory.rmdir()
                    break
                except OSError:
                    for pid in (directory / "cgroup.procs").read_text().split():
                        os.kill(int(pid), 9)
                    time.sleep(0.02)


def test_an_init_without_a_start_time_is_not_alive() -> None:
    assert not StateRecord(pid=4194304 + 1, started=0).alive()


def test_a_full_disk_keeps_the_old_record(tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", place], check=True)
    try:
        container = StateDirectory(str(place / "root"), "c1")
        record = StateRecord(id="c1")
        container.claim(record)
        record.annotations = {"a": "x" * 14000}   # a part of it fits
        with pytest.raises(Exception, match="No space left"):
            container.write(record)
        assert container.read().annotations == {}
        assert sorted(os.listdir(container.directory)) == ["state.json"]
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_disk_that_is_full_after_create(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """No other command needs space; a second container is refused, and nothing of it is left."""
    runtime.root.mkdir()
    process = tmp_path / "process"
    process.write_text('{"args": ["echo", "a"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}')
    bundle.shell("sleep 100")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", runtime.root], check=True)
    try:
        runtime.ok("create", "c1", bundle)
        with pytest.raises(OSError, match="No space left"):
            (runtime.root / ".full").write_bytes(bytes(1 << 17))
        for words, status in (("start c1", "running"), ("pause c1", "paused"), ("resume c1", "running")):
            runtime.ok(*words.split())
            assert runtime.state("c1")["status"] == status
        for _ in range(2):   # the front would find a plan of the first one's
            assert runtime.ok("exec", "--process", process, "c1") == "a\n"
        assert runtime.ok("exec", "-e", "A=1", "c1", "sh", "-c", "echo $A") == "1\n"
        refused = runtime("create", "c2", bundle)
        assert refused.returncode == 1 and "No space left" in refused.stderr and str(runtime.root) in refused.stderr
        assert runtime.ok("list", "-q") == "c1\n"
        runtime.ok("kill", "c1", "KILL")
        runtime.await_status("c1", "stopped")
        runtime.ok("delete", "c1")
        assert os.listdir(runtime.root) == [".full"]
    finally:
        subprocess.run(["umount", runtime.root], check=True)


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated"])
@pytest.mark.parametrize("file", ["life.plan", "exec.plan", "exec.json", "start.sock"])
def test_a_file_of_a_container_is_damaged(runtime: Runtime, bundle: Bundle, file: str, damage: str) -> None:
    """What can be done without it is done, from the first command on; a missing configuration is named."""
    runtime.ok("create", "c1", bundle.shell("sleep 100"))
    path = runtime.root / "c1" / file
    if file != "start.sock":
        runtime.ok("start", "c1")
    if damage == "missing":
        path.unlink()
    elif file == "start.sock":
        path.unlink()
        path.write_text("" if damage == "empty" else "a")
    else:
        data = path.read_bytes()
        path.write_bytes(data[:len(data) // 2] if damage == "truncated" else b"")
    done = runtime("exec", "c1", "echo", "a")
    if file == "exec.json":
        assert done.returncode == 255 and "c1/exec.json" in done.stderr and done.stdout == ""
    else:
        assert (done.returncode, done.stdout) == (0, "a\n"), done.stderr
    assert runtime.state("c1")["status"] == "running"   # an init that cannot be asked to start counts as running
    for words in ("pause c1", "resume c1", "kill c1 KILL"):
        runtime.ok(*words.split())
    runtime.await_status("c1", "stopped")
    runtime.ok("delete", "c1")


def test_a_pid_file_of_a_killed_runtime_does_not_matter(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.shell("sleep 100")
    (tmp_path / ".pid").touch()
    runtime.ok("create", "--pid-file", tmp_path / "pid", "c1", bundle)
    assert int((tmp_path / "pid").read_text()) == runtime.state("c1")["pid"]


def test_delete_force_of_a_container_that_is_being_created(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    hook = f"while ! [ -e {tmp_path}/end ]; do sleep 0.05; done"
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", hook]}]}
    bundle.shell("true")
    create = subprocess.Popen([COMMAND, "--root", runtime.root, "create", "c1", bundle.path],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE
    while not (runtime.root / "c1" / "state.json").exists() or not record_of(runtime, "c1")["pid"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert runtime.state("c1")["status"] == "creating"
    pid = record_of(runtime, "c1")["pid"]
    runtime.ok("delete", "--force", "c1")
    assert create.wait(PATIENCE) == -9
    (tmp_path / "end").touch()
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("text", ['{"version": 1, "pid"', "", "{}", "[]"])
def test_a_damaged_record_hides_nothing_and_can_be_deleted(runtime: Runtime, bundle: Bundle, text: str) -> None:
    bundle.shell("true")
    runtime.ok("create", "c1", bundle)
    (runtime.root / "bad").mkdir()
    (runtime.root / "bad/state.json").write_text(text)
    done = runtime("list", "-q")
    assert (done.returncode, done.stdout) == (0, "c1\n") and "bad/state.json" in done.stderr
    assert runtime("delete", "bad").returncode == 1
    assert "bad/state.json" in runtime("delete", "--force", "bad").stderr
    assert not (runtime.root / "bad").exists()


@pytest.mark.parametrize("damage", ["", "{", '{"version": 99}', "missing"])
@pytest.mark.parametrize("started", [False, True])
def test_delete_by_force_never_leaves_a_process(runtime: Runtime, bundle: Bundle, damage: str, started: bool) -> None:
    bundle.shell("sleep 100 & sleep 100")
    bundle.config["linux"]["namespaces"] = [space for space in bundle.config["linux"]["namespaces"]
                                            if space["type"] != "pid"]
    runtime.ok("create", "c1", bundle.save())
    pid = runtime.state("c1")["pid"]
    if started:
        runtime.ok("start", "c1")
    state = runtime.root / "c1" / "state.json"
    if damage == "missing":
        state.unlink()
    else:
        state.write_text(damage)
    done = runtime("delete", "--force", "c1")
    assert done.returncode == 0
    assert not start_time(pid) and not (runtime.root / "c1").exists()


def test_delete_by_force_kills_no_process_of_a_cgroup_with_another_name(runtime: Runtime, bundle: Bundle) -> None:
    # The name of the cgroup contains the container's ID by chance; the cgroup may be that of a session.
    bundle.shell("sleep 100", linux__cgroupsPath="session-c1-of-a-user")
    runtime.ok("create", "c1", bundle)
    pid = runtime.state("c1")["pid"]
    directories = {path for path in directories_of(pid).values() if path.endswith("/session-c1-of-a-user")}
    with subprocess.Popen(["sleep", "100"]) as neighbour:
        for path in directories:
            Path(path, "cgroup.procs").write_text(str(neighbour.pid))
        (runtime.root / "c1" / "state.json").write_text("")
        done = runtime("delete", "--force", "c1")
        alive = neighbour.poll() is None
        neighbour.kill()
    for path in filter(os.path.isdir, directories):
        os.rmdir(path)
    assert directories and alive and not start_time(pid)
    assert "cgroup is unknown and was not removed" in done.stderr


def test_list_ignores_containers_that_are_deleted_meanwhile(runtime: Runtime, bundle: Bundle) -> None:
    bundle.shell("true")
    runtime.ok("run", "c1", bundle)
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            runtime.ok("run", "c1", bundle)
    others = threading.Thread(target=churn)
    others.start()
    try:
        for _ in range(60):
            for words in ([], ["-q"], ["-f", "json"]):
                assert runtime.ok("list", *words) is not None
    finally:
        stop.set()
        others.join()


def test_of_several_deletes_one_succeeds_and_runs_the_hooks(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    count = tmp_path / "count"
    bundle.config["hooks"] = {"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", f"echo hook >> {count}"]}]}
    bundle.shell("true")
    for turn in range(1, 9):
        runtime.ok("create", "c1", bundle)
        runtime.ok("start", "c1")
        runtime.await_status("c1", "stopped")
        with ThreadPoolExecutor(4) as pool:
            done = list(pool.map(lambda _: runtime("delete", "c1"), range(4)))
        assert sorted(one.returncode for one in done) == [0, 1, 1, 1]
        assert all("container does not exist" in one.stderr for one in done if one.returncode)
        assert count.read_text() == "hook\n" * turn
