"""A real image, pushed by skopeo, pulled and unpacked by us: the same tree as umoci's and podman's, entry by entry.

Differences are listed here with their reasons; everything else must be equal: type, mode, IDs, times, attributes,
links, content.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundles.images import Layout, debian
from tests.images.integration.command import Pyimage
from tests.images.integration.registries import Registry
from tests.images.integration.trees import Listing, listing


class Shared:
    """The image in a layout, in a registry, and in a store."""

    def __init__(self, path: Path, registry: Registry) -> None:
        self.path = path
        self.layout = path / "layout"
        made = Layout(self.layout)
        made.image("debian", [made.layer(debian(), level=1), made.layer(changes(path / "changes"), level=1),
                              made.layer(more(path / "more"))], Cmd=["true"])
        self.reference = f"{registry.host}/debian:1"
        subprocess.run(["skopeo", "copy", "-q", *registry.skopeo("dest"), f"oci:{self.layout}:debian",
                        f"docker://{self.reference}"], check=True)
        self.pyimage = Pyimage(path)
        self.pyimage.ok("pull", "-q", self.reference)

    def unpacked(self, driver: str) -> Listing:
        """The tree, by a driver."""
        bundle = self.path / f"bundle-{driver}"
        self.pyimage.ok("unpack", "--driver", driver, self.reference, bundle)
        try:
            return listing(bundle / "rootfs")
        finally:
            self.pyimage.ok("umount", "--remove", bundle)


def changes(path: Path) -> Path:
    """A second layer like those of package managers and users: additions, replacements, removals, all types."""
    (path / "usr/share/.wh..wh..opq").parent.mkdir(parents=True)
    (path / "usr/share/.wh.doc").touch()
    (path / "etc/alternatives").mkdir(parents=True)
    (path / "etc/alternatives/.wh..wh..opq").touch()
    (path / "etc/alternatives/new").symlink_to("/usr/bin/true")
    (path / "etc/hostname").write_text("changed\n")
    (path / "etc/.wh.issue").touch()
    (path / "srv/deep/er").mkdir(parents=True)
    (path / "srv/deep").chmod(0o1777)
    (path / "srv/deep/setuid").write_bytes(b"x" * 70_000)
    os.chown(path / "srv/deep/setuid", 33, 34)
    (path / "srv/deep/setuid").chmod(0o6755)
    os.setxattr(path / "srv/deep/setuid", "user.note", b"\x00\xffvalue")
    os.link(path / "srv/deep/setuid", path / "srv/deep/er/link")
    os.mkfifo(path / "srv/fifo", 0o640)
    os.mknod(path / "srv/null", 0o20666, os.makedev(1, 3))
    (path / "srv/sparse").touch()
    os.truncate(path / "srv/sparse", 3 << 20)
    Path(os.fsdecode(os.fsencode(path) + b"/srv/not-utf8-\xff\xfe")).write_text("name")
    for number, place in enumerate(sorted(path.rglob("*"))):
        if not place.is_symlink():
            os.utime(place, ns=(0, 1_500_000_000_000_000_000 + number * 1_000_000_000))
    return path


def more(path: Path) -> Path:
    """A third layer on the second: a directory in place of a file, a file in place of a directory."""
    (path / "srv/fifo").mkdir(parents=True)
    (path / "srv/fifo/inside").write_text("was a fifo")
    (path / "srv/deep").write_text("was a directory")
    (path / "usr/share").mkdir(parents=True)
    (path / "usr/share/doc").mkdir()
    (path / "usr/share/doc/again").write_text("came back")
    return path


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, plain_registry: Registry) -> Iterator[Shared]:
    shared = Shared(tmp_path_factory.mktemp("same"), plain_registry)
    yield shared
    shared.pyimage.close()


def different(ours: Listing, theirs: Listing) -> dict[str, tuple[object, object]]:
    """Path -> the two entries, where they differ."""
    return {path: (ours.get(path), theirs.get(path)) for path in sorted(ours.keys() | theirs.keys())
            if ours.get(path) != theirs.get(path)}


@pytest.mark.timeout(300)
def test_overlay_and_copy_are_the_same_tree(shared: Shared) -> None:
    found = different(shared.unpacked("copy"), shared.unpacked("overlay"))
    # The time of the root changes with the mount point that the driver makes.
    assert found.keys() <= {"."}, found


@pytest.mark.timeout(300)
def test_the_tree_is_umocis(shared: Shared) -> None:
    ours = shared.unpacked("copy")
    subprocess.run(["umoci", "unpack", "--image", f"{shared.layout}:debian", shared.path / "umoci"], check=True,
                   capture_output=True)
    try:
        found = different(ours, listing(shared.path / "umoci/rootfs"))
    finally:
        shutil.rmtree(shared.path / "umoci")
    assert len(ours) > 5000
    assert not found.keys() - {"."}, found


@pytest.mark.timeout(300)
def test_the_tree_is_podmans(shared: Shared) -> None:
    ours = shared.unpacked("overlay")
    root, run = shared.path / "podman", shared.path / "podman-run"
    podman = ["podman", "--root", str(root), "--runroot", str(run), "--storage-driver", "overlay"]
    subprocess.run([*podman, "pull", "-q", "--tls-verify=false", shared.reference], check=True, capture_output=True)
    try:
        place = subprocess.run([*podman, "image", "mount", shared.reference], check=True, capture_output=True,
                               text=True).stdout.strip()
        found = different(ours, listing(Path(place)))
        subprocess.run([*podman, "image", "umount", "-a"], check=True, capture_output=True)
    finally:
        subprocess.run([*podman, "rmi", "-f", "-a"], check=False, capture_output=True)
        shared.pyimage.close()
        shutil.rmtree(root)
    assert not found.keys() - {"."}, found
