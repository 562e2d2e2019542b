"""Containers that another version has started are entered, stopped and deleted by the present one: `make test-upgrade`
builds the version before, and gives its commands in PYRUNTIME_TEST_PREVIOUS."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import COMMAND
from tests.pocker.integration.command import Pocker

PREVIOUS = os.environ.get("PYRUNTIME_TEST_PREVIOUS", "")
pytestmark = [pytest.mark.root, pytest.mark.skipif(not PREVIOUS, reason=(
    "PYRUNTIME_TEST_PREVIOUS does not name the commands of another version: make test-upgrade builds them"))]


def run(command: str | Path, *words: object, fails: int = 0, **environment: str) -> str:
    """The output of a command that must end with the status ``fails``."""
    done = subprocess.run([str(command), *map(str, words)], capture_output=True, text=True, check=False, timeout=120,
                          stdin=subprocess.DEVNULL, env={**os.environ, **environment})
    assert done.returncode == fails, (words, done.stdout, done.stderr)
    return done.stdout


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle whose program sleeps."""
    root = tmp_path / "bundle/rootfs/bin"
    root.mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "sh")
    (root / "sleep").symlink_to("sh")
    subprocess.run([COMMAND, "spec"], cwd=tmp_path / "bundle", check=True)
    path = tmp_path / "bundle/config.json"
    config = json.loads(path.read_text())
    config["process"].update(terminal=False, args=["sleep", "1000"])
    config["linux"]["cgroupsPath"] = f"/upgrade-{os.getpid()}"
    path.write_text(json.dumps(config))
    return path.parent


@pytest.mark.parametrize("front", ["on", "off"])
@pytest.mark.parametrize("started", [True, False])
def test_containers_of_the_runtime(tmp_path: Path, bundle: Path, front: str, started: bool) -> None:
    root = ("--root", tmp_path / "state")
    with (tmp_path / "output").open("w") as output:
        subprocess.run([f"{PREVIOUS}/pyruntime", *root, "create", "c1", bundle], check=True, timeout=120,
                       stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def now(*words: object) -> str:
        return run(COMMAND, *root, *words, PYRUNTIME_FRONT=front)

    try:
        if started:
            run(f"{PREVIOUS}/pyruntime", *root, "start", "c1")
        else:
            assert json.loads(now("state", "c1"))["status"] == "created"
            now("start", "c1")
        assert json.loads(now("state", "c1"))["status"] == "running" and now("list", "-q") == "c1\n"
        assert now("exec", "c1", "sh", "-c", "echo a") == "a\n"
        assert now("exec", "-e", "A=1", "-u", "5:6", "c1", "sh", "-c", "echo $A") == "1\n"
        now("ps", "c1")
        now("pause", "c1")
        now("resume", "c1")
        now("update", "--pids-limit", "50", "c1")
        assert json.loads(now("events", "--stats", "c1"))["id"] == "c1"
        now("kill", "c1", "KILL")
        while json.loads(now("state", "c1"))["status"] != "stopped":
            pass   # pytest's timeout ends this
        now("delete", "c1")
    finally:
        now("delete", "--force", "c1")
    assert [name for name in os.listdir(tmp_path / "state") if not name.startswith(".")] == []


@pytest.fixture
def pocker(tmp_path: Path) -> Iterator[Pocker]:
    """The present pocker in a network namespace; `previous` runs the earlier one with the same directories."""
    keeper = subprocess.Popen(["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity"],
                              stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert keeper.stdout and keeper.stdout.readline() == b"up\n"
    found = Pocker(tmp_path / "pocker", tmp_path / "store")
    found.prefix = ["nsenter", f"--net=/proc/{keeper.pid}/ns/net"]
    context = tmp_path / "context"
    context.mkdir()
    shutil.copy("/bin/busybox", context)
    (context / "Dockerfile").write_text("FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\n")
    previous(found, "build", "-q", "-t", "localhost/box", context, program="pyimage")
    try:
        yield found
    finally:
        found("rm", "-f", "-v", *found.statuses())
        keeper.kill()
        keeper.communicate()
    found.check()


def previous(pocker: Pocker, *words: object, program: str = "pocker") -> str:
    """The output of a command of the earlier version."""
    done = subprocess.run([*pocker.prefix, f"{PREVIOUS}/{program}", *map(str, words)], capture_output=True, text=True,
                          check=False, env=pocker.environment, timeout=120, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


def test_containers_of_pocker(pocker: Pocker) -> None:
    script = 'echo old; trap "exit 7" TERM; while :; do busybox sleep 0.1; done'
    previous(pocker, "run", "-d", "--name", "web", "-p", "127.0.0.1:18080:80", "localhost/box", "sh", "-c", script)
    previous(pocker, "run", "-d", "--name", "again", "--restart", "always", "localhost/box", "busybox", "sleep", "1000")
    assert pocker.statuses() == {"web": "running", "again": "running"}
    for name in ("web", "again"):
        assert pocker.ok("exec", name, "busybox", "echo", "entered") == "entered"
    pocker.eventually(lambda: pocker.ok("logs", "web") == "old", "the log of the earlier version")
    pocker.ok("pause", "web")
    pocker.ok("unpause", "web")
    pocker.ok("update", "--memory", "64m", "web")
    pocker.ok("stop", "-t", "30", "web")
    assert pocker.ok("inspect", "-f", "{{.State.ExitCode}}", "web") == "7"
    pocker.ok("start", "web")
    pocker.ok("run", "-d", "--name", "new", "localhost/box", "busybox", "sleep", "1000")
    assert "0% packet loss" in pocker.ok("exec", "new", "busybox", "ping", "-c", "1", "-W", "30", "again")
    before = pocker.ok("inspect", "-f", "{{.State.Pid}}", "again")
    os.kill(int(before), 9)
    pocker.eventually(lambda: pocker.ok("inspect", "-f", "{{.State.Pid}}", "again") not in (before, "0"),
                      "restarted by its monitor, which is of the earlier version")
    pocker.ok("stop", "-t", "0", "again")
    assert pocker.statuses()["again"] == "exited"
