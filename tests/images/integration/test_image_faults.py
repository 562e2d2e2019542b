"""Regressions found in a review of the image tool: escapes, leaks, leftovers and wrong results."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bundles.images import Layout
from pyruntime.errors import LayerError, RegistryError
from pyruntime.images.layers.apply import LayerLimits, extract
from pyruntime.images.registry.credentials import Login
from pyruntime.images.store import trees
from tests.images.integration.command import PYIMAGE, Pyimage
from tests.images.integration.conftest import Client
from tests.images.integration.registries import FakeRegistry, redirect, status
from tests.images.integration.test_hostile_command import layout_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def archive(*entries: tuple[str, bytes | str]) -> bytes:
    """A layer: a directory for each name that ends with a slash, a link for a string, a file for bytes."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.mode = 0o755
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content if isinstance(content, bytes) else b""))
    return data.getvalue()


@pytest.fixture
def pyimage(tmp_path: Path) -> Iterator[Pyimage]:
    made = Pyimage(tmp_path)
    yield made
    made.close()


def load(pyimage: Pyimage, *layers: bytes, name: str = "example.org/a:1", **config: Any) -> str:
    """Put an image of these layers into the store; its name."""
    layout = Layout(pyimage.path / f"layout-{len(os.listdir(pyimage.path))}")
    layout.image(name, [layout.layer(layer) for layer in layers], **{"Cmd": ["x"], **config})
    pyimage.ok("load", "-q", "-i", layout.path)
    return name


def mounted(path: Path) -> str:
    """The options of the mount at a path; "" if there is none."""
    lines = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return next((words[5] for words in lines if words[4] == str(path)), "")


# ---- whiteouts of nothing ---------------------------------------------------------------------------


@pytest.mark.parametrize("below", [[], [archive(("b/", b""))]], ids=["alone", "on top of another"])
def test_a_whiteout_that_hides_nothing_is_invisible(pyimage: Pyimage, below: list[bytes]) -> None:
    """In a directory of one layer alone, readdir would show whiteouts that cannot be opened or removed."""
    name = load(pyimage, *below, archive(("a/", b""), ("a/.wh.foo", b""), ("a/x", b"x"), (".wh.bar", b"")))
    pyimage.ok("unpack", "--driver", "overlay", name, pyimage.path / "bundle")
    assert os.listdir(pyimage.path / "bundle/rootfs/a") == ["x"]
    pyimage.ok("export", "-o", pyimage.path / "all.tar", name)
    with tarfile.open(pyimage.path / "all.tar") as tar:
        assert [member.name for member in tar if not member.isdir()] == ["a/x"]


# ---- trees that are removed -------------------------------------------------------------------------


def test_removing_a_bundle_does_not_enter_its_mounts(pyimage: Pyimage) -> None:
    name = load(pyimage, archive(("home/", b"")))
    bundle, precious = pyimage.path / "bundle", pyimage.path / "precious"
    pyimage.ok("unpack", "--driver", "copy", name, bundle)
    precious.mkdir()
    (precious / "file").touch()
    subprocess.run(["mount", "--bind", precious, bundle / "rootfs/home"], check=True)
    done = pyimage("umount", "--remove", bundle)
    assert (precious / "file").exists()
    assert done.returncode == 1 and 'a mount at "home"' in done.stderr
    subprocess.run(["umount", bundle / "rootfs/home"], check=True)
    pyimage.ok("umount", "--remove", bundle)
    assert not bundle.exists()


# ---- mounted images ---------------------------------------------------------------------------------


def test_a_mounted_image_has_no_set_user_id_programs_and_no_devices(pyimage: Pyimage) -> None:
    """Other users could run a set-user-ID program at the mount point."""
    pyimage.ok("mount", load(pyimage, archive(("x", b"x"))), pyimage.path / "mnt")
    assert {"ro", "nosuid", "nodev"} <= set(mounted(pyimage.path / "mnt").split(","))
    pyimage.ok("umount", pyimage.path / "mnt")
    assert not mounted(pyimage.path / "mnt")


