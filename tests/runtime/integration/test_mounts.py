"""Mounts: ID mappings, mount points, propagation."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import COMMAND
from tests.conftest import NATIVE
from tests.containers import PATIENCE, Bundle, Runtime, end

MAPPINGS = {"uidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}],
            "gidMappings": [{"containerID": 0, "hostID": 2000, "size": 10}]}


def mount_points(below: Path) -> list[str]:
    """Other processes may mount elsewhere on the host meanwhile."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in points if point.startswith(str(below))]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory of root with a file."""
    path = tmp_path / "source"
    path.mkdir()
    (path / "file").touch()
    os.chown(path / "file", 0, 0)
    return path


@pytest.mark.parametrize("words", [["bind"], ["rbind"], ["bind", "idmap"], ["rbind", "ridmap"]])
def test_mappings_of_a_mount_are_applied_with_and_without_the_option(
        runtime: Runtime, bundle: Bundle, source: Path, words: list[str]) -> None:
    bundle.add_mount("/mnt", "none", str(source), *words, **MAPPINGS)
    bundle.shell("stat -c %u:%g /mnt/file")
    assert runtime.ok("run", "c1", bundle) == "1000:2000\n"


def test_only_bind_mounts_can_be_mapped(runtime: Runtime, bundle: Bundle) -> None:
    bundle.add_mount("/mnt", "tmpfs", "tmpfs", "idmap", **MAPPINGS)
    bundle.shell("true")
    assert "mounts[7].options: only a bind mount can be ID-mapped" in runtime("run", "c1", bundle).stderr


def test_the_hosts_user_namespace_has_no_mappings_to_use(runtime: Runtime, bundle: Bundle, source: Path) -> None:
    bundle.add_mount("/mnt", "none", str(source), "bind", "idmap")
    bundle.config["linux"]["namespaces"].append({"type": "user", "path": "/proc/self/ns/user"})
    bundle.shell("true")
    done = runtime("run", "c1", bundle)
    assert 'mounts[7] (' in done.stderr and 'option "idmap" without mappings: ' in done.stderr


