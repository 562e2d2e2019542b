"""``pyimage save``, ``load``, ``import`` and ``export``: archives of images and of root filesystems."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.images.integration.command import PYIMAGE, Pyimage
from tests.images.integration.samples import BUSYBOX, HOST, OTHER, SECOND, Entry, blobs_of, digest_of, tar

Layout = tuple[Path, dict[str, str]]


@pytest.fixture
def other(tmp_path: Path) -> Pyimage:
    """Another store, as a target."""
    (tmp_path / "other").mkdir()
    return Pyimage(tmp_path / "other")


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_several_images_and_tags_and_an_index(loaded: Pyimage, other: Pyimage, layout: Layout, form: str) -> None:
    path, digests = layout
    loaded.ok("tag", "busy:1", "registry.example:5000/team/renamed:v2", "another")
    file = loaded.path / "images.tar"
    said = loaded("save", "--format", form, "-o", file, "busy:1", "registry.example:5000/team/renamed:v2", "multi:1")
    assert said.returncode == 0 and said.stdout == "", said.stderr
    names = ["docker.io/library/busy:1", "docker.io/library/multi:1", "registry.example:5000/team/renamed:v2"]
    assert sorted(other.ok("load", "-q", "-i", file).splitlines()) == names
    for name in names:
        wanted = digests["multi:1" if "multi" in name else "busy:1"]
        assert other.ok("inspect", "-f", "{{.Digest}}", name).strip() == wanted
    assert other.blobs() == blobs_of(path, digests["busy:1"]) | blobs_of(path, digests["multi:1"]), "the whole index"
    with tarfile.open(file) as archive:
        members = archive.getnames()
    assert len(members) == len(set(members)), "shared blobs are written once"
    assert ("manifest.json" in members) == (form == "docker-archive")
    again = loaded.path / "again.tar"
    loaded.ok("save", "-q", "--format", form, "-o", again, "busy:1", "registry.example:5000/team/renamed:v2", "multi:1")
    assert file.read_bytes() == again.read_bytes()


def test_all_names_of_an_id(loaded: Pyimage, other: Pyimage) -> None:
    """An image given by its ID is saved without a name, as by docker."""
    short = loaded.ok("ls", "-q", "busy").strip()
    loaded.ok("save", "-q", "-o", loaded.path / "x.tar", short)
    digest = loaded.ok("inspect", "-f", "{{.Digest}}", "busy:1").strip()
    assert other.ok("load", "-q", "-i", loaded.path / "x.tar") == f"{digest}\n"
    assert other.ok("ls", "-q").strip() == short


def test_through_pipes(loaded: Pyimage, other: Pyimage) -> None:
    save = subprocess.Popen([PYIMAGE, "--root", loaded.store, "save", "-q", "busy:1"], stdout=subprocess.PIPE)
    assert other.ok("load", "-q", stdin=save.stdout) == "docker.io/library/busy:1\n"
    assert save.wait() == 0
    assert save.stdout
    save.stdout.close()
    assert other.leftovers() == []


def test_compressed_and_a_directory(loaded: Pyimage, other: Pyimage, layout: Layout) -> None:
    file = loaded.path / "busy.tar"
    loaded.ok("save", "-q", "-o", file, "busy:1")
    packed = loaded.path / "busy.tar.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert other.ok("load", "-q", "-i", packed) == "docker.io/library/busy:1\n"
    with packed.open("rb") as stream:
        assert other.ok("load", "-q", stdin=stream) == "docker.io/library/busy:1\n"
    assert other.ok("load", "-q", "-i", layout[0]).splitlines() == [
        "docker.io/library/busy:1", "docker.io/library/dock:1", "docker.io/library/multi:1"]
    assert other.ok("inspect", f"docker-archive:{packed}") != ""
    assert other.leftovers() == []


def test_one_platform(loaded: Pyimage, other: Pyimage, layout: Layout) -> None:
    digests = layout[1]
    loaded.ok("save", "-q", "--platform", OTHER, "-o", loaded.path / "x.tar", "multi:1")
    assert other.ok("load", "-q", "-i", loaded.path / "x.tar") == "docker.io/library/multi:1\n"
    assert other.ok("inspect", "-f", "{{.Digest}}", "multi:1").strip() == digests[OTHER]
    loaded.ok("save", "-q", "-o", loaded.path / "y.tar", "multi:1")
    other.ok("load", "-q", "--platform", HOST, "-i", loaded.path / "y.tar")
    assert other.ok("inspect", "-f", "{{.Manifest}}", "multi:1").strip() == digests[HOST]


def legacy(path: Path) -> dict[str, str]:
    """An archive of `docker save` before version 25: a directory for each layer, and links for shared layers; name ->
    ID."""
    layers: list[dict[str, Entry]] = [BUSYBOX, SECOND]
    archives = [tar(layer) for layer in layers]
    manifest, repositories, ids = [], {}, {}
    with tarfile.open(path, "w") as archive:
        def add(name: str, data: bytes, link: str = "") -> None:
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = (0, tarfile.SYMTYPE, link) if link else (len(data), tarfile.REGTYPE,
                                                                                          "")
            archive.addfile(info, io.BytesIO(data))
        for number, name in enumerate(("first", "second")):
            config = json.dumps({"os": "linux", "architecture": HOST, "config": {"Cmd": [name]}, "rootfs": {
                "type": "layers", "diff_ids": list(map(digest_of, archives))}}).encode()
            places = [f"{number}{layer}" * 32 + "/layer.tar" for layer in range(2)]
            for layer, place in enumerate(places):
                link = "" if number == 0 else f"../{f'0{layer}' * 32}/layer.tar"
                add(place.replace("layer.tar", "VERSION"), b"1.0")
                add(place, archives[layer], link)
            add(digest_of(config)[7:] + ".json", config)
            ids[name] = digest_of(config)
            manifest.append({"Config": digest_of(config)[7:] + ".json", "RepoTags": [f"{name}:old"], "Layers": places})
            repositories[name] = {"old": places[-1].partition("/")[0]}
        add("manifest.json", json.dumps(manifest).encode())
        add("repositories", json.dumps(repositories).encode())
    return ids


def test_archives_of_the_older_kind(pyimage: Pyimage, tmp_path: Path) -> None:
    ids = legacy(tmp_path / "old.tar")
    assert pyimage.ok("load", "-q", "-i", tmp_path / "old.tar") == (
        "docker.io/library/first:old\ndocker.io/library/second:old\n")
    for name, image in ids.items():
        assert pyimage.ok("inspect", "-f", "{{.Id}} {{.Config.Cmd}}", f"{name}:old") == f"{image} [{name}]\n"
    assert pyimage.ok("verify") == "" and len(list((pyimage.store / "layers").iterdir())) == 2
    assert pyimage.ok("inspect", "-f", "{{.Id}}", f"docker-archive:{tmp_path}/old.tar:second:old").strip() \
        == ids["second"]
    said = pyimage.fails("inspect", f"docker-archive:{tmp_path}/old.tar:third:old")
    assert 'no image "third:old"; it has "first:old", "second:old"' in said, said
    assert "select one" in pyimage.fails("inspect", f"docker-archive:{tmp_path}/old.tar")


def names_in(data: bytes) -> dict[str, tuple[bytes, int, str, int, bytes]]:
    """The members of an archive: type, mode, target, time, content."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {}
        for member in archive:
            file = archive.extractfile(member) if member.isreg() else None
            name = member.name.strip("./")
            if name:   # the root directory is not in every archive
                found[name] = (member.type, 0 if member.issym() else member.mode, member.linkname, int(member.mtime),
                               file.read() if file else b"")
        return found


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_import_and_export(pyimage: Pyimage, tmp_path: Path, compression: str) -> None:
    tree = tar(BUSYBOX)
    (tmp_path / "tree.tar").write_bytes(tree)
    name = pyimage.ok("import", "--compression", compression, "--cmd", "sh", "--env", "X=y", "--label", "a=b",
                      "--workdir", "/tmp", "--created", "2020-01-01T00:00:00Z", "--platform", "linux/arm/v7",
                      "--expose", "80/tcp", "--volume", "/data", "--user", "user", "--entrypoint", "echo",
                      "--stop-signal", "SIGINT", "-m", "of a tree", tmp_path / "tree.tar", "tree:1")
    assert name.startswith("docker.io/library/tree:1@sha256:")
    found = json.loads(pyimage.ok("inspect", "tree:1"))
    assert found["Config"] == {
        "Cmd": ["sh"], "Env": ["X=y"], "Labels": {"a": "b"}, "WorkingDir": "/tmp", "User": "user", "Volumes": {
            "/data": {}}, "ExposedPorts": {"80/tcp": {}}, "Entrypoint": ["echo"], "StopSignal": "SIGINT"}
    assert (found["Platform"], found["Created"]) == ("linux/arm/v7", "2020-01-01T00:00:00Z")
    assert found["RootFS"]["Layers"] == [digest_of(tree)]
    assert found["Layers"][0]["mediaType"].endswith({"gzip": "+gzip", "zstd": "+zstd", "none": ".tar"}[compression])
    pyimage.ok("export", "-o", tmp_path / "back.tar", "tree:1")
    assert names_in((tmp_path / "back.tar").read_bytes()) == names_in(tree)


