"""``pyimage copy`` between all locations, and the interoperation with other tools."""

from __future__ import annotations

import json
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images.integration.command import Pyimage
from tests.images.integration.registries import Registry
from tests.images.integration.samples import HOST, OTHER, blobs_of

Layout = tuple[Path, dict[str, str]]
KINDS = ("docker", "oci", "oci-archive", "docker-archive", "dir", "store")


def place(kind: str, pyimage: Pyimage, registry: Registry, number: int) -> str:
    """A new location for an image."""
    path = f"{pyimage.path}/{kind}-{number}"
    return {"docker": f"docker://{registry.host}/copies/{pyimage.path.name.lower().replace('_', '')}-{number}:1",
            "oci": f"oci:{path}:x/y:1", "oci-archive": f"oci-archive:{path}:x/y:1",
            "docker-archive": f"docker-archive:{path}:x/y:1", "dir": f"dir:{path}", "store": f"copied-{number}:1"}[kind]


def digest(pyimage: Pyimage, where: str) -> str:
    """The digest of the root document at a location."""
    return pyimage.ok("inspect", "-f", "{{.Digest}}", where).strip()


def skopeo(*words: object) -> str:
    """Run skopeo; its output."""
    done = subprocess.run(["skopeo", *map(str, words)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_all_pairs(pyimage: Pyimage, layout: Layout, plain_registry: Registry, kind: str) -> None:
    """Every pair of locations: the same documents, the same blobs, for OCI's and for Docker's types."""
    path, digests = layout
    for name, names in (("dock:1", ("--all-platforms",)), ("multi:1", ("--all-platforms",))):
        first = place(kind, pyimage, plain_registry, len(name))
        assert pyimage.ok("copy", "-q", *names, f"oci:{path}:{name}", first) == f"{digests[name]}\n"
        for number, other in enumerate(KINDS):
            second = place(other, pyimage, plain_registry, 10 * len(name) + number)
            assert pyimage.ok("copy", "-q", *names, first, second) == f"{digests[name]}\n", (first, second)
            assert pyimage.ok("inspect", "--raw", second).encode() == (
                path / "blobs/sha256" / digests[name][7:]).read_bytes()
    wanted = blobs_of(path, digests["multi:1"]) | blobs_of(path, digests["dock:1"])
    assert pyimage.blobs() == wanted and pyimage.ok("verify") == ""


def test_one_of_an_index(pyimage: Pyimage, layout: Layout, tmp_path: Path) -> None:
    """Locations other than the store get the manifest alone; the store keeps the index, and the requested part of it.
    """
    path, digests = layout
    source = f"oci:{path}:multi:1"
    assert pyimage.ok("copy", "-q", source, f"dir:{tmp_path}/host").strip() == digests[HOST]
    assert pyimage.ok("copy", "-q", "--platform", OTHER, source, f"dir:{tmp_path}/other").strip() == digests[OTHER]
    assert pyimage.ok("copy", "-q", "--platform", OTHER, source, "one:1").strip() == digests["multi:1"]
    assert pyimage.blobs() == blobs_of(path, digests[OTHER]) | {digests["multi:1"]}
    assert pyimage.ok("copy", "-q", "one:1", f"oci:{tmp_path}/again").strip() == digests[OTHER], "the stored part"
    said = pyimage.fails("copy", "-q", "--platform", "linux/s390x", source, f"dir:{tmp_path}/none")
    assert f'no image for "linux/s390x"; there are linux/{OTHER}, linux/{HOST}' in said, said
    assert not (tmp_path / "none").exists()


def test_a_layout_keeps_what_it_has(pyimage: Pyimage, layout: Layout, tmp_path: Path) -> None:
    path, digests = layout
    for name in ("busy:1", "dock:1", "busy:1"):
        pyimage.ok("copy", "-q", f"oci:{path}:{name}", f"oci:{tmp_path}/made:{name}")
    index = json.loads((tmp_path / "made/index.json").read_bytes())
    assert [entry["digest"] for entry in index["manifests"]] == [digests["dock:1"], digests["busy:1"]]
    assert digest(pyimage, f"oci:{tmp_path}/made:busy:1") == digests["busy:1"]
    assert digest(pyimage, f"oci:{tmp_path}/made@{digests['dock:1']}") == digests["dock:1"]
    said = pyimage.fails("inspect", f"oci:{tmp_path}/made")
    assert "2 images; select one" in said and "busy:1" in said, said


@pytest.mark.parametrize("kind", ["oci", "oci-archive", "docker-archive", "dir", "docker"])
def test_skopeo_reads_what_we_write(pyimage: Pyimage, layout: Layout, plain_registry: Registry, kind: str,
                                    tmp_path: Path) -> None:
    path, digests = layout
    where = place(kind, pyimage, plain_registry, 1)
    name = "dock:1" if kind in ("docker-archive", "dir") else "busy:1"
    pyimage.ok("copy", "-q", f"oci:{path}:{name}", where)
    insecure = ["--src-tls-verify=false"] if kind == "docker" else []
    target = tmp_path / "theirs"
    skopeo("copy", "-q", *insecure, where, f"dir:{target}")
    manifest = json.loads((target / "manifest.json").read_bytes())
    if kind != "docker-archive":   # for which skopeo creates a new manifest, with uncompressed layers
        assert digest(pyimage, f"dir:{target}") == digests[name]
    ours = json.loads(pyimage.ok("inspect", f"oci:{path}:{name}"))
    assert manifest["config"]["digest"] == ours["Id"]


@pytest.mark.parametrize("kind", ["oci", "oci-archive", "docker-archive", "dir", "docker"])
def test_we_read_what_skopeo_writes(pyimage: Pyimage, layout: Layout, plain_registry: Registry, kind: str) -> None:
    path, digests = layout
    where = place(kind, pyimage, plain_registry, 1)
    name = "dock:1" if kind in ("docker-archive", "dir") else "busy:1"
    insecure = ["--dest-tls-verify=false"] if kind == "docker" else []
    source = f"oci:{path}:docker.io/library/{name}"
    if name == "dock:1":   # skopeo does not see manifests of Docker's type in a layout
        pyimage.ok("copy", "-q", source, f"dir:{pyimage.path}/source")
        source = f"dir:{pyimage.path}/source"
    skopeo("copy", "-q", *insecure, source, where)
    found = pyimage.ok("copy", "-q", where, "theirs:1").strip()
    if kind != "docker-archive":
        assert found == digests[name]
    assert json.loads(pyimage.ok("inspect", "theirs:1"))["RootFS"] == json.loads(
        pyimage.ok("inspect", f"oci:{path}:{name}"))["RootFS"]
    assert len(list((pyimage.store / "layers").iterdir())) == 2, "extracted as by pull and load"


def test_skopeo_takes_a_whole_index(loaded: Pyimage, layout: Layout, plain_registry: Registry, tmp_path: Path) -> None:
    reference = f"docker://{plain_registry.host}/skopeo/multi:1"
    assert loaded.ok("copy", "-aq", "multi:1", reference).strip() == layout[1]["multi:1"]
    skopeo("copy", "-q", "--all", "--src-tls-verify=false", reference, f"oci:{tmp_path}/theirs:multi")
    assert digest(loaded, f"oci:{tmp_path}/theirs:multi") == layout[1]["multi:1"]
    assert loaded.ok("copy", "-aq", f"oci:{tmp_path}/theirs", "back:1").strip() == layout[1]["multi:1"]


@pytest.fixture
def podman() -> Iterator[list[str]]:
    """podman with its own store, which needs no mounts, and short paths."""
    with tempfile.TemporaryDirectory() as path:
        words = ["podman", "--root", f"{path}/root", "--runroot", f"{path}/run", "--storage-driver", "vfs",
                 "--cgroup-manager", "cgroupfs", "--events-backend", "none", "--tmpdir", f"{path}/tmp"]
        yield words
        subprocess.run([*words, "system", "reset", "-f"], check=False, capture_output=True, timeout=60)


def test_podman_loads_our_archives(loaded: Pyimage, podman: list[str], tmp_path: Path) -> None:
    for form, names in (("docker-archive", ("busy:1", "dock:1")), ("oci-archive", ("busy:1",))):
        loaded.ok("save", "-q", "--format", form, "-o", tmp_path / form, *names)
        subprocess.run([*podman, "load", "-q", "-i", tmp_path / form], check=True, capture_output=True, timeout=60)
        for name in names:
            found = subprocess.run([*podman, "inspect", "--type", "image", name], check=True, capture_output=True,
                                   timeout=60)
            assert f"sha256:{json.loads(found.stdout)[0]['Id']}" == json.loads(loaded.ok("inspect", name))["Id"]
        theirs = tmp_path / f"podman-{form}"
        subprocess.run([*podman, "save", "-q", "--format", form, "-o", theirs, "busy:1"], check=True, timeout=60,
                       capture_output=True)
        back = Pyimage(tmp_path / form.replace("-", ""))
        assert back.ok("load", "-q", "-i", theirs) == "docker.io/library/busy:1\n"
        template = ("inspect", "-f", "{{json .RootFS}}", "busy:1")
        assert back.ok(*template) == loaded.ok(*template)
        subprocess.run([*podman, "rmi", "-af"], check=True, capture_output=True, timeout=60)


def test_umoci_unpacks_our_layouts(loaded: Pyimage, tmp_path: Path) -> None:
    loaded.ok("copy", "-q", "busy:1", f"oci:{tmp_path}/made:tag")
    subprocess.run(["umoci", "unpack", "--image", f"{tmp_path}/made:tag", tmp_path / "theirs"], check=True,
                   capture_output=True, timeout=60)
    loaded.ok("export", "busy:1", "-o", tmp_path / "ours.tar")
    with tarfile.open(tmp_path / "ours.tar") as archive:
        ours = {member.name.rstrip("/") for member in archive} - {"."}
    rootfs = tmp_path / "theirs/rootfs"
    assert {str(path.relative_to(rootfs)) for path in rootfs.rglob("*")} == ours
    (rootfs / "etc/changed").write_text("x")
    subprocess.run(["umoci", "repack", "--image", f"{tmp_path}/made:new", tmp_path / "theirs"], check=True,
                   capture_output=True, timeout=60)
    loaded.ok("copy", "-q", f"oci:{tmp_path}/made:new", "new:1")
    assert len(json.loads(loaded.ok("inspect", "new:1"))["Layers"]) == 3
