"""``pocker`` as a fixture, with an image of busybox called ``busybox``."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundles.build import busybox_rootfs
from tests.commands import BIN
from tests.pocker.integration.command import Pocker
from tests.pocker.integration.lab import Lab


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the image; tests that change images make their own."""
    path = tmp_path_factory.mktemp("images")
    rootfs = path / "rootfs"
    rootfs.mkdir()
    busybox_rootfs(rootfs)
    subprocess.run(["tar", "-C", rootfs, "-cf", path / "busybox.tar", "."], check=True)
    subprocess.run([str(BIN / "pyimage"), "import", "--cmd", "sh", path / "busybox.tar", "busybox"], check=True,
                   env={**os.environ, "PYRUNTIME_STORE": str(path / "store")}, stdout=subprocess.DEVNULL)
    return path / "store"


@pytest.fixture
def pocker(tmp_path: Path, store: Path) -> Iterator[Pocker]:
    """The command. At the end, nothing may be left of the containers that the test removed, nor of the others, which
    are removed then."""
    made = Pocker(tmp_path, store)
    yield made
    made.clear()
    made.check()


@pytest.fixture
def lab(tmp_path: Path, store: Path) -> Iterator[Lab]:
    """The command on a host of its own; at the end nothing is left on it."""
    made = Lab(tmp_path, store)
    try:
        yield made
        made.clear()
        made.check()
    finally:
        made.close()
