"""Each released version's state directories, stores and caches are used, and removed, by the present version."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import TOP
from tests.upgrade.integration.states import VERSIONS, Left, left_by

pytestmark = [pytest.mark.root, pytest.mark.skipif(platform.machine() != "x86_64", reason=(
    "the images that earlier versions have left have programs for x86-64"))]


@pytest.fixture(params=VERSIONS)
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Left]:
    """The state of one version."""
    with left_by(request.param, tmp_path) as found:
        yield found


def test_every_release_has_left_its_state() -> None:
    assert "0.1.0" in VERSIONS


def test_the_runtime_knows_and_deletes_containers(left: Left) -> None:
    done = left.pyruntime("list", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    assert {one["id"]: one["status"] for one in json.loads(done.stdout)} == {
        "upgrade-created": "stopped", "upgrade-ended": "stopped"}
    for name in ("upgrade-created", "upgrade-ended"):
        state = json.loads(left.pyruntime("state", name).stdout)
        assert (state["status"], state["bundle"]) == ("stopped", f"{left.path}/bundle")
        refused = left.pyruntime("exec", name, "/hello")
        assert refused.returncode == 255 and "stopped" in refused.stderr
        done = left.pyruntime("delete", name)
        assert (done.returncode, done.stderr) == (0, "")
    assert [path for path in left.state.iterdir() if not path.name.startswith(".")] == []


def test_images_are_listed_verified_unpacked_and_removed(left: Left) -> None:
    names = left.ok("ls", "--format", "{{.Name}}", program="pyimage").split()
    assert names == ["localhost/upgrade:1", "localhost/upgrade:other"]
    left.ok("verify", program="pyimage")
    assert json.loads(left.ok("inspect", "localhost/upgrade:1", program="pyimage"))
    left.ok("unpack", "localhost/upgrade:1", left.path / "new", program="pyimage")
    try:
        assert (left.path / "new/rootfs/removed/file").exists()
    finally:
        left.ok("umount", left.path / "new", program="pyimage")
    left.ok("mount", left.path / "unpacked", program="pyimage")   # the bundle of the earlier version
    try:
        assert (left.path / "unpacked/rootfs/hello").exists()
    finally:
        left.ok("umount", left.path / "unpacked", program="pyimage")
    left.ok("prune", program="pyimage")
    left.ok("verify", program="pyimage")
    left.ok("rm", "--force", *names, program="pyimage")   # the containers keep the layers
    assert left.ok("ls", "-q", program="pyimage") == ""


def test_a_build_uses_the_caches_or_builds_again(left: Left) -> None:
    left.ok("build", "-q", "-t", "localhost/again", left.path / "context", program="pyimage")
    left.ok("builder", "prune", "-a", "-f")
    left.ok("build", "-q", "-t", "localhost/imported", "--cache-from", f"type=local,src={left.path}/cache",
            left.path / "context", program="pyimage")
    assert left.ok("run", "--rm", "--network", "none", "localhost/imported") == "hello"


def test_containers_are_listed_started_and_removed(left: Left) -> None:
    assert left.statuses() == {"created": "created", "ended": "exited", "killed": "exited"}
    for name in ("created", "ended", "killed"):
        assert json.loads(left.ok("inspect", name))[0]["Name"] == f"/{name}"
    assert left.ok("logs", "ended") == "hello"
    ended = json.loads(left.ok("inspect", "ended"))[0]
    assert ended["HostConfig"]["Memory"] == 64 << 20 and ended["HostConfig"]["RestartPolicy"] == {
        "Name": "on-failure", "MaximumRetryCount": 2}
    assert left.ok("start", "-a", "ended") == "hello"
    assert left.ok("start", "-a", "created") == "hello"
    assert left.statuses()["created"] == "exited"
    left.ok("start", "killed")
    assert left.statuses()["killed"] == "running"
    address = left.ok("inspect", "-f", "{{.NetworkSettings.Networks.lab.IPAddress}}", "killed")
    assert address.startswith("10.231.77.")
    assert left.ok("exec", "killed", "/hello") == "hello"
    left.ok("stop", "-t", "0", "killed")
    left.ok("rm", "-v", "created", "ended", "killed")
    assert left.statuses() == {}
    assert left.ok("volume", "ls", "-q") == "data"   # the anonymous one was removed with its container
    left.check()


def test_networks_and_volumes_are_used_and_removed(left: Left) -> None:
    left.ok("rm", "-f", "-v", "created", "ended", "killed")
    network = json.loads(left.ok("network", "inspect", "lab"))[0]
    assert network["IPAM"]["Config"][0]["Subnet"] == "10.231.77.0/24" and network["Labels"] == {"upgrade": "yes"}
    volume = json.loads(left.ok("volume", "inspect", "data"))[0]
    assert volume["Labels"] == {"upgrade": "yes"} and Path(volume["Mountpoint"], "file").read_text() == "kept\n"
    shutil.rmtree(left.path / "unpacked")   # a bundle that uses the image
    left.ok("network", "rm", "lab")
    left.ok("volume", "rm", "data")
    left.ok("system", "prune", "-a", "-f", "--volumes")
    assert left.ok("volume", "ls", "-q") == "" and left.ok("images", "-q") == ""
    assert os.listdir(left.path / "store/layers") == os.listdir(left.path / "store/blobs/sha256") == []
    left.check()


def test_events_of_before_are_shown(left: Left) -> None:
    events = left.ok("events", "--since", "1", "--until", str(int(time.time())), "--filter", "type=container",
                     "--format", "json")
    assert {json.loads(line)["Actor"]["Attributes"]["name"] for line in events.splitlines()} >= {"ended", "killed"}


def test_what_monitors_of_0_1_0_execute(left: Left) -> None:
    """Their command line was made when the container was started; the files are those of the installed version."""
    packages = ":".join(path for path in sys.path if path.startswith("/"))
    found = subprocess.run([sys.executable, "-IS", f"{TOP}/pyruntime/commandline/__main__.py", packages, "pocker",
                            "--root", left.root, "--run-root", left.run, "monitor", "health",
                            left.directory("ended").name], capture_output=True, text=True, check=False, timeout=120)
    assert (found.returncode, found.stdout, found.stderr) == (1, "", "")   # not running: not healthy
