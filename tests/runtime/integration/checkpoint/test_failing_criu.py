"""checkpoint, restore: a CRIU that fails, hangs or dies."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from pyruntime.system.processes import start_time
from tests.commands import COMMAND
from tests.containers import PATIENCE, Bundle, Leftovers, Runtime
from tests.runtime.integration.checkpoint.checkpointed import COUNT, fake_criu, grows


@pytest.mark.parametrize("swrk", ["exit 1", "kill -9 $$", "echo not a message >&3; exit 0",
                                  "head -c 1 <&3 >/dev/null; exit 0"], ids=["exits", "killed", "nonsense", "silent"])
def test_a_criu_that_dies(runtime: Runtime, own_bundle: Bundle, tmp_path: Path, swrk: str) -> None:
    """The container keeps running, and a failed restore leaves nothing behind."""
    runtime.ok("run", "-d", "c1", own_bundle.shell(COUNT))
    fake = fake_criu(tmp_path, swrk)
    done = runtime("--criu", fake, "checkpoint", "--image-path", tmp_path / "image", "c1")
    assert done.returncode == 1 and "criu failed: type DUMP" in done.stderr
    assert f"log file: {tmp_path}/image/dump.log" in done.stderr
    assert runtime.state("c1")["status"] == "running"
    grows(Path(own_bundle.config["root"]["path"]) / "count")
    done = runtime("--criu", fake, "restore", "--image-path", tmp_path / "image", "--bundle", own_bundle, "c2")
    assert done.returncode == 1 and "criu failed: type RESTORE" in done.stderr
    assert runtime("state", "c2").returncode == 1


def test_a_criu_that_dies_after_freezing_the_container(criu: Runtime, own_bundle: Bundle, counter: Path,
                                                           tmp_path: Path) -> None:
    pid = criu.state("c1")["pid"]
    freezer = next((line.split(":")[2] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()
                    if line.split(":")[1] == "freezer"), None)
    if freezer is None:
        write = f"echo 1 >/sys/fs/cgroup{Path(f'/proc/{pid}/cgroup').read_text().split(':')[2].strip()}/cgroup.freeze"
    else:
        write = f"echo FROZEN >/sys/fs/cgroup/freezer{freezer}/freezer.state"
    fake = fake_criu(tmp_path, f"{write}; kill -9 $$")
    done = criu("--criu", fake, "checkpoint", "--image-path", tmp_path / "image", "c1")
    assert done.returncode == 1 and "it exited without a response" in done.stderr
    assert criu.state("c1")["status"] == "running"
    grows(counter)


def test_a_criu_that_leaves_children(runtime: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    """Processes that CRIU created before it failed are in the container's cgroup, and are killed with it."""
    (tmp_path / "image").mkdir()
    (tmp_path / "image/descriptors.json").write_text("[]")
    own_bundle.shell(COUNT)
    fake = fake_criu(tmp_path, f"setsid sleep 1000 3>&- & echo $! >{tmp_path}/child; kill -9 $$")
    done = runtime("--criu", fake, "restore", "-d", "--image-path", tmp_path / "image", "--bundle", own_bundle, "c1")
    assert done.returncode == 1
    _gone(int((tmp_path / "child").read_text()))


