"""The cgroups of whole containers, in the layout of the host."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from pyruntime.runtime.cgroups.group import Cgroup
from pyruntime.runtime.cgroups.host import discover
from pyruntime.runtime.lifecycle.store import StateDirectory
from tests.containers import PATIENCE, Bundle, Runtime


@pytest.mark.parametrize("levels", [1, 2])
def test_an_existing_cpuset_that_was_never_filled(runtime: Runtime, bundle: Bundle, levels: int) -> None:
    hierarchy = next((one for one in discover().hierarchies if one.key == "cpuset"), None)
    if hierarchy is None:
        pytest.skip("the host has no cgroup v1 cpuset hierarchy")
    made = [Path(hierarchy.mountpoint + hierarchy.own, *["empty"] * (level + 1)) for level in range(levels)]
    for path in made:
        path.mkdir()
    try:
        path = made[-1].relative_to(hierarchy.mountpoint)
        bundle.shell("true", linux__cgroupsPath=f"/{path}/c1")
        runtime.ok("run", "c1", bundle)
    finally:
        for path in reversed(made):
            for other in discover().all():
                twin = Path(other.mountpoint, path.relative_to(hierarchy.mountpoint))
                if twin.is_dir():
                    twin.rmdir()


def test_a_container_that_nests_cgroups_beyond_every_path(runtime: Runtime, bundle: Bundle) -> None:
    """2,500 levels exceed PATH_MAX and the recursion limit; a process in the deepest is listed, killed and removed."""
    bundle.config["linux"]["cgroupsPath"] = f"/{bundle.path.parent.name}"
    bundle.shell("sleep 1000").save()
    runtime.ok("create", "c1", bundle)
    runtime.ok("start", "c1")
    top = Cgroup(StateDirectory(str(runtime.root), "c1").read().cgroup).main()
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(2500):
        os.mkdir("deeper", dir_fd=fd)
        child = os.open("deeper", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = child
    with subprocess.Popen(["sleep", "1000"]) as process:
        with open(os.open("cgroup.procs", os.O_WRONLY, dir_fd=fd), "w") as file:
            file.write(str(process.pid))
        os.close(fd)
        assert process.pid in json.loads(runtime.ok("ps", "--format", "json", "c1"))
        runtime.ok("delete", "--force", "c1")
        assert process.wait(PATIENCE) == -signal.SIGKILL
    assert not os.path.exists(top)


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace, which shows whether the runtime moves init")
@pytest.mark.parametrize("user", [False, True], ids=["same users", "user namespace"])
def test_init_is_created_in_its_v2_cgroup(runtime: Runtime, own_bundle: Bundle, tmp_path: Path, user: bool) -> None:
    """To move it there would take 10 ms. What its root may not do, the owner of its user namespace does before."""
    unified = discover().unified
    if unified is None or "memory" in unified.controllers:
        pytest.skip("the memory of the set-up would be charged to the container: init enters its cgroup late")
    if user:
        own_bundle.in_user_namespace()
    own_bundle.shell("sleep 100", linux__maskedPaths=[])
    with (tmp_path / "out").open("w") as out:
        subprocess.run(["strace", "-qq", "-y", "-e", "trace=write", "-o", tmp_path / "trace", runtime.command, "--root",
                        runtime.root, "create", "c1", own_bundle.path], stdin=subprocess.DEVNULL, stdout=out,
                       stderr=out, check=True, timeout=60)
    assert "/cgroup.procs>" not in (tmp_path / "trace").read_text()
    record = json.loads((runtime.root / "c1/state.json").read_text())
    assert Path(record["cgroup"][""], "cgroup.procs").read_text() == f"{record['pid']}\n"
    runtime.ok("start", "c1")
    assert runtime.ok("exec", "c1", "stat", "-c", "%u:%g", "/proc/1", "/proc/1/ns") == "0:0\n0:0\n"
