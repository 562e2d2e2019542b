"""Root filesystems from layers: overlayfs by every interface, btrfs, copies."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from pyruntime.errors import HostError, UsageError
from pyruntime.images.snapshots import overlay, subvolumes
from pyruntime.images.snapshots.btrfs import BtrfsDriver
from pyruntime.images.snapshots.choose import choose
from pyruntime.images.snapshots.copy import CopyDriver
from pyruntime.images.snapshots.driver import Driver
from pyruntime.images.snapshots.overlay import OverlayDriver
from pyruntime.images.snapshots.view import View, attach
from pyruntime.images.store.layers import Layers
from pyruntime.images.store.store import Store
from pyruntime.system import kernel
from tests.images.integration.store_images import Image, archive, dying, listing, pull

BASE = archive(("etc/", None), ("etc/passwd", b"root"), ("private/", None), ("private/key", b"secret"), ("gone", b"x"),
               ("dir/", None), ("dir/old", b"old"), mode=0o750, uid=5, root=True)
TOP = archive((".wh.gone", b""), ("dir/", None), ("dir/.wh..wh..opq", b""), ("dir/new", b"new"), ("private/more", b"m"),
              ("link", "-> etc/passwd"))
LINUX = tuple(map(int, os.uname().release.split("-")[0].split(".")[:2]))
EXPECTED = {".", "etc", "etc/passwd", "private", "private/key", "private/more", "dir", "dir/new", "link"}


@pytest.fixture
def image() -> Image:
    return Image(BASE, archive(("etc/passwd", b"second")), TOP)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory for root filesystems; nothing may stay mounted there."""
    place = tmp_path / "bundle"
    (place / "rootfs").mkdir(parents=True)
    yield place
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    left = [point for point in mounted if point.startswith(f"{place}/")]
    for point in left:
        kernel.umount2(point, 2)
    assert not left


@pytest.fixture
def btrfs(tmp_path: Path) -> Iterator[Path]:
    """A small btrfs in a file."""
    file, point = tmp_path / "btrfs.img", tmp_path / "btrfs"
    with open(file, "wb") as image:
        image.truncate(200 << 20)
    subprocess.run(["mkfs.btrfs", "-q", file], check=True)
    device = subprocess.run(["losetup", "--find", "--show", file], check=True, capture_output=True,
                            text=True).stdout.strip()
    try:
        point.mkdir()
        subprocess.run(["mount", "-t", "btrfs", device, point], check=True)
        try:
            yield point
        finally:
            subprocess.run(["umount", point], check=True)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def check(target: str, made: Layers) -> None:
    """The tree equals that of all layers."""
    found = listing(target)
    assert set(found) == EXPECTED
    assert found["."][:3] == (0o040750, 5, 1_000_000_000)
    assert found["private"][:2] == (0o040750, 5)
    assert found["etc/passwd"][3] == b"second" and found["link"][3] == b"etc/passwd"
    assert made.root == made.directories[0]


@pytest.mark.parametrize("kind", [OverlayDriver, CopyDriver])
def test_a_driver(store: Store, place: Path, image: Image, kind: type[Driver]) -> None:
    made = pull(store, image, "x")
    driver, target, private = kind(store), str(place / "rootfs"), str(place / "private")
    assert driver.usable(target) == "" and os.listdir(place) == ["rootfs"]
    driver.prepare(made, target, private)
    check(target, made)
    Path(target, "etc/passwd").write_text("mine")
    Path(target, "written").touch()
    Path(target, "private/key").unlink()
    changes = driver.changes(made, target, private)
    assert changes.kind == ("upper" if kind is OverlayDriver else "tree") and changes.lowers == made.directories
    assert Path(changes.path, "written").exists() and Path(changes.path, "etc/passwd").read_text() == "mine"
    driver.unmount(target)
    driver.unmount(target)   # nothing to do
    driver.mount(made, target, private)
    assert Path(target, "written").exists() and not Path(target, "private/key").exists()
    driver.remove(target, private)
    assert os.listdir(place) == [] and store.verify() == []


