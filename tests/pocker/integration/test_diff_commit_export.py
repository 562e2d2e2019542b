"""`pocker diff`, `commit` and `export`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.pocker.integration.command import Pocker
from tests.pocker.integration.test_run_flags import NONE, in_range, ranges

__all__ = ["ranges"]   # a fixture

SCRIPT = """
mkdir -p /data/x; echo hi >/data/x/f; ln /data/x/f /data/x/same; rm -r /home /etc/group; echo more >>/etc/passwd
rm -r /var && mkdir /var; touch /tmp/t; rm /tmp/t; touch /ready; sleep 1000
"""
CHANGES = ["A /data", "A /data/x", "A /data/x/f", "A /data/x/same", "C /etc", "D /etc/group", "C /etc/passwd",
           "D /home", "A /ready", "C /run", "A /run/sock", "C /tmp", "C /var", "D /var/tmp"]


@pytest.fixture
def own(pocker: Pocker, store: Path, tmp_path: Path) -> Pocker:
    """With a store of its own."""
    subprocess.run(["cp", "-a", store, tmp_path / "store"], check=True)
    pocker.environment["PYRUNTIME_STORE"] = str(tmp_path / "store")
    return pocker


def _start(pocker: Pocker, *options: object) -> None:
    pocker.ok("run", "-d", "--name", "web", "--network", "none", *options, "busybox", "sh", "-c", SCRIPT)
    pocker.eventually(lambda: pocker("exec", "web", "test", "-e", "/ready").returncode == 0, "it is ready")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/{pocker.ok('inspect', '-f', '{{.State.Pid}}', 'web')}/root/run/sock")


@pytest.mark.parametrize("driver", ["overlay", "copy"])
def test_changes_are_listed(pocker: Pocker, driver: str) -> None:
    pocker.root.mkdir(exist_ok=True)
    (pocker.root / "driver").write_text(driver + "\n")
    _start(pocker, "-v", "/data/volume")
    changes = sorted([*CHANGES, "A /data/volume"], key=lambda line: line[2:].split("/"))
    changes.remove("A /data/volume")   # something is mounted there
    assert pocker.ok("diff", "web").splitlines() == changes
    pocker.ok("stop", "-t", "0", "web")
    assert pocker.ok("diff", "web").splitlines() == changes
    assert json.loads(pocker.ok("diff", "--format", "json", "web"))[0] == {"Kind": "A", "Path": "/data"}


def test_names_that_mean_something_in_layers(own: Pocker, tmp_path: Path) -> None:
    """A file of a container may have the name of a whiteout: it is listed, copied and exported as a file, and refused
    only when a layer is created."""
    own.ok("run", "--name", "it", *NONE, "busybox", "sh", "-c",
           "echo x >/etc/.wh.passwd; mkdir -p /d/.wh.d; echo y >/d/.wh.d/f; echo z >/d/.wh..wh..opq; mkfifo /.wh.")
    listed = own.ok("diff", "it").splitlines()
    assert listed == ["A /.wh.", "A /d", "A /d/.wh..wh..opq", "A /d/.wh.d", "A /d/.wh.d/f", "C /etc",
                      "A /etc/.wh.passwd"]
    own.ok("export", "-o", tmp_path / "it.tar", "it")
    with tarfile.open(tmp_path / "it.tar") as archive:
        assert {"d/.wh.d/f", "d/.wh..wh..opq", "etc/.wh.passwd", "etc/passwd", ".wh."} <= set(archive.getnames())
    own.ok("cp", "it:/d", tmp_path / "copy")
    assert (tmp_path / "copy/.wh.d/f").read_text() == "y\n"
    said = own.fails("commit", "it", "new")
    assert 'cannot be in a layer: rename it, or remove it' in said and ".wh." in said


def test_a_container_that_has_changed_nothing(pocker: Pocker) -> None:
    pocker.ok("create", "--name", "new", "--network", "none", "busybox", "true")
    assert pocker.ok("diff", "new") == ""
    pocker.ok("start", "-a", "new")
    assert pocker.ok("diff", "new") == ""
    assert "no such container" in pocker.fails("diff", "nosuch")


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_all_files_as_an_archive(pocker: Pocker, tmp_path: Path, state: str) -> None:
    _start(pocker, "-v", "/data/volume")
    pocker.ok("exec", "web", "touch", "/data/volume/hidden")
    if state == "stopped":
        pocker.ok("stop", "-t", "0", "web")
    pocker.ok("export", "-o", tmp_path / "web.tar", "web")
    with tarfile.open(tmp_path / "web.tar") as archive:
        names = {member.name.removeprefix("./") for member in archive}
        content = archive.extractfile("data/x/f")
        assert content is not None and content.read() == b"hi\n"
    assert {"bin/busybox", "data/volume", "proc", "var", "ready"} <= names
    assert not names & {"home", "etc/group", "var/tmp", "data/volume/hidden"}
    assert not any(name.startswith(("proc/", "sys/")) for name in names)
    assert os.listdir(tmp_path).count("web.tar") == 1 and not list(tmp_path.glob("*.new"))
    pocker.fails("export", "-o", tmp_path / "absent/web.tar", "web")
    assert pocker.ok("export", "-o", "/dev/null", "web") == "" and os.path.exists("/dev/null")


def test_a_busy_container_is_exported_and_compared(pocker: Pocker, tmp_path: Path) -> None:
    pocker.ok("run", "-d", "--name", "web", "--network", "none", "busybox", "sh", "-c",
              "mkdir /d; while :; do for i in 1 2 3 4 5 6 7 8; do mkdir -p /d/$i/x; seq 1 9999 >/d/$i/x/f; rm -r /d/$i;"
              " done; done")
    for _ in range(10):
        pocker.ok("export", "-o", tmp_path / "web.tar", "web")
        with tarfile.open(tmp_path / "web.tar") as archive:
            assert "bin/busybox" in archive.getnames()
        pocker.ok("diff", "web")


def test_an_image_of_a_container(own: Pocker) -> None:
    _start(own, "-e", "MINE=1", "-w", "/data", "-l", "of=me")
    image_id = own.ok("commit", "-a", "Me", "-m", "first", "-c", 'CMD ["cat", "x/f"]', "-c", "ENV MORE=$MINE-2",
                      "-c", "EXPOSE 80", "web", "mine:1")
    assert image_id.startswith("sha256:") and own.statuses()["web"] == "running"
    assert own.ok("run", "--rm", "--network", "none", "mine:1") == "hi"
    shown = json.loads(own.ok("inspect", "--type", "image", "mine:1"))[0]
    assert shown["Id"] == image_id and shown["Author"] == "Me" and len(shown["RootFS"]["Layers"]) == 2
    config = shown["Config"]
    assert config["Cmd"] == ["cat", "x/f"] and {"MINE=1", "MORE=1-2"} <= set(config["Env"])
    assert (config["WorkingDir"], config["Labels"], config["ExposedPorts"]) == ("/data", {"of": "me"}, {"80/tcp": {}})
    history = own.ok("history", "--format", "json", "mine:1", program="pyimage")
    assert "first" in history and "mkdir -p /data/x" in history
    assert own.ok("run", "--rm", "--network", "none", "mine:1", "ls", "/var", "/etc/passwd") == "/etc/passwd\n\n/var:"
    own.ok("stop", "-t", "0", "web")
    assert own.ok("commit", "web", "mine:2") != image_id
    assert own.ok("run", "--rm", "--network", "none", "mine:2", "cat", "/data/x/same") == "hi"
    nameless = own.ok("commit", "web")
    assert own.ok("run", "--rm", "--network", "none", nameless, "cat", "/data/x/same") == "hi"
    for line in ("RUN x", "EXPOSE x"):
        assert "write " in own.fails("commit", "-c", line, "web", "mine:3")
    assert "mine:3" not in own.ok("ls", program="pyimage")


def test_changes_of_a_container_that_was_never_started(own: Pocker) -> None:
    own.ok("create", "--name", "new", "--network", "none", "--entrypoint", "echo", "busybox", "hello")
    own.ok("commit", "new", "new:1")
    assert own.ok("run", "--rm", "--network", "none", "new:1") == "hello"
    assert own.ok("run", "--rm", "--network", "none", "new:1", "you") == "you"


def test_commit_pauses_and_resumes(own: Pocker) -> None:
    own.ok("run", "-d", "--name", "web", "--network", "none", "busybox", "sleep", "1000")
    own.ok("commit", "web", "a:1")
    own.ok("commit", "--pause=false", "web", "a:2")
    own.ok("pause", "web")
    own.ok("commit", "web", "a:3")
    assert own.statuses()["web"] == "paused"   # as it was
    actions = own.ok("events", "--stream=false", "--format", "{{.Action}}").split()
    assert actions == ["create", "start", "pause", "unpause", "commit", "commit", "pause", "commit"]


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_the_ids_of_a_user_namespace_stay_inside(store: Path, ranges: Path, state: str) -> None:
    subprocess.run(["cp", "-a", store, ranges / "store"], check=True)
    pocker = Pocker(ranges, ranges / "store")
    try:
        _look_at_ids(pocker, ranges, state)
    finally:
        pocker.clear()   # before its directory goes
    pocker.check()


def _look_at_ids(pocker: Pocker, ranges: Path, state: str) -> None:
    script = "touch /mine /data/volumes; chown 5:6 /mine; chmod 700 /root; touch /ready; sleep 1000"
    done = in_range(pocker, ranges, "run", "-d", "--name", "web", *NONE, "--userns", "auto", "-v", "data:/data",
                    "busybox", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    pocker.eventually(lambda: pocker("exec", "web", "test", "-e", "/ready").returncode == 0, "it is ready")
    if state == "stopped":
        pocker.ok("stop", "-t", "0", "web")
    assert pocker.ok("diff", "web").splitlines() == ["A /mine", "A /ready", "C /root"]
    pocker.ok("cp", "-a", "web:/mine", ranges / "mine")
    assert ((ranges / "mine").stat().st_uid, (ranges / "mine").stat().st_gid) == (5, 6)
    pocker.ok("cp", "-a", ranges / "mine", "web:/back")
    pocker.ok("cp", ranges / "mine", "web:/data/root")
    assert (pocker.root / "volumes/data/_data/root").stat().st_uid == 0
    pocker.ok("export", "-o", ranges / "web.tar", "web")
    with tarfile.open(ranges / "web.tar") as archive:
        owners = {member.name.removeprefix("./"): (member.uid, member.gid) for member in archive}
    assert {name: owners[name] for name in ("mine", "back", "ready", "bin/busybox")} == {
        "mine": (5, 6), "back": (5, 6), "ready": (0, 0), "bin/busybox": (0, 0)}
    pocker.ok("commit", "web", "mine:1")
    look = pocker.ok("run", "--rm", *NONE, "mine:1", "stat", "-c", "%u:%g %a %n", "/mine", "/back", "/ready", "/root")
    assert look.splitlines() == ["5:6 644 /mine", "5:6 644 /back", "0:0 644 /ready", "0:0 700 /root"]
