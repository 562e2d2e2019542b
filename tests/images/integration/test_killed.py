"""``kill -9`` at random moments of whole commands: the next command works, and `verify` finds nothing wrong. The
process group is killed: the command with its workers."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bundles.images import Layout
from tests.images.integration.command import PYIMAGE, Pyimage
from tests.images.integration.registries import Registry
from tests.images.integration.trees import listing

MOMENTS = 50


@pytest.fixture(scope="module")
def reference(plain_registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of four layers in a registry, large enough that a pull takes some time."""
    path = tmp_path_factory.mktemp("killed")
    layout = Layout(path / "layout")
    chance = random.Random(5)
    layers = []
    for number in range(4):
        tree = path / f"tree-{number}"
        for index in range(200):
            place = tree / f"directory-{index % 20}/file-{number}-{index}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(chance.randbytes(chance.randrange(20_000)))
        if number:
            (tree / f"directory-3/.wh.file-{number - 1}-3").touch()
        layers.append(layout.layer(tree, level=1))
    layout.image("killed", layers, Cmd=["x"])
    name = f"{plain_registry.host}/killed:1"
    subprocess.run(["skopeo", "copy", "-q", *plain_registry.skopeo("dest"), f"oci:{layout.path}:killed",
                    f"docker://{name}"], check=True)
    return name


class Moments:
    """Random moments in a command of this duration; ``hits``: how often the command was still running."""

    def __init__(self, whole: float) -> None:
        self.whole = whole
        self.hits = 0
        self._chance = random.Random()

    def kill(self, pyimage: Pyimage, *words: object) -> None:
        """Run the command, and kill its process group at a random moment."""
        begun = time.monotonic()
        process = subprocess.Popen([str(PYIMAGE), "--root", str(pyimage.store), *map(str, words)],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   start_new_session=True)
        try:
            process.wait(self._chance.uniform(0.001, self.whole))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self.hits += 1
        else:
            self.whole = min(self.whole, time.monotonic() - begun)   # the host was busier at the measurement


def duration(action: Callable[[], object]) -> float:
    """The duration of an action in seconds."""
    begun = time.monotonic()
    action()
    return time.monotonic() - begun


def healthy(pyimage: Pyimage) -> None:
    """The store is intact: verify finds nothing, and no lock is held."""
    done = pyimage("verify", timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done


def umount_below(path: Path) -> None:
    """Unmount what a killed unpack has mounted; the next unpack to the same path would do that too."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if line.split()[4].startswith(f"{path}/"):
            subprocess.run(["umount", line.split()[4]], check=True)


@pytest.mark.timeout(600)
def test_killed_pulls(reference: str, tmp_path: Path) -> None:
    pyimage = Pyimage(tmp_path)
    moments = Moments(duration(lambda: pyimage.ok("pull", "-q", reference)))
    digest = pyimage.ok("pull", "-q", reference)
    for number in range(MOMENTS):
        if number % 5 == 0:   # an empty store; other pulls continue the previous one
            shutil.rmtree(pyimage.store)
        else:
            pyimage("rm", "--no-prune", reference)
        moments.kill(pyimage, "pull", "-q", reference)
        healthy(pyimage)
        if number % 5 == 4:
            assert pyimage.ok("pull", "-q", reference) == digest
            healthy(pyimage)
    assert moments.hits >= MOMENTS // 3, "most commands ended before they were killed"
    assert pyimage.ok("pull", "-q", reference) == digest
    pyimage.ok("prune", "--partial")
    assert os.listdir(pyimage.store / "work") == os.listdir(pyimage.store / "ingest") == []
    assert len(os.listdir(pyimage.store / "layers")) == 4


@pytest.mark.timeout(600)
@pytest.mark.parametrize("flags", [(), ("--no-extract",)], ids=["extracted", "not extracted"])
def test_killed_prunes(reference: str, tmp_path: Path, flags: tuple[str, ...]) -> None:
    pyimage = Pyimage(tmp_path)
    pyimage.ok("pull", "-q", *flags, reference)
    pyimage.ok("rm", "--no-prune", reference)
    moments = Moments(duration(lambda: pyimage.ok("prune", "--partial")))
    for _ in range(MOMENTS // 2):
        pyimage.ok("pull", "-q", *flags, reference)
        pyimage.ok("rm", "--no-prune", reference)
        moments.kill(pyimage, "prune", "--partial")
        healthy(pyimage)
    assert moments.hits >= MOMENTS // 6, "most commands ended before they were killed"
    pyimage.ok("prune", "--partial")
    for directory in ("blobs/sha256", "layers", "work", "trash", "ingest"):
        assert os.listdir(pyimage.store / directory) == [], directory


@pytest.mark.timeout(600)
@pytest.mark.parametrize("driver", ["overlay", "copy"])
def test_killed_unpacks(driver: str, reference: str, tmp_path: Path) -> None:
    pyimage = Pyimage(tmp_path)
    pyimage.ok("pull", "-q", reference)
    moments = Moments(duration(lambda: pyimage.ok("unpack", "--driver", driver, reference, tmp_path / "whole")))
    expected = listing(tmp_path / "whole/rootfs")
    pyimage.ok("umount", "--remove", tmp_path / "whole")
    try:
        for number in range(MOMENTS):
            if number % 10 == 0:   # an unpack that also extracts the layers
                shutil.rmtree(pyimage.store / "layers")
                (pyimage.store / "layers").mkdir(0o700)
                pyimage.ok("pull", "-q", "--no-extract", reference)
            bundle = tmp_path / f"bundle-{number}"
            moments.kill(pyimage, "unpack", "--driver", driver, reference, bundle)
            done = pyimage("unpack", "--driver", driver, reference, bundle)
            assert done.returncode == 0 or "is not empty" in done.stderr, done.stderr   # or the bundle was complete
            assert (bundle / "config.json").exists()
            assert not (bundle / ".pyimage.new").exists()
            if number % 10 == 5:
                assert listing(bundle / "rootfs") == expected
            pyimage.ok("umount", "--remove", bundle)
            assert not bundle.exists()
        assert moments.hits >= MOMENTS // 3, "most commands ended before they were killed"
        healthy(pyimage)
    finally:
        umount_below(tmp_path)