def test_btrfs(btrfs: Path, image: Image) -> None:
    store = Store.open(str(btrfs / "store"))
    made = pull(store, image, "x")
    (btrfs / "one").mkdir()
    (btrfs / "two").mkdir()
    driver = BtrfsDriver(store)
    assert driver.usable(str(btrfs / "one/rootfs")) == ""
    for name in ("one", "two"):
        (btrfs / name / "rootfs").mkdir()
        driver.prepare(made, str(btrfs / name / "rootfs"), str(btrfs / name / "private"))
        check(str(btrfs / name / "rootfs"), made)
        assert os.stat(btrfs / name / "rootfs").st_ino == 256
    Path(btrfs, "one/rootfs/written").touch()
    changes = driver.changes(made, str(btrfs / "one/rootfs"), "")
    assert changes.kind == "tree" and set(listing(changes.base)) == EXPECTED == set(listing(str(btrfs / "two/rootfs")))
    driver.remove(str(btrfs / "one/rootfs"), str(btrfs / "one/private"))
    assert os.listdir(btrfs / "one") == [] and os.listdir(store.layout.below("work")) == []
    assert store.collect().size == 0 and len(os.listdir(store.layout.below("subvolumes"))) == 3
    store.untag("x")
    assert len(store.collect().subvolumes) == 3
    assert os.listdir(store.layout.below("subvolumes")) == os.listdir(store.layout.below("trash")) == []
    check(str(btrfs / "two/rootfs"), made)   # a snapshot needs nothing from the store


def test_btrfs_killed_at_every_step(btrfs: Path, image: Image) -> None:
    store = Store.open(str(btrfs / "store"))
    made = pull(store, image, "x")
    moment, done = 0, -9
    while done:
        target = str(btrfs / f"rootfs{moment}")
        os.mkdir(target)
        done = dying(partial(BtrfsDriver(store).prepare, made, target, ""), moment)
        assert done in (0, -9) and store.verify() == []
        if moment % 10 == 9:
            for name in os.listdir(store.layout.below("subvolumes")):
                subvolumes.destroy(store.layout.below("subvolumes", name))
        moment += 1
    assert moment > 20
    check(target, made)
    store.collect()
    assert os.listdir(store.layout.below("work")) == os.listdir(store.layout.below("trash")) == []


