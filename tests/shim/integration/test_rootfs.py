"""The mounts of Create."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bundles.build import busybox_rootfs
from pyruntime.shim import rootfs
from pyruntime.system import kernel
from tests.shim.client import Container, Machine, ShimError, until

pytestmark = pytest.mark.timeout(120)
_MAPS = ["uidmap=0:100000:65536", "gidmap=0:100000:65536"]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    path = tmp_path_factory.mktemp("rootfs")
    path.chmod(0o711)
    path.parent.chmod(0o711)
    for above in path.parents[:2]:
        os.chmod(above, 0o711)
    busybox_rootfs(path / "image")
    made = Machine(path)
    yield made
    made.close()


def in_user_namespace(config: dict[str, Any]) -> None:
    ids = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    config["linux"].update(uidMappings=ids, gidMappings=ids)
    config["linux"]["namespaces"].append({"type": "user"})
    config["root"]["readonly"] = False


def layers(machine: Machine, name: str, count: int) -> list[str]:
    made = []
    for number in range(count):
        layer = machine.path / f"{name}-layer-{number}"
        layer.mkdir()
        (layer / f"file-{number}").write_text(f"of layer {number}\n")
        made.append(str(layer))
    return [*made, str(machine.path / "image")]


@pytest.mark.parametrize("kind", ["bind", "overlay", "long overlay"])
def test_mapped_ids(machine: Machine, kind: str) -> None:
    """The container's root owns what root owns in the layers, and may write; nothing but the root filesystem stays
    mounted."""
    name = kind.replace(" ", "-")
    below = layers(machine, name, 60 if kind == "long overlay" else 2)
    upper, work = machine.path / f"{name}-upper", machine.path / f"{name}-work"
    for directory in (upper, work):
        directory.mkdir()
        os.chown(directory, 100000, 100000)
    mount: dict[str, Any] = {"type": "bind", "source": below[-1], "options": ["rbind", "ro", *_MAPS]}
    script = "stat -c '%u %g' /bin/busybox; ! touch /new"
    if kind != "bind":
        mount = {"type": "overlay", "source": "overlay", "options": [
            f"lowerdir={':'.join(below)}", f"upperdir={upper}", f"workdir={work}", *_MAPS]}
        script = "stat -c '%u %g' /bin/busybox; cat /file-1; touch /new"
    container = Container(machine, name, "sh", "-c", script, edit=in_user_namespace)
    container.bundle.chmod(0o711)
    container.create(rootfs=[mount], options=None)
    assert machine.mounts(container.bundle) == [f"{container.bundle}/rootfs"]
    container.call("Start")
    assert container.call("Wait")["exit_status"] == 0, container.out.data
    assert container.out.all() == b"0 0\n" + (b"of layer 1\n" if kind != "bind" else b"")
    if kind != "bind":
        assert (upper / "new").stat().st_uid == 100000
    container.remove()


def test_many_layers(machine: Machine) -> None:
    """Their names are longer than what mount(2) takes, also on a kernel before 6.8 (tests/vm)."""
    below = layers(machine, "many-layers-with-a-name-as-long-as-those-of-containerd", 100)
    upper, work = machine.path / "many-upper", machine.path / "many-work"
    upper.mkdir()
    work.mkdir()
    container = Container(machine, "many", "sh", "-c", "cat /file-0 /file-99; touch /new")
    container.create(rootfs=[{"type": "overlay", "source": "overlay", "options": [
        f"lowerdir={':'.join(below)}", f"upperdir={upper}", f"workdir={work}", "index=off"]}])
    assert machine.mounts(container.bundle) == [f"{container.bundle}/rootfs"]
    container.call("Start")
    container.call("Wait")
    assert container.out.all() == b"of layer 0\nof layer 99\n"
    container.remove()


@pytest.mark.parametrize("maps", [[], _MAPS], ids=["same IDs", "mapped IDs"])
def test_a_kernel_before_6_8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, maps: list[str]) -> None:
    def unknown(*_: object) -> int:
        raise OSError(errno.EINVAL, "fsconfig: overlay: Invalid argument")

    monkeypatch.setattr(kernel, "detached_filesystem", unknown)
    below, place = [tmp_path / f"{'x' * 80}-{number}" for number in range(60)], tmp_path / "rootfs"
    for number, layer in enumerate(below):
        layer.mkdir()
        (layer / f"file-{number}").touch()
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    rootfs.mount(str(place), [{"type": "overlay", "source": "overlay", "target": "", "options": [
        f"lowerdir={':'.join(map(str, below))}", f"upperdir={tmp_path}/upper", f"workdir={tmp_path}/work", *maps]}])
    try:
        assert len(os.listdir(place)) == 60
        assert (place / "file-59").stat().st_uid == (100000 if maps else 0)
        mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        assert [point for point in mounted if Path(point).is_relative_to(tmp_path)] == [str(place)]
    finally:
        rootfs.unmount(str(place))


def test_a_map_that_is_wrong(machine: Machine) -> None:
    container = Container(machine, "wrong", "true")
    with pytest.raises(ShimError, match="failed to mount rootfs component"):
        container.create(rootfs=[{"type": "bind", "source": str(machine.path / "image"),
                                  "options": ["bind", "uidmap=none", "gidmap=0:1:1"]}])
    assert machine.mounts(container.bundle) == []
    container.call("Shutdown")
    until(lambda: "wrong" not in machine.monitors())


def test_a_mount_that_fails_takes_the_others_along(machine: Machine) -> None:
    image = {"type": "bind", "source": str(machine.path / "image"), "options": ["rbind"]}
    for number, second in enumerate([
            {"type": "ext4", "source": "/no/such"}, {"type": "bind", "source": "/no/such", "options": ["bind"]},
            {"type": "overlay", "source": "overlay", "options": ["lowerdir=/no/such:/no/other", *_MAPS]}]):
        container = Container(machine, f"second-{number}", "true")
        with pytest.raises(ShimError, match=r"failed to mount rootfs component.*no such file or directory"):
            container.create(rootfs=[image, second])
        assert machine.mounts(container.bundle) == []
        container.call("Shutdown")


def test_a_target_below_the_root(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here\n")
    image = {"type": "bind", "source": str(machine.path / "image"), "options": ["rbind"]}
    container = Container(machine, "below", "cat", "/tmp/file")
    subprocess.run(["mkdir", "-p", machine.path / "image/tmp"], check=True)
    container.create(rootfs=[image, {"type": "bind", "source": str(tmp_path), "target": "/tmp", "options": ["bind"]}])
    container.call("Start")
    container.call("Wait")
    assert container.out.all() == b"here\n"
    container.remove()


@pytest.mark.parametrize(("target", "place"), [("/link", "/run/user"), ("/../../run/user", "/run/user")])
def test_a_target_stays_below_the_root(machine: Machine, tmp_path: Path, target: str, place: str) -> None:
    """Whatever symbolic links the image has."""
    link = machine.path / "image/link"
    if not link.is_symlink():
        link.symlink_to(place)
    (machine.path / f"image{place}").mkdir(parents=True, exist_ok=True)
    image = {"type": "bind", "source": str(machine.path / "image"), "options": ["rbind"]}
    container = Container(machine, f"stays-{len(target)}", "true")
    before = machine.mounts(Path(place))   # systemd's
    container.create(rootfs=[image, {"type": "bind", "source": str(tmp_path), "target": target, "options": ["bind"]}])
    assert machine.mounts(Path(place)) == before
    assert machine.mounts(container.bundle) == [f"{container.bundle}/rootfs", f"{container.bundle}/rootfs{place}"]
    container.call("Start")
    container.call("Wait")
    container.remove()


def test_a_target_that_is_missing(machine: Machine) -> None:
    image = {"type": "bind", "source": str(machine.path / "image"), "options": ["rbind"]}
    container = Container(machine, "missing", "true")
    with pytest.raises(ShimError, match=r'failed to mount rootfs component: target "/no/such": no such file'):
        container.create(rootfs=[image, {**image, "target": "/no/such"}])
    assert machine.mounts(container.bundle) == []
    container.call("Shutdown")