@pytest.mark.parametrize("words", [["bind", "idmap"], ["rbind", "ridmap"]])
def test_the_mappings_of_a_joined_user_namespace_are_used(runtime: Runtime, bundle: Bundle, source: Path,
                                                           words: list[str]) -> None:
    holder = subprocess.Popen(["unshare", "--user", "sh", "-c", "echo made; exec sleep 100"], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"made\n"
        for kind in ("uid_map", "gid_map"):
            Path(f"/proc/{holder.pid}/{kind}").write_text("0 100000 65536")
        bundle.config["linux"]["namespaces"].append({"type": "user", "path": f"/proc/{holder.pid}/ns/user"})
        bundle.add_mount("/mnt", "none", str(source), *words)
        bundle.shell("stat -c %u:%g /mnt/file")
        assert runtime.ok("run", "c1", bundle) == "0:0\n"
    finally:
        end(holder)
        if holder.stdout is not None:
            holder.stdout.close()


def test_no_mode_or_owner_is_set_through_a_path_that_may_have_become_a_link() -> None:
    # A container that shares the directory could replace a new node by a link to a file of the host.
    text = (NATIVE / "devices.c").read_text()
    assert "fchmodat(dir" not in text and "fchownat(dir" not in text


@pytest.mark.parametrize("bound", [True, False])
def test_an_existing_device_node_keeps_its_mode_and_owner(runtime: Runtime, own_bundle: Bundle, tmp_path: Path,
                                                               bound: bool) -> None:
    # The node may be the host's: bind-mounted, or in a devtmpfs, of which the host has only one.
    node = tmp_path / "node" if bound else own_bundle.path / "rootfs/node"
    os.mknod(node, stat.S_IFCHR | 0o640, os.makedev(1, 3))
    os.chown(node, 3, 4)
    if bound:
        own_bundle.add_mount("/node", "none", str(node), "bind")
    own_bundle.config["linux"]["devices"] = [
        {"path": "/node", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 5, "gid": 6}]
    own_bundle.shell("stat -c '%a %u:%g' /node")
    assert runtime.ok("run", "c1", own_bundle) == "640 3:4\n"


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """A mount that the host shares."""
    path = tmp_path / "shared"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", path], check=True)
    subprocess.run(["mount", "--make-shared", path], check=True)
    (path / "there").mkdir()
    (path / "here").mkdir()
    yield path
    subprocess.run(["umount", "-R", path], check=True)


@pytest.mark.parametrize(("rootfs", "mount"), [
    ("rshared", "rshared"), ("shared", "shared"), ("rslave", "rslave"), ("", "rprivate"), ("", "rslave"),
    ("", "rshared")])
def test_mounts_of_the_container_propagate_to_the_host_if_both_sides_are_shared(
        runtime: Runtime, bundle: Bundle, shared: Path, rootfs: str, mount: str) -> None:
    outwards = rootfs.endswith("shared")
    bundle.add_mount("/mnt", "none", str(shared), "rbind", mount)
    caps = {name: ["CAP_SYS_ADMIN"] for name in ("bounding", "effective", "permitted")}
    before = mount_points(shared)
    bundle.shell("mount -t tmpfs tmpfs /mnt/there; mkdir /mnt/mounted; while ! [ -d /mnt/end ]; do sleep 0.05; done;"
                 "grep -c ' /mnt/here ' /proc/mounts; true", process__capabilities=caps,
                 linux__rootfsPropagation=rootfs or None)
    with (bundle.path / "log").open("w") as log:
        process = subprocess.Popen([COMMAND, "--root", runtime.root, "run", "c1", bundle.path], stdout=log,
                                   stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while not (shared / "mounted").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        extra = [path for path in mount_points(shared) if path not in before]
        assert extra == ([str(shared / "there")] if outwards else [])
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", shared / "here"], check=True)
    finally:
        (shared / "end").mkdir()
        process.wait(PATIENCE)
    assert process.returncode == 0
    assert (bundle.path / "log").read_text() == ("0\n" if mount == "rprivate" else "1\n")


@pytest.mark.parametrize(("propagation", "inwards"), [("slave", True), ("shared", True), ("private", False)])
def test_mounts_on_the_host_propagate_to_a_slave_root(runtime: Runtime, own_bundle: Bundle, shared: Path,
                                                  propagation: str, inwards: bool) -> None:
    rootfs = shared / "rootfs"
    own_bundle.path.joinpath("rootfs").rename(own_bundle.path / "moved")
    subprocess.run(["cp", "-a", own_bundle.path / "moved", rootfs], check=True)
    (rootfs / "sub").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", rootfs / "sub"], check=True)
    own_bundle.config["root"]["path"] = str(rootfs)
    own_bundle.add_mount("/sub/deeper", "tmpfs", "tmpfs")
    own_bundle.save(process__args=["sleep", "100"], linux__rootfsPropagation=propagation)
    before = mount_points(shared)
    runtime.ok("run", "-d", "c1", own_bundle)
    assert mount_points(shared) == before   # no mount of the container in the host's shared mount
    (rootfs / "new").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", rootfs / "new"], check=True)
    inside = Path(f"/proc/{runtime.state('c1')['pid']}/mounts").read_text()
    assert (" /new " in inside) == inwards
    runtime.ok("delete", "--force", "c1")


def test_a_chain_of_dangling_links_is_followed_inside_the_root(runtime: Runtime, own_bundle: Bundle,
                                                               source: Path) -> None:
    rootfs = own_bundle.path / "rootfs"
    (rootfs / "a").symlink_to("/b")
    (rootfs / "b").symlink_to("deep/../c")
    (rootfs / "c").symlink_to("../../../../../../d/e")
    own_bundle.add_mount("/a", "none", str(source / "file"), "bind")
    own_bundle.shell("grep -c ' /d/e ' /proc/self/mountinfo")
    assert runtime.ok("run", "c1", own_bundle) == "1\n"
    (rootfs / "d/e").unlink()
    (rootfs / "d/e").symlink_to("/a")   # a cycle
    assert "Too many levels of symbolic links" in runtime("run", "c1", own_bundle).stderr


def test_a_file_on_a_destination_with_a_trailing_slash(runtime: Runtime, own_bundle: Bundle, source: Path) -> None:
    own_bundle.add_mount("/new/", "none", str(source / "file"), "bind")
    own_bundle.shell("test -f /new")
    runtime.ok("run", "c1", own_bundle)


@pytest.mark.parametrize(("what", "place", "words"), [("file", "/bin", "Is a directory"),
                                                      ("", "/bin/busybox", "Not a directory")])
def test_a_file_over_a_directory_is_named(runtime: Runtime, bundle: Bundle, source: Path, what: str, place: str,
                                          words: str) -> None:
    bundle.add_mount(place, "none", str(source / what), "bind")
    bundle.shell("true")
    assert f"move_mount: {place}: {words}" in runtime("run", "c1", bundle).stderr


def test_propagation_alone_changes_an_existing_mount(runtime: Runtime, bundle: Bundle, source: Path) -> None:
    bundle.add_mount("/mnt", "none", str(source), "bind")
    bundle.config["mounts"].append({"destination": "/mnt", "options": ["rshared"]})
    bundle.shell("grep ' /mnt ' /proc/self/mountinfo")
    assert " shared:" in runtime.ok("run", "c1", bundle)


@pytest.mark.parametrize("spaces", [[], [{"type": "user"}]])
def test_long_options(runtime: Runtime, bundle: Bundle, tmp_path: Path, spaces: list[dict[str, str]]) -> None:
    layers = [tmp_path / (str(number) * 200) for number in range(4)]
    for number, layer in enumerate(layers):
        layer.mkdir()
        (layer / f"file{number}").touch()
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    tmp_path.chmod(0o755)
    bundle.add_mount("/mnt", "overlay", "overlay", "lowerdir=" + ":".join(map(str, layers)), "ro", "nosuid")
    bundle.config["linux"]["namespaces"] += spaces
    if spaces:
        mappings = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        bundle.save(linux__uidMappings=mappings, linux__gidMappings=mappings)
    bundle.shell("ls /mnt; grep -c ' /mnt ' /proc/mounts; grep -c ' /mnt overlay ro,nosuid' /proc/mounts")
    assert runtime.ok("run", "c1", bundle).split() == ["file0", "file1", "file2", "file3", "1", "1"]


def test_a_filesystem_that_cannot_be_mounted_leaves_no_directory(runtime: Runtime, own_bundle: Bundle) -> None:
    own_bundle.add_mount("/fresh", "nosuchfs", "x")
    own_bundle.shell("true")
    assert "No such device" in runtime("create", "c1", own_bundle).stderr
    assert not (own_bundle.path / "rootfs/fresh").exists()