def test_btrfs_subvolumes_are_removed_without_their_ioctl(btrfs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only root may use the ioctl."""
    from pyruntime.images.store import trees

    subvolumes.create(str(btrfs / "volume"))
    (btrfs / "volume/a/b").mkdir(parents=True)
    (btrfs / "volume/a/file").touch()
    monkeypatch.setattr(subvolumes, "destroy", lambda path: subvolumes.create("/dev/null/x"))
    trees.remove(str(btrfs / "volume"))
    assert os.listdir(btrfs) == []


def test_choosing(store: Store, place: Path, btrfs: Path) -> None:
    target = str(place / "rootfs")
    assert choose("", store, target).name == "overlay"
    assert choose("copy", store, target).name == "copy"
    with pytest.raises(HostError, match=r"the btrfs driver cannot be used for .*is not on btrfs"):
        choose("btrfs", store, target)
    with pytest.raises(UsageError, match='unknown storage driver "zfs": use overlay, btrfs, copy'):
        choose("zfs", store, target)
    other = Store.open(str(btrfs / "store"))
    assert choose("btrfs", other, str(btrfs / "not/yet/there")).name == "btrfs"
    with pytest.raises(HostError, match="not on the btrfs of the store"):
        choose("btrfs", other, target)


def test_overlay_without_support_for_upper_directories(store: Store, place: Path, image: Image) -> None:
    """For example, a store on an overlay: the reason is shown, and another driver is chosen."""
    made = pull(store, image, "x")
    driver = OverlayDriver(store)
    driver.prepare(made, str(place / "rootfs"), str(place / "private"))
    try:
        inner = str(place / "rootfs/inner")
        if not driver.usable(inner):
            pytest.skip("this kernel has overlays on overlays")
        with pytest.raises(HostError, match="the overlay driver cannot be used"):
            choose("overlay", store, inner)
        assert choose("", store, inner).name == "copy"
        assert set(listing(str(place / "rootfs"))) == EXPECTED   # the attempt has left nothing
    finally:
        driver.remove(str(place / "rootfs"), str(place / "private"))


def test_an_image_without_layers(store: Store, place: Path) -> None:
    made = store.extract_layers([])
    for driver in (OverlayDriver(store), CopyDriver(store)):
        target, private = str(place / "rootfs"), str(place / "private")
        os.makedirs(target, exist_ok=True)
        driver.prepare(made, target, private)
        assert os.listdir(target) == []
        Path(target, "x").touch()
        driver.remove(target, private)


def many(tmp_path: Path, count: int) -> list[str]:
    """Layer directories with long names; each has a file of its own, and one that all have."""
    found = []
    for number in range(count):
        path = tmp_path / "layers" / f"{number:064}" / "fs"
        path.mkdir(parents=True)
        (path / f"file{number}").touch()
        (path / "top").write_text(str(number))
        found.append(str(path))
    return found


@pytest.mark.parametrize("way", ["settings", "names", "best"])
def test_500_layers(tmp_path: Path, place: Path, way: str) -> None:
    directories = many(tmp_path, 500)
    for name in ("upper", "work"):
        (place / name).mkdir()
    target = str(place / "rootfs")
    if way == "settings":
        if LINUX < (6, 8):
            pytest.skip("this kernel does not take layers one by one")
        overlay.mount_by_settings(directories, target, str(place), [])
    elif way == "names":
        overlay.mount_by_names(directories, target, str(place), ["volatile"])
    else:
        overlay.mount_layers(directories, target, str(place), userxattr=False, volatile=True)
    try:
        assert len(os.listdir(target)) == 501 and Path(target, "top").read_text() == "499"
        options = next(line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f" {target} " in line)
        assert "redirect_dir=on" not in options and "index=on" not in options and "metacopy=on" not in options
        assert ("volatile" in options) == (way != "settings")
    finally:
        kernel.umount2(target)


def test_old_kernels_take_short_names(tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel without lowerdir+ returns EINVAL."""
    def unknown(*_: object) -> None:
        raise OSError(errno.EINVAL, "fsconfig: Unknown parameter 'lowerdir+'")

    monkeypatch.setattr(kernel, "mount_filesystem", unknown)
    for name in ("upper", "work"):
        (place / name).mkdir()
    overlay.mount_layers(many(tmp_path, 60), str(place / "rootfs"), str(place), userxattr=False)
    assert len(os.listdir(place / "rootfs")) == 61
    kernel.umount2(str(place / "rootfs"))


@pytest.mark.parametrize("old", [False, True], ids=["this kernel", "before 6.8"])
def test_many_layers_read_only(store: Store, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch, old: bool
                               ) -> None:
    """As `pyimage mount` mounts an image."""
    def unknown(*_: object) -> None:
        raise OSError(errno.EINVAL, "fsconfig: Unknown parameter 'lowerdir+'")

    if old:
        monkeypatch.setattr(kernel, "mount_filesystem", unknown)
    target = str(place / "rootfs")
    attach(store, Layers(["x"], many(tmp_path, 120), ["sha256:" + "0" * 64], ""), target)
    try:
        assert len(os.listdir(target)) == 121 and Path(target, "top").read_text() == "119"
        shown = next(line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()
                     if f" {target} " in line)
        assert {"ro", "nosuid", "nodev"} <= set(shown[5].split(","))
    finally:
        kernel.umount2(target)
    with pytest.raises(HostError, match="No such file"):
        attach(store, Layers(["x"], [str(place / "absent")], ["sha256:" + "0" * 64], ""), target)


def test_short_names_tell_layers_apart() -> None:
    keys = ["0" * 64, "1" * 58 + "0" * 6, "a" * 64 + ".chain", "b" * 58 + "a" * 6]
    assert overlay.short_names([*(f"/store/layers/{key}/fs" for key in keys), "/bundle/empty"]) == [
        "000000", "1000000", "aaaaaa", "baaaaaa", "4"]


def test_a_failed_mount_gives_the_reason(store: Store, place: Path) -> None:
    made = Layers(["x"], [str(place / "absent")], ["sha256:" + "0" * 64], "")
    with pytest.raises(HostError, match=r"cannot mount an overlay of 1 layers at .*rootfs.*No such file"):
        OverlayDriver(store).prepare(made, str(place / "rootfs"), str(place / "private"))


def test_a_busy_root_filesystem_stays(store: Store, place: Path, image: Image) -> None:
    driver, target, private = OverlayDriver(store), str(place / "rootfs"), str(place / "private")
    driver.prepare(pull(store, image, "x"), target, private)
    with open(f"{target}/etc/passwd"), pytest.raises(HostError, match="is in use"):
        driver.remove(target, private)
    assert Path(target, "etc/passwd").exists()
    driver.remove(target, private)


@pytest.mark.parametrize("old", [False, True], ids=["this kernel", "before 6.8"])
def test_gc_lets_mounted_layers_be(store: Store, place: Path, image: Image, monkeypatch: pytest.MonkeyPatch, old: bool
                                   ) -> None:
    """The layers of a mounted root filesystem are kept, even if the image has no name."""
    def unknown(*_: object) -> None:
        raise OSError(errno.EINVAL, "fsconfig: Unknown parameter 'lowerdir+'")

    if old:
        monkeypatch.setattr(kernel, "mount_filesystem", unknown)
    made = pull(store, image, "x")
    driver = OverlayDriver(store)
    driver.prepare(made, str(place / "rootfs"), str(place / "private"))
    store.untag("x")
    assert store.collect().layers == []
    assert set(listing(str(place / "rootfs"))) == EXPECTED
    driver.remove(str(place / "rootfs"), str(place / "private"))
    assert len(store.collect().layers) == 3


# --- views ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("way", ["lowerdir+", "lowerdir", "copy"])
def test_a_view_by_every_kernel_interface(store: Store, image: Image, monkeypatch: pytest.MonkeyPatch, way: str
                                               ) -> None:
    """Linux 6.8 takes layers one by one; earlier kernels a few at once; otherwise a copy, which is removed with the
    view."""
    layers = pull(store, image, "x")
    mount, asked = kernel.detached_filesystem, []

    if way == "lowerdir+" and LINUX < (6, 8):
        pytest.skip("this kernel does not take layers one by one")

    def old(kind: str, settings: list[tuple[str, str | None]], attributes: int) -> int:
        asked.append({name for name, _ in settings} & {"lowerdir+", "lowerdir"})
        if way != "lowerdir+" and ("lowerdir+" in asked[-1] or way == "copy"):
            raise OSError(errno.EINVAL, "Invalid argument")
        return mount(kind, settings, attributes)

    monkeypatch.setattr(kernel, "detached_filesystem", old)
    work = os.listdir(store.layout.below("work"))
    with View(store, layers) as view:
        assert set(listing(f"/proc/self/fd/{view.fd}")) == EXPECTED
        assert Path(f"/proc/self/fd/{view.fd}/etc/passwd").read_bytes() == b"second"
    assert asked == [{"lowerdir+"}] + [{"lowerdir"}] * (way != "lowerdir+")
    assert os.listdir(store.layout.below("work")) == work


@pytest.mark.parametrize("way", ["names", "fuse"])
def test_a_caller_that_ignores_sigchld(tmp_path: Path, place: Path, way: str) -> None:
    """It has no exit statuses of its children."""
    directories, target = many(tmp_path, 3), place / "rootfs"
    for name in ("upper", "work"):
        (place / name).mkdir()
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        if way == "names":
            overlay.mount_by_names(directories, str(target), str(place), [])
        else:
            overlay.mount_by_fuse(str(shutil.which("fuse-overlayfs")), directories, str(target), str(place))
        with pytest.raises(OSError):
            overlay.mount_by_names(directories, "/nonexistent", str(place), [])
    finally:
        signal.signal(signal.SIGCHLD, before)
    found = os.listdir(target)
    kernel.umount2(str(target))
    assert len(found) == 4
