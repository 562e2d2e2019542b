"""checkpoint, restore: real containers with a real CRIU, compared with runc."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commands import COMMAND
from tests.containers import PATIENCE, Bundle, Runtime
from tests.runtime.integration.checkpoint.checkpointed import COUNT, QUIET, grows, mountinfo


def test_round_trip(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path) -> None:
    """A restored container supports every operation, including another checkpoint."""
    image, pid_file = tmp_path / "image", tmp_path / "pid"
    before = mountinfo(criu.state("c1")["pid"])
    reached = grows(counter)
    assert criu.ok("checkpoint", "--image-path", image, "c1") == ""
    assert criu("state", "c1").returncode == 1
    assert (image / "descriptors.json").exists() and (image / "dump.log").exists()

    criu.ok("restore", "--image-path", image, "-d", "--pid-file", pid_file, "--bundle", own_bundle, "c1")
    state = criu.state("c1")
    assert state["status"] == "running" and pid_file.read_text() == str(state["pid"])
    assert state["bundle"] == str(own_bundle)
    assert grows(counter) > reached
    assert mountinfo(state["pid"]) == before

    assert criu.ok("exec", "c1", "cat", "/proc/1/comm") == "sh\n"
    criu.ok("pause", "c1")
    assert criu.state("c1")["status"] == "paused"
    criu.ok("resume", "c1")
    criu.ok("update", "--pids-limit", "40", "c1")
    again = tmp_path / "again"
    criu.ok("checkpoint", "--image-path", again, "c1")
    criu.ok("restore", "--image-path", again, "-d", "--bundle", own_bundle, "c1")
    grows(counter)
    criu.ok("kill", "c1", "KILL")
    criu.await_status("c1", "stopped")
    criu.ok("delete", "c1")


def test_a_container_with_a_notify_socket(criu: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    """`create` mounted a directory that config.json does not have. The restored container is not a service of the
    manager."""
    place = tmp_path / "manager"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(place))
        criu.ok("create", "c1", own_bundle.shell(COUNT), env={"NOTIFY_SOCKET": str(place)})
        criu.ok("start", "c1")
        before = mountinfo(criu.state("c1")["pid"])
        assert "/run/notify" in before
        reached = grows(Path(own_bundle.config["root"]["path"]) / "count")
        criu.ok("checkpoint", "--image-path", tmp_path / "image", "c1")
        criu.ok("restore", "-d", "--image-path", tmp_path / "image", "--bundle", own_bundle, "c1")
    assert grows(Path(own_bundle.config["root"]["path"]) / "count") > reached
    assert mountinfo(criu.state("c1")["pid"]) == before


def test_a_read_only_root(criu: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    """The root is read-only again, and /tmp is not needed."""
    (Path(own_bundle.config["root"]["path"]) / "tmp").rmdir()
    (tmp_path / "data").mkdir()
    own_bundle.add_mount("/data", "bind", str(tmp_path / "data"), "bind")
    own_bundle.shell(COUNT.replace("/count", "/data/count"), root__readonly=True)
    criu.ok("run", "-d", "c1", own_bundle)
    reached = grows(tmp_path / "data/count")
    before = mountinfo(criu.state("c1")["pid"])
    criu.ok("checkpoint", "--image-path", tmp_path / "image", "c1")
    criu.ok("restore", "-d", "--no-subreaper", "--image-path", tmp_path / "image", "-b", own_bundle, "c1")
    assert grows(tmp_path / "data/count") > reached
    assert mountinfo(criu.state("c1")["pid"]) == before
    assert "Read-only file system" in criu("exec", "c1", "touch", "/x").stderr


def test_the_arguments_of_containerd(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path) -> None:
    """As called by go-runc: options after arguments, an option with a single dash, and the container is a child of the
    caller."""
    image, work = tmp_path / "image", tmp_path / "work"
    criu.ok("pause", "c1")   # CRIU refuses to restore a file that has been written since, if it was open
    criu.ok("checkpoint", "--image-path", image, "--work-path", work, "--leave-running", "c1")
    assert (work / "dump.log").exists() and not (image / "dump.log").exists()
    criu.ok("delete", "--force", "c1")
    pid_file = tmp_path / "init.pid"
    script = ("import ctypes, os, subprocess, sys\n"
              "ctypes.CDLL(None).prctl(36, 1)\n"   # PR_SET_CHILD_SUBREAPER, as in a shim
              "subprocess.run(sys.argv[2:], check=True)\n"
              "pid = int(open(sys.argv[1]).read())\n"
              "print(open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[1] == str(os.getpid()))\n"
              "os.kill(pid, 9)\n"
              "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n")
    words = [str(word) for word in (
        COMMAND, "--root", criu.root, "restore", "--image-path", image, "--work-path", work, "--detach", "--pid-file",
        pid_file, "--no-pivot", "-no-subreaper", "--bundle", own_bundle, "c1")]
    done = subprocess.run([sys.executable, "-c", script, pid_file, *words], text=True, check=False, timeout=PATIENCE,
                          env=criu.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert done.returncode == 0 and done.stdout.split() == ["True", "-9"]
    assert criu.state("c1")["status"] == "stopped"
    assert (work / "restore.log").exists()


def test_leave_running(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path) -> None:
    before = criu.state("c1")["pid"]
    criu.ok("checkpoint", "--leave-running", "c1", cwd=tmp_path)
    assert (tmp_path / "checkpoint/pstree.img").exists()
    assert criu.state("c1")["status"] == "running" and criu.state("c1")["pid"] == before
    grows(counter)


def test_a_paused_container(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path) -> None:
    criu.ok("pause", "c1")
    criu.ok("checkpoint", "--leave-running", "--image-path", tmp_path / "one", "c1")
    assert criu.state("c1")["status"] == "paused"
    criu.ok("checkpoint", "--image-path", tmp_path / "two", "c1")
    assert criu("state", "c1").returncode == 1
    criu.ok("restore", "-d", "--image-path", tmp_path / "two", "--bundle", own_bundle, "c1")
    assert criu.state("c1")["status"] == "running"
    grows(counter)


def test_in_the_foreground(criu: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    """The output and exit status of `restore` are those of the program; the container is deleted afterwards."""
    own_bundle.shell("exec </dev/null 2>/dev/null; while [ ! -e /go ]; do sleep 0.02; done; echo back; exit 7")
    with (tmp_path / "out").open("w") as out:
        subprocess.run([COMMAND, "--root", criu.root, "run", "-d", "c1", str(own_bundle)], check=True, stdout=out,
                       stdin=subprocess.DEVNULL, env=criu.environment)
    criu.ok("checkpoint", "--image-path", tmp_path / "image", "c1")
    (Path(own_bundle.config["root"]["path"]) / "go").touch()
    done = criu("restore", "--image-path", tmp_path / "image", "--bundle", own_bundle, "c1")
    assert done.returncode == 7 and done.stdout == "back\n", done.stderr
    assert (tmp_path / "out").read_text() == ""
    assert criu("state", "c1").returncode == 1


def test_pipes(criu: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    """Standard descriptors that are pipes become the pipes of restore (containerd, conmon)."""
    own_bundle.shell("while read line; do echo got $line; done")
    words: list[str | Path] = [COMMAND, "--root", criu.root]
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        subprocess.run([*words, "run", "-d", "c1", str(own_bundle)], check=True, env=criu.environment,
                       stdin=first.stdout, stdout=first.stdin, stderr=subprocess.DEVNULL)
        criu.ok("checkpoint", "--image-path", tmp_path / "image", "c1")
    given, theirs = os.pipe(), os.pipe()
    subprocess.run([*words, "restore", "-d", "--image-path", tmp_path / "image", "--bundle", str(own_bundle),
                    "c1"], check=True, env=criu.environment, stdin=given[0], stdout=theirs[1],
                   stderr=subprocess.DEVNULL)
    os.write(given[1], b"this\n")
    assert os.read(theirs[0], 100) == b"got this\n"
    for fd in (*given, *theirs):
        os.close(fd)
    criu.await_status("c1", "stopped")


def test_limits_and_path_of_the_cgroup_are_those_of_the_new_bundle(criu: Runtime, own_bundle: Bundle, counter: Path,
                                                            tmp_path: Path) -> None:
    """The container is restored under another name with other limits; a sub-cgroup created inside is restored, too."""
    criu.ok("checkpoint", "--image-path", tmp_path / "image", "c1")
    own_bundle.save(linux__resources={"pids": {"limit": 77}, "devices": [{"allow": False, "access": "rwm"}]})
    criu.ok("restore", "-d", "--image-path", tmp_path / "image", "--bundle", own_bundle, "c2")
    pid = criu.state("c2")["pid"]
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        assert line.endswith("/c2"), line
    stats = json.loads(criu.ok("events", "--stats", "c2"))["data"]
    assert stats["pids"]["limit"] == 77
    criu.ok("exec", "c2", "sh", "-c", "! true </dev/mem")
    assert str(pid) in criu.ok("ps", "--format", "json", "c2")


@pytest.mark.parametrize("mode", ["soft", "full", "strict", "ignore"])
def test_manage_cgroups_mode(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path, mode: str) -> None:
    criu.ok("checkpoint", "--manage-cgroups-mode", mode, "--image-path", tmp_path / "image", "c1")
    done = criu("restore", "-d", "--manage-cgroups-mode", mode, "--image-path", tmp_path / "image", "--bundle",
                own_bundle, "c1")
    if mode == "strict":   # fails if a cgroup exists already (criu(8)), as that of the container does
        assert done.returncode == 1 and "criu failed: type RESTORE" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    for line in Path(f"/proc/{criu.state('c1')['pid']}/cgroup").read_text().splitlines():
        assert line.endswith("/c1"), line
    grows(counter)




@pytest.fixture
def runc(criu: Runtime, tmp_path: Path) -> Iterator[Any]:
    """Calls runc with a separate state directory."""
    def call(*words: object) -> subprocess.CompletedProcess[str]:
        with (tmp_path / "runc.out").open("w+") as out:
            done = subprocess.run(["runc", "--root", str(tmp_path / "runc"), *map(str, words)], text=True, check=False,
                                  stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=criu.environment,
                                  timeout=PATIENCE)
            out.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, out.read(), "")
    yield call
    call("delete", "--force", "c1")


def test_checkpoints_of_runc(criu: Runtime, own_bundle: Bundle, runc: Any, tmp_path: Path) -> None:
    """pyruntime restores a checkpoint of runc, and runc a checkpoint of pyruntime."""
    own_bundle.config["ociVersion"] = "1.0.2"
    own_bundle.shell(COUNT)
    count = Path(own_bundle.config["root"]["path"]) / "count"
    image = tmp_path / "image"
    done = runc("run", "-d", "--bundle", own_bundle, "c1")
    assert done.returncode == 0, done.stdout
    reached = grows(count)
    done = runc("checkpoint", "--image-path", image, "c1")
    if done.returncode:
        pytest.skip(f"runc cannot restore it: {done.stdout.strip()}")
    criu.ok("restore", "-d", "--image-path", image, "--bundle", own_bundle, "c1")
    again = grows(count)
    assert again > reached
    criu.ok("checkpoint", "--image-path", tmp_path / "ours", "c1")
    done = runc("restore", "-d", "--image-path", tmp_path / "ours", "--bundle", own_bundle, "c1")
    assert done.returncode == 0, done.stdout
    assert grows(count) > again


def test_a_stopped_process(criu: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    """CRIU must not freeze it by cgroup v1, or it would wait for it for ever."""
    own_bundle.shell(QUIET + "sleep 1000 & kill -STOP $!; wait")
    criu.ok("run", "-d", "c1", own_bundle)

    def stopped() -> list[int]:
        return [pid for pid in json.loads(criu.ok("ps", "-f", "json", "c1"))
                if "State:\tT" in Path(f"/proc/{pid}/status").read_text()]

    deadline = time.monotonic() + PATIENCE
    while not stopped():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    criu.ok("checkpoint", "--image-path", tmp_path / "image", "c1")
    criu.ok("restore", "--image-path", tmp_path / "image", "-d", "--bundle", own_bundle, "c1")
    assert len(stopped()) == 1
    criu.ok("delete", "-f", "c1")