def test_mounts_of_an_earlier_boot_are_forgotten(pyimage: Pyimage) -> None:
    """The directory may have another use by then, and the image's layers can be removed."""
    name, place = load(pyimage, archive(("x", b"x"))), pyimage.path / "mnt"
    pyimage.ok("mount", name, place)
    records = [path for path in (pyimage.store / "mounts").iterdir() if path.name != "empty"]
    subprocess.run(["umount", place], check=True)
    (records[0] / "boot").unlink()
    (records[0] / "boot").symlink_to("another")
    subprocess.run(["mount", "-t", "tmpfs", "theirs", place], check=True)
    assert pyimage("umount", place).returncode == 1
    assert mounted(place)
    pyimage.ok("rm", name)
    assert not os.listdir(pyimage.store / "layers") and not records[0].exists()


def test_a_killed_mount_is_no_obstacle(pyimage: Pyimage) -> None:
    name = load(pyimage, archive(("x", b"x")))
    (pyimage.store / "mounts/0123456789abcdef").mkdir()
    (pyimage.store / "mounts/0123456789abcdef/target").symlink_to(pyimage.path / "mnt")
    pyimage.ok("mount", name, pyimage.path / "mnt")
    pyimage.ok("prune")
    assert not (pyimage.store / "mounts/0123456789abcdef").exists() and (pyimage.path / "mnt/x").exists()


# ---- configurations ---------------------------------------------------------------------------------


def test_volumes_have_clean_destinations(pyimage: Pyimage) -> None:
    name = load(pyimage, archive(("data/", b""), ("data/x", b"x")), Volumes={"/data": {}, "rel/../../y": {}})
    pyimage.ok("unpack", name, pyimage.path / "bundle")
    mounts = json.loads((pyimage.path / "bundle/config.json").read_text())["mounts"]
    assert [mount["destination"] for mount in mounts[-2:]] == ["/data", "/y"]
    assert (pyimage.path / "bundle/volumes/0/x").read_text() == "x"


@pytest.mark.parametrize("volume", ["/", "..", "/proc", "//proc/sys/"])
def test_a_volume_that_hides_proc(pyimage: Pyimage, volume: str) -> None:
    name = load(pyimage, archive(("x", b"x")), Volumes={volume: {}})
    done = pyimage("unpack", name, pyimage.path / "bundle")
    assert done.returncode == 1 and "cannot be a volume" in done.stderr
    assert not (pyimage.path / "bundle").exists()
    pyimage.ok("unpack", "--volumes", "none", name, pyimage.path / "bundle")


# ---- layers that cost more than they seem to --------------------------------------------------------


def _entry(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "",
           pax: dict[str, str] | None = None) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname, info.mode, info.pax_headers = kind, size, link, 0o755, pax or {}
    return info.tobuf(tarfile.PAX_FORMAT)


GREEDY = {
    "attributes": [_entry(f"d{number}", tarfile.DIRTYPE, pax={"SCHILY.xattr.user.a": "x" * 40000})
                   for number in range(30)],
    "names": [_entry(f"{number}/" + "d/" * 1500, tarfile.DIRTYPE) for number in range(2)],
    "links": [_entry(f"f{number}", tarfile.LNKTYPE, link="n/" * 2000 + "x") for number in range(300)],
    "whiteouts": [_entry(f"{'d' * 200}/.wh.{number:0200}") for number in range(3000)],
}


@pytest.mark.parametrize("case", GREEDY)
def test_a_layer_that_needs_much_memory(case: str, tmp_path: Path) -> None:
    (tmp_path / "fs").mkdir()
    rest = [*GREEDY[case][::-1]]
    fd = os.open(tmp_path / "fs", os.O_RDONLY)
    try:
        with pytest.raises(LayerError, match="kept in memory"):
            extract(lambda _count: rest.pop() if rest else b"", fd, limits=LayerLimits(memory=1 << 20))
    finally:
        os.close(fd)
        trees.remove(str(tmp_path / "fs"))


