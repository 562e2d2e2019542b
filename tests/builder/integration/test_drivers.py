"""Builds with every storage driver: the same image."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyruntime.builder.graph.plan import BuildPlan
from pyruntime.builder.steps import worker
from pyruntime.builder.steps.network import RunNetwork
from pyruntime.builder.steps.origins import Origins
from pyruntime.builder.steps.run import RunOptions
from pyruntime.builder.steps.workspace import Workspace, layers_of
from pyruntime.errors import HostError
from pyruntime.images.lookup import find
from pyruntime.images.store.store import Store
from pyruntime.networks.site import Site
from tests.builder.integration.cases import CASES, Case
from tests.builder.integration.conftest import Builder, write
from tests.builder.integration.test_peers import listing

# All of them take four minutes: DRIVERS=all.
_CHOSEN = [case for case in CASES if not case.fails][::1 if os.environ.get("DRIVERS") == "all" else 12]


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A btrfs in a file."""
    path = tmp_path_factory.mktemp("disk")
    file, point = path / "image", path / "btrfs"
    with file.open("wb") as image:
        image.truncate(2 << 30)
    subprocess.run(["mkfs.btrfs", "-q", file], check=True)
    device = subprocess.run(["losetup", "--find", "--show", file], check=True, capture_output=True,
                            text=True).stdout.strip()
    point.mkdir()
    try:
        subprocess.run(["mount", "-t", "btrfs", device, point], check=True)
        try:
            yield point
        finally:
            subprocess.run(["umount", point], check=True)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


@pytest.fixture(scope="module", params=["btrfs", "copy"])
def driven(request: pytest.FixtureRequest, disk: Path, tmp_path_factory: pytest.TempPathFactory,
           images: Path) -> Iterator[Builder]:
    """The command, with a store that supports this driver."""
    path = disk / "builder" if request.param == "btrfs" else tmp_path_factory.mktemp("copy")
    path.mkdir(exist_ok=True)
    shutil.copytree(images, path / "store", symlinks=True)
    made = Builder(path, path / "store")
    made.environment["POCKER_STORAGE_DRIVER"] = request.param
    try:
        yield made
        made.clear()
        made.check()
        subvolumes = made.store / "subvolumes"
        assert (request.param == "btrfs") == (subvolumes.is_dir() and any(subvolumes.iterdir()))
        made.ok("rmi", "-f", *[name for name in made.ok("images", "--format", "{{.Repository}}").split() if name])
        made.ok("builder", "prune")
        assert not subvolumes.is_dir() or not any(subvolumes.iterdir()), "what no image needs is removed"
    finally:
        made.close()
        if request.param == "btrfs":
            for line in subprocess.run(["btrfs", "subvolume", "list", "-o", disk], capture_output=True, text=True,
                                       check=True).stdout.splitlines():
                subprocess.run(["btrfs", "subvolume", "delete", disk / line.split()[-1]], check=True)


@pytest.mark.parametrize("case", _CHOSEN, ids=lambda case: case.name)
def test_the_same_image(case: Case, driven: Builder, shared: Builder, tmp_path: Path) -> None:
    context = write(tmp_path / "context", case.text, case.files)
    flags = [flag.replace("CONTEXT", str(context)) for flag in case.flags]
    trees = []
    for number, builder in enumerate((driven, shared)):
        builder.ok("build", "--progress", "quiet", "-t", f"driver-{case.name}", *flags, context)
        builder.ok("build", "--progress", "quiet", *flags, "-o", f"type=tar,dest={tmp_path}/{number}.tar", context)
        trees.append(listing(tmp_path / f"{number}.tar"))
    assert trees[0] == trees[1]
    if case.script:
        done = driven("run", "--rm", "--network", "none", "--entrypoint", "sh", f"driver-{case.name}", "-c",
                      case.script)
        assert done.stdout.rstrip("\n") == case.prints, (done.stdout, done.stderr)


def test_a_stage_is_copied_if_its_layers_cannot_be_mounted(builder: Builder, tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel before 6.8, or without overlayfs."""
    def refuse(*_: object) -> None:
        raise HostError("no overlay")

    monkeypatch.setattr(worker, "attach", refuse)
    store = Store.open(str(builder.store))
    text = "FROM busybox AS one\nRUN --network=none echo 1 > /new; rm /etc/group\n"
    builder.build(write(tmp_path / "context", text, {}), "-t", "one")
    (step,) = [step for step in _plan(store, text).target.steps if step.kind == "run"]
    work = worker.Work(step, [], [], store.root, RunOptions(Site(str(builder.root), str(builder.run))))
    work.origins["one"] = builder.image("one").layers()
    with store.lease(), Workspace(store, layers_of(store, [], print), print, latest=None, driver="copy") as workspace:
        tree = worker._Step(work, store, RunNetwork(work.options.site, "none", []), -1, print)._origin("one", workspace)
        names = set(os.listdir(tree.fd))
        os.close(tree.fd)
    assert {"new", "bin"} <= names


def _plan(store: Store, text: str) -> BuildPlan:
    with Origins(store, {}, pull=lambda name, platform, _: (find(store, name, platform), None)) as origins:
        return BuildPlan(text, "Dockerfile", origins, arguments={}, target="", platform=None)
