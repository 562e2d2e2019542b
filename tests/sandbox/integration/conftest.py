"""A root filesystem for sandboxes, and a check that nothing is left of them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundles.build import busybox_rootfs
from pyruntime import ImageStore, Sandbox
from pyruntime.runtime.cgroups.host import discover
from pyruntime.sandbox.leftovers import PLACE


def remains() -> dict[str, list[str]]:
    """What is there of sandboxes: their directories, cgroups, mounts on the host, children and descriptors."""
    own = f"sandbox-{os.getpid()}-"
    state = Path(PLACE, "state")
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {
        "state": [name for name in (os.listdir(state) if state.exists() else []) if name.startswith(own)],
        "cgroups": [str(path) for hierarchy in discover().all() for path in Path(hierarchy.mountpoint).glob(f"{own}*")],
        "mounts": [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if PLACE in line],
        "children": children,
        "descriptors": [f"{fd}: {os.readlink(f'/proc/self/fd/{fd}')}" for fd in os.listdir("/proc/self/fd")
                        if os.path.lexists(f"/proc/self/fd/{fd}")],
    }


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """After each test, this program has what it had before."""
    with Sandbox.host():   # what the first sandbox of a program loads for all others
        pass
    before = remains()
    yield
    assert remains() == before


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root filesystem around busybox."""
    path = tmp_path_factory.mktemp("sandbox") / "rootfs"
    busybox_rootfs(path)
    return path


@pytest.fixture
def box(rootfs: Path) -> Iterator[Sandbox]:
    """A sandbox with busybox."""
    with Sandbox(rootfs) as made:
        yield made


@pytest.fixture
def images(rootfs: Path, tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    """A store with the image "box"."""
    place = tmp_path_factory.mktemp("images")
    subprocess.run(["tar", "-C", str(rootfs), "-cf", str(place / "box.tar"), "."], check=True)
    store = ImageStore(place / "store")
    store.import_archive(str(place / "box.tar"), "box",
                         changes={"Env": ["OF=the image"], "WorkingDir": "/home/user"})
    return store