def _gone(pid: int) -> None:
    """Wait until a process has exited; its new parent may reap the zombie late."""
    deadline = time.monotonic() + PATIENCE
    while start_time(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("command", ["checkpoint", "restore"])
def test_a_criu_that_hangs(runtime: Runtime, own_bundle: Bundle, tmp_path: Path, command: str) -> None:
    """An interrupt from the terminal ends CRIU, the container keeps running, and the work so far is undone."""
    leftovers = Leftovers(runtime.root)
    runtime.ok("run", "-d", "c1", own_bundle.shell(COUNT))
    (tmp_path / "image").mkdir()
    (tmp_path / "image/descriptors.json").write_text("[]")
    fake = fake_criu(tmp_path, f"echo $$ >{tmp_path}/hanging; exec sleep 1000")
    words = {"checkpoint": ["c1"], "restore": ["-d", "--bundle", str(own_bundle), "c2"]}[command]
    process = subprocess.Popen([COMMAND, "--root", runtime.root, "--criu", fake, command, "--image-path",
                                tmp_path / "image", *words], stdin=subprocess.DEVNULL)
    hanging = tmp_path / "hanging"
    deadline = time.monotonic() + PATIENCE
    while not (hanging.exists() and hanging.read_text().strip()):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    _gone(int(hanging.read_text()))
    assert runtime.state("c1")["status"] == "running"
    grows(Path(own_bundle.config["root"]["path"]) / "count")
    runtime.ok("delete", "--force", "c1")
    leftovers.check()


@pytest.mark.parametrize("how", ["fail", "kill"])
def test_every_step_that_starts_criu(runtime: Runtime, own_bundle: Bundle, tmp_path: Path, how: str) -> None:
    """Whichever step of the plan that starts CRIU fails or is the last: nothing is left."""
    leftovers = Leftovers(runtime.root)
    (tmp_path / "image").mkdir()
    (tmp_path / "image/descriptors.json").write_text("[]")
    own_bundle.shell(COUNT)
    fake = fake_criu(tmp_path, "exit 0")
    words = ["--debug", "--criu", fake, "restore", "-d", "--image-path", tmp_path / "image", "--bundle", own_bundle,
             "c1"]
    number = 0
    while "criu failed: type RESTORE" not in (
            said := runtime(*words, env={"PYRUNTIME_FAULT": f"{how}:{number}"}).stderr):
        if how == "fail":
            assert f"step {number + 1} of " in said
        else:   # the stub, or the runtime itself
            assert "the stub died" in said or "error:" not in said, said
            runtime.ok("delete", "--force", "c1")
        leftovers.check()
        number += 1
    assert number > 40   # past the last step
    leftovers.check()


def test_a_work_directory_behind_a_link(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path) -> None:
    """As with containerd. CRIU mounts in this directory, which must not lead out of its mount namespace."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "work").symlink_to(tmp_path / "elsewhere")
    criu.ok("checkpoint", "--image-path", tmp_path / "image", "--work-path", tmp_path / "work", "c1")
    criu.ok("restore", "-d", "--image-path", tmp_path / "image", "--work-path", tmp_path / "work", "--bundle",
            own_bundle, "c1")
    grows(counter)


def test_a_host_whose_mounts_are_shared(criu: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    """As with systemd: the propagation from the host to the root and the volumes is as before."""
    for name in ("slave", "shared", "private"):
        (tmp_path / name).mkdir()
        own_bundle.add_mount(f"/{name}", "bind", str(tmp_path / name), "rbind", f"r{name}")
    count = Path(own_bundle.config["root"]["path"]) / "count"
    own_bundle.config["root"]["readonly"] = True
    own_bundle.shell(COUNT.replace("/count", "/slave/count"))
    count = tmp_path / "slave/count"
    for propagation in ("", "rslave", "shared", "private"):
        if propagation:
            own_bundle.save(linux__rootfsPropagation=propagation)
        image = tmp_path / f"image-{propagation}"
        call = f"{COMMAND} --root {criu.root}"
        show = ("awk '{print $5, $6, $7 ~ /^shared/, $7 $8 ~ /master/}'"
                f" /proc/$({call} ps --format json c1 | tr -d '[]' | cut -d, -f1)/mountinfo | sort")
        script = (f"mount --make-rshared / && {call} run -d c1 {own_bundle} && {show} >{tmp_path}/before &&"
                  f" sleep 0.2 && {call} checkpoint --image-path {image} c1 &&"
                  f" {call} restore -d --image-path {image} --bundle {own_bundle} c1 && {show} >{tmp_path}/after")
        done = subprocess.run(["unshare", "--mount", "sh", "-c", script], env=criu.environment, check=False, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert done.returncode == 0, (propagation, done.stderr)
        before = (tmp_path / "before").read_text()
        assert before and (tmp_path / "after").read_text() == before, propagation
        grows(count)
        criu.ok("delete", "--force", "c1")