def test_import_from_a_pipe_and_export_to_one(pyimage: Pyimage, tmp_path: Path) -> None:
    tree = tar(BUSYBOX)
    (tmp_path / "tree.tar.gz").write_bytes(gzip.compress(tree))
    with (tmp_path / "tree.tar.gz").open("rb") as stream:
        pyimage.ok("import", "-", "tree", stdin=stream, env={"SOURCE_DATE_EPOCH": "1"})
    assert json.loads(pyimage.ok("inspect", "tree:latest"))["Created"] == "1970-01-01T00:00:01Z"
    with (tmp_path / "out.tar").open("wb") as file:
        subprocess.run([PYIMAGE, "--root", pyimage.store, "export", "tree"], stdout=file, check=True, timeout=60)
    assert names_in((tmp_path / "out.tar").read_bytes()) == names_in(tree)


def test_export_applies_whiteouts(loaded: Pyimage, tmp_path: Path) -> None:
    loaded.ok("export", "-o", tmp_path / "x.tar", "busy:1")
    found = names_in((tmp_path / "x.tar").read_bytes())
    assert "old" not in found and {"data/kept", "data/more", "etc/passwd", "etc/second"} <= set(found)
    assert not any(".wh." in name for name in found)


@pytest.mark.parametrize(("content", "words"), [
    (b"not an archive at all" * 100, "not a tar archive"),
    (b"", "not a tar archive"),
    (gzip.compress(b"nor this" * 100, mtime=0), "not a tar archive"),
    (gzip.compress(tar(BUSYBOX), mtime=0)[:5000], "x.tar"),
    (tar({"a": b"b"}), "oci-layout"),
    (tar({"manifest.json": b"{"}), "manifest.json"),
    (tar({"manifest.json": b"[1]"}), "expected the name of a member"),
    (tar({"manifest.json": b'[{"Config": "c", "Layers": ["l"]}]'}), 'it has no member "c"'),
    (tar({"manifest.json": b'[{"Config": "c", "Layers": []}]', "c": b"{}"}), "rootfs: is required"),
    (tar({"oci-layout": b"{}", "index.json": b"{}"}), "version"),
    (tar({"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}), 'no "index.json"'),
    (tar({"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": b"[]"}), "index.json"),
])
def test_a_bad_archive_is_refused(pyimage: Pyimage, tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    said = pyimage.fails("load", "-i", tmp_path / "x.tar")
    assert words in said and said.startswith("error: "), said
    assert pyimage.blobs() == set() and pyimage.ok("ls", "-q") == ""


def test_a_bad_tree_is_refused(pyimage: Pyimage, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"not an archive at all" * 100)
    said = pyimage.fails("import", tmp_path / "x.tar", "x")
    assert said.startswith("error: "), said
    assert pyimage.blobs() == set() and pyimage.ok("ls", "-q") == ""