def test_a_map_that_is_one_endless_number(tmp_path: Path) -> None:
    """Each block was joined to all previous ones: a layer of 8 KB cost half a minute."""
    (tmp_path / "fs").mkdir()
    size = 8 << 20
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1"}
    pieces = [_entry("s", size=size, pax=sparse), *[b"1" * (64 << 10)] * (size // (64 << 10))][::-1]
    fd = os.open(tmp_path / "fs", os.O_RDONLY)
    try:
        with pytest.raises(LayerError, match="map does not end"):
            extract(lambda _count: pieces.pop() if pieces else b"", fd)
        assert len(pieces) > 10, "it was read to its end"
    finally:
        os.close(fd)


# ---- what strangers say -----------------------------------------------------------------------------


def test_a_redirecting_token_server_gets_no_password(fake: FakeRegistry, client: Client,
                                                                       fakes: Callable[..., FakeRegistry]) -> None:
    fake.add_image("app", "1")
    other = fakes()
    fake.fault("GET", "manifests", status(401, {"WWW-Authenticate": f'Bearer realm="{fake.url}/token"'}))
    fake.fault("POST", "token", redirect(other.url))
    with pytest.raises(RegistryError, match="redirects credentials"):
        client.open(f"{fake.host}/app", login=Login("user", identity_token="secret")).manifest("1")
    assert not other.requests


def test_a_registry_with_invalid_tags(fake: FakeRegistry, client: Client) -> None:
    listed = json.dumps({"tags": ["1.0", "\x1b]0;x\x07", "../../v2/other/manifests/1", 5]}).encode()
    fake.fault("GET", "tags/list", status(200, {"Content-Type": "application/json"}, listed))
    assert client.open(f"{fake.host}/app").tags() == ["1.0"]


def test_messages_have_no_control_characters(pyimage: Pyimage) -> None:
    """Control characters would control the terminal."""
    name = load(pyimage, archive(("x", b"x")), User="\x1b]0;owned\x07")
    done = pyimage("unpack", name, pyimage.path / "bundle")
    assert done.returncode == 1 and r"\x1b]0;owned\x07" in done.stderr and "\x1b" not in done.stderr


def test_a_terminal_gets_no_control_characters(pyimage: Pyimage) -> None:
    name = load(pyimage, archive(("x", b"x")), Labels={"a": "\x1b[31m"})
    assert "\x1b[31m" in pyimage.ok("inspect", "--format", "{{.Config.Labels.a}}", name)
    ours, theirs = os.openpty()
    try:
        subprocess.run([PYIMAGE, "--root", pyimage.store, "inspect", "--format", "{{.Config.Labels.a}}", name],
                       stdout=theirs, check=True)
        assert os.read(ours, 100) == b"\\x1b[31m\r\n"
    finally:
        os.close(ours)
        os.close(theirs)


# ---- what comes into the store ----------------------------------------------------------------------


def test_an_index_of_images_for_other_platforms(pyimage: Pyimage) -> None:
    layout = Layout(pyimage.path / "layout")
    layout.image("x", [layout.layer(archive(("x", b"x")))], Cmd=["x"])
    layout.image("y", [layout.layer(archive(("y", b"y")))], Cmd=["y"])
    index = json.loads((layout.path / "index.json").read_text())
    for entry, architecture in zip(index["manifests"], ("s390x", "riscv64"), strict=True):
        entry["platform"]["architecture"] = architecture
        del entry["annotations"]
    index["mediaType"] = "application/vnd.oci.image.index.v1+json"
    root = layout.blob(json.dumps(index).encode(), index["mediaType"])
    root["annotations"] = {"org.opencontainers.image.ref.name": "example.org/a:1"}
    (layout.path / "index.json").write_text(json.dumps({**index, "manifests": [root]}))
    assert pyimage.ok("load", "-q", "-i", layout.path) == "example.org/a:1\n"
    assert pyimage.ok("verify") == ""
    pyimage.ok("unpack", "--platform", "linux/s390x", "example.org/a:1", pyimage.path / "bundle")
    assert pyimage.ok("prune", "--all") == "freed: 0B\n", "a bundle uses one of its images"


def test_the_error_is_shown_despite_another_damaged_image(pyimage: Pyimage) -> None:
    load(pyimage, archive(("x", b"x")))
    manifest = json.loads(pyimage.ok("inspect", "example.org/a:1"))["Digest"]
    blob = pyimage.store / "blobs/sha256" / manifest[7:]
    blob.write_bytes(blob.read_bytes()[:-1] + b" ")
    done = pyimage("load", "-i", layout_of(pyimage.path / "hostile", archive(("../x", b"x"))))
    assert done.returncode == 1
    first = next(line for line in done.stderr.splitlines() if line.startswith("error"))
    assert '".."' in first and "nothing was removed" in done.stderr


def test_a_store_of_another_user(pyimage: Pyimage) -> None:
    """The owner of the directory could put links and programs into it."""
    pyimage.store.mkdir()
    os.chown(pyimage.store, 1234, 1234)
    done = pyimage("ls")
    assert done.returncode == 1 and "belongs to user 1234" in done.stderr
    assert not os.listdir(pyimage.store)


def test_a_bundle_of_another_user_has_no_valid_record(pyimage: Pyimage) -> None:
    load(pyimage, archive(("x", b"x")))
    bundle = pyimage.path / "bundle"
    pyimage.ok("unpack", "--driver", "copy", "example.org/a:1", bundle)
    mark = json.loads((bundle / ".pyimage").read_text())
    record = json.loads((pyimage.store / "bundles" / mark["id"]).read_text())
    outside = f"../../{bundle.name}/record"
    (bundle / "record").write_text(json.dumps({**record, "id": outside}))
    (bundle / ".pyimage").write_text(json.dumps({**mark, "id": outside}))
    done = pyimage("umount", "--remove", bundle)
    assert done.returncode == 1 and "is not a bundle" in done.stderr and bundle.exists()


# ---- bundles ----------------------------------------------------------------------------------------


def test_a_bundle_in_the_directory_of_another_user(pyimage: Pyimage) -> None:
    name, bundle = load(pyimage, archive(("x", b"x"))), pyimage.path / "bundle"
    bundle.mkdir()
    os.chown(bundle, 1234, 1234)
    done = pyimage("unpack", name, bundle)
    assert done.returncode == 1 and "belongs to user 1234" in done.stderr and os.listdir(bundle) == []


def test_the_mounts_of_a_killed_unpack_are_removed(pyimage: Pyimage) -> None:
    """The process was killed during its trial mount of an overlay."""
    name, bundle = load(pyimage, archive(("x", b"x"))), pyimage.path / "bundle"
    merged = bundle / ".pyruntime-overlay-1.1/merged"
    merged.mkdir(parents=True)
    (bundle / ".pyimage.new").touch()
    subprocess.run(["mount", "-t", "tmpfs", "leftover", merged], check=True)
    pyimage.ok("unpack", name, bundle)
    assert sorted(os.listdir(bundle)) == [".pyimage", ".rootfs", "config.json", "rootfs"]
    pyimage.ok("umount", bundle)


def test_repack_skips_a_device_that_is_a_whiteout(pyimage: Pyimage) -> None:
    """With the device, the image could not be unpacked again."""
    name, bundle = load(pyimage, archive(("x", b"x"))), pyimage.path / "bundle"
    pyimage.ok("unpack", "--driver", "copy", name, bundle)
    os.mknod(bundle / "rootfs/null", 0o20666, os.makedev(0, 0))
    (bundle / "rootfs/y").touch()
    done = pyimage("repack", bundle, "example.org/b:1")
    assert done.returncode == 0 and "character device 0:0" in done.stderr
    pyimage.ok("unpack", "example.org/b:1", pyimage.path / "again")
    assert sorted(os.listdir(pyimage.path / "again/rootfs")) == ["x", "y"]
