"""``pyimage ls``, ``inspect``, ``history``, ``tag``, ``rm``, ``prune``, ``verify`` and ``du``: the local store."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.images.integration.command import Pyimage
from tests.images.integration.samples import HOST, OTHER, Json, Samples, blobs_of

Layout = tuple[Path, dict[str, str]]


def identity(pyimage: Pyimage, name: str) -> str:
    """The ID of an image."""
    return pyimage.ok("inspect", "-f", "{{.Id}}", name).strip()


def test_ls(loaded: Pyimage, layout: Layout) -> None:
    loaded.ok("tag", "busy:1", "registry.example:5000/team/busy")
    lines = [line.split() for line in loaded.ok("ls").splitlines()]
    assert lines[0] == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE", "PLATFORM"]
    short = identity(loaded, "busy:1")[7:19]
    assert [line[:3] for line in lines[1:3]] == [["busy", "1", short], ["registry.example:5000/team/busy", "latest",
                                                                       short]]
    assert all(line[-1] == f"linux/{HOST}" and "ago" in line for line in lines[1:])
    assert loaded.ok("ls", "-q").split() == [identity(loaded, name)[7:19] for name in ("busy:1", "dock:1", "multi:1")]
    assert loaded.ok("ls", "-q", "--no-trunc", "busy").split() == [identity(loaded, "busy:1")]
    assert len(loaded.ok("ls", "busy", "dock").splitlines()) == 3, "the two, and the heading"
    assert layout[1]["busy:1"] in loaded.ok("ls", "--digests", "busy")
    found = json.loads(loaded.ok("ls", "--format", "json"))
    assert [entry["Name"] for entry in found] == ["docker.io/library/busy:1", "registry.example:5000/team/busy:latest",
                                                  "docker.io/library/dock:1", "docker.io/library/multi:1"]
    assert found[1]["Repository"] == "registry.example:5000/team/busy" and found[1]["Tag"] == "latest"
    assert loaded.ok("ls", "-f", "{{.Repository}}:{{.Tag}} {{.Digest}}", "multi") == (
        f"docker.io/library/multi:1 {layout[1]['multi:1']}\n")
    assert loaded.ok("ls", "absent").count("\n") == 1
    assert json.loads(loaded.ok("ls", "-f", "json", "absent")) == []


def test_an_unreadable_image_does_not_hide_the_others(loaded: Pyimage, layout: Layout) -> None:
    (loaded.store / "blobs/sha256" / layout[1]["dock:1"][7:]).unlink()
    done = loaded("ls", "-q")
    assert done.returncode == 0 and len(done.stdout.split()) == 2
    assert done.stderr.startswith("warning: ") and layout[1]["dock:1"] in done.stderr
    assert loaded("inspect", "dock:1").returncode == 1


def test_inspect(loaded: Pyimage, layout: Layout) -> None:
    path, digests = layout
    found = json.loads(loaded.ok("inspect", "busy:1"))
    assert found["RepoTags"] == ["docker.io/library/busy:1"] and found["Author"] == "somebody"
    assert found["RepoDigests"] == [f"docker.io/library/busy@{digests['busy:1']}"]
    assert found["Config"]["Cmd"] == ["sh"] and found["Platform"] == f"linux/{HOST}"
    assert loaded.ok("inspect", "--raw", "multi:1").encode() == (path / "blobs/sha256" / digests["multi:1"][7:]
                                                                 ).read_bytes()
    assert json.loads(loaded.ok("inspect", "--platform", OTHER, "multi:1"))["Architecture"] == OTHER
    for said in (found["Id"][:15], found["Id"], found["Id"][7:19], digests["busy:1"], digests["busy:1"][7:13],
                 f"busy@{digests['busy:1']}", f"docker.io/library/busy:1@{digests['busy:1']}"):
        assert identity(loaded, said) == found["Id"], said
    assert loaded.ok("inspect", "-f", "{{json .Config.Env}} {{.Config.Labels}}\\t{{index .Config.Labels \"label\"}}",
                     "busy:1") == '["PATH=/bin","A=b"] map[label:value]\tvalue\n'
    everything = json.loads(loaded.ok("inspect", "busy:1", "dock:1"))
    assert [image["Digest"] for image in everything] == [digests["busy:1"], digests["dock:1"]], "several are a list"


def test_history(loaded: Pyimage) -> None:
    lines = loaded.ok("history", "busy:1").splitlines()
    assert "ENV a=b" in lines[1] and "a comment" in lines[1] and "0B" in lines[1]
    assert "ADD layer 1" in lines[2] and "ADD layer 0" in lines[3] and len(lines) == 4
    rows = json.loads(loaded.ok("history", "-f", "json", "busy:1"))
    layers = json.loads(loaded.ok("inspect", "busy:1"))["Layers"]
    assert [(row["Size"], row["Layer"]) for row in rows] == [
        (0, ""), (layers[1]["size"], layers[1]["digest"]), (layers[0]["size"], layers[0]["digest"])]
    assert loaded.ok("history", "-f", "{{.CreatedBy}}", "busy:1").splitlines()[-1] == "ADD layer 0"


def test_tag(loaded: Pyimage, layout: Layout) -> None:
    loaded.ok("tag", "busy:1", "one", "two:2")
    assert {identity(loaded, name) for name in ("one:latest", "two:2", "busy:1")} == {identity(loaded, "busy:1")}
    loaded.ok("tag", identity(loaded, "dock:1")[7:17], "one")
    assert identity(loaded, "one") == identity(loaded, "dock:1"), "a name moves"
    assert "cannot have a digest" in loaded.fails("tag", "busy:1", f"x@{layout[1]['busy:1']}")
    assert 'no such image: "absent"' in loaded.fails("tag", "absent", "x")
    assert "must be lower case" in loaded.fails("tag", "busy:1", "Upper")


def test_rm_by_name(loaded: Pyimage, layout: Layout) -> None:
    path, digests = layout
    loaded.ok("tag", "busy:1", "again:1")
    assert loaded.ok("rm", "busy:1") == "untagged: docker.io/library/busy:1\n", "the other name keeps the blobs"
    gone = loaded.ok("rm", "again:1", "dock:1")
    assert f"deleted: blob {digests['busy:1']}\n" in gone and f"deleted: blob {digests['dock:1']}\n" in gone
    assert loaded.blobs() == blobs_of(path, digests["multi:1"])
    assert loaded.ok("verify") == ""
    done = loaded("rm", "absent:1", "multi:1")
    assert done.returncode == 1 and "absent:1" in done.stderr and loaded.blobs() == set(), "the others are removed"
    assert loaded("rm", "-f", "absent:1").returncode == 0


def test_rm_by_id_and_digest(loaded: Pyimage, layout: Layout) -> None:
    short = identity(loaded, "busy:1")[7:19]
    loaded.ok("tag", "busy:1", "again:1")
    said = loaded.fails("rm", short)
    assert "has 2 names: docker.io/library/again:1, docker.io/library/busy:1" in said and "--force" in said
    assert loaded.ok("rm", "-f", "--no-prune", short) == (
        "untagged: docker.io/library/again:1\nuntagged: docker.io/library/busy:1\n")
    assert layout[1]["busy:1"] in loaded.blobs()
    loaded.ok("rm", layout[1]["dock:1"])
    assert "is one image of an index" in loaded.fails("rm", f"multi@{layout[1][OTHER]}")
    loaded.ok("rm", f"multi@{layout[1]['multi:1']}")
    assert loaded.ok("ls", "-q") == "" and loaded.blobs() == set()


def test_an_id_of_several(pyimage: Pyimage, tmp_path: Path) -> None:
    """The first digits of two IDs are ambiguous, and refused."""
    (tmp_path / "layout").mkdir()
    made = Samples(tmp_path / "layout")
    seen: dict[str, Json] = {}
    digits = ""
    while not digits:   # two images whose IDs begin with the same four digits: after 300 or so
        image = made.image({"x": b"x"}, Env=[f"N={len(seen)}"])
        found = made.document(image["digest"])["config"]["digest"][7:11]
        if found in seen:
            digits = found
            made.name(seen[found], "first:1")
            made.name(image, "second:1")
        seen[found] = image
    pyimage.ok("load", "-q", "-i", made.path)
    for command in ("inspect", "rm", "history"):
        said = pyimage.fails(command, digits)
        assert f'"{digits}" is ambiguous: write more digits' in said, said
    pyimage.ok("rm", identity(pyimage, "first:1")[7:17])
    assert identity(pyimage, digits) == identity(pyimage, "second:1")


def test_in_use(loaded: Pyimage, layout: Layout) -> None:
    bundle = loaded.path / "bundle"
    loaded.ok("unpack", "multi:1", bundle)
    said = loaded.fails("rm", "multi:1")
    assert f'is used by the bundle "{bundle}"' in said and "--force" in said
    loaded.ok("tag", "multi:1", "other:1")
    assert loaded.ok("rm", "other:1") == "untagged: docker.io/library/other:1\n", "one of several names can be removed"
    loaded.ok("rm", "-f", "multi:1")
    assert (bundle / "rootfs/bin/busybox").exists() and loaded.ok("verify") == "", "its layers stay"
    loaded.ok("umount", "-r", bundle)
    loaded.ok("prune")
    assert loaded.blobs() == blobs_of(layout[0], layout[1]["busy:1"]) | blobs_of(layout[0], layout[1]["dock:1"])


def test_prune(loaded: Pyimage, layout: Layout) -> None:
    path, digests = layout
    loaded.ok("rm", "--no-prune", "dock:1")
    before = loaded.blobs()
    told = loaded.ok("prune", "-n")
    assert "deleted:" not in told and f"would delete: blob {digests['dock:1']}\n" in told
    assert loaded.blobs() == before
    counted = json.loads(loaded.ok("prune", "-n", "-f", "json"))
    assert digests["dock:1"] in [entry["Name"] for entry in counted["blobs"]] and counted["Size"] > 0
    assert f"deleted: blob {digests['dock:1']}\n" in loaded.ok("prune") and loaded.blobs() < before
    assert loaded.ok("prune") == "freed: 0B\n"
    loaded.ok("unpack", "busy:1", loaded.path / "bundle")
    told = loaded.ok("prune", "-a", "-n")
    assert "would untag: docker.io/library/multi:1\n" in told and "busy" not in told
    assert loaded.ok("ls", "-q").count("\n") == 2
    assert f"would delete: blob {digests['multi:1']}\n" in told, "and the blobs that only that name uses"
    told = loaded.ok("prune", "--all")
    assert "untagged: docker.io/library/multi:1\n" in told
    assert loaded.ok("ls", "-f", "{{.Name}}") == "docker.io/library/busy:1\n"
    assert loaded.blobs() == blobs_of(path, digests["busy:1"])
    assert json.loads(loaded.ok("prune", "-a", "-f", "json"))["Size"] == 0


def test_prune_of_unfinished_downloads(loaded: Pyimage) -> None:
    partial = loaded.store / "ingest" / f"sha256-{'a' * 64}"
    partial.write_bytes(b"half")
    assert loaded.ok("prune") == "freed: 0B\n" and partial.exists(), "the download may be resumed"
    os.utime(partial, (1_000_000_000, 1_000_000_000))
    assert "deleted: download" in loaded.ok("prune") and not partial.exists()
    partial.write_bytes(b"half")
    assert "deleted: download" in loaded.ok("prune", "--partial") and not partial.exists()


def test_verify_finds_damage(loaded: Pyimage, layout: Layout) -> None:
    assert loaded.ok("verify") == ""
    layer = json.loads(loaded.ok("inspect", "busy:1"))["Layers"][1]["digest"]
    blob = loaded.store / "blobs/sha256" / layer[7:]
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.chmod(0o600)
    blob.write_bytes(content)
    done = loaded("verify")
    assert done.returncode == 1 and layer[7:] in done.stdout and len(done.stdout.splitlines()) == 1
    assert "remove it, and pull" in done.stdout
    assert loaded.ok("verify", "--quick") == "", "which does not read contents"
    blob.unlink()
    assert layer in loaded("verify", "--quick").stdout
    loaded.ok("load", "-q", "-i", layout[0])
    assert loaded.ok("verify") == "", "the remedy works"
    tree = next((loaded.store / "layers").glob("*/fs/etc/second"))
    tree.unlink()
    done = loaded("verify", "--quick")
    assert done.returncode == 1 and tree.parts[-4] in done.stdout and "was changed" in done.stdout


def test_du(loaded: Pyimage) -> None:
    found = json.loads(loaded.ok("du", "-f", "json"))
    assert found["Blobs"] == sum(path.stat().st_size for path in (loaded.store / "blobs/sha256").iterdir())
    by_name = {image["Name"]: image for image in found["Images"]}
    busy = by_name["docker.io/library/busy:1"]
    assert 0 < busy["UniqueBlobs"] < busy["Blobs"] and busy["UniqueLayers"] == 0 < busy["Layers"]
    assert found["Unused"] == 0 and found["Bundles"] == []
    table = loaded.ok("du")
    assert "docker.io/library/busy:1" in table and "bundles: 0" in table
    assert loaded.ok("du", "-f", "{{.Partial}}") == "0\n"
