"""Written documents are valid by the schemas of spec/image/: new images, layouts, archives."""

from __future__ import annotations

import json
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from tests.conftest import TOP
from tests.images.integration.command import Pyimage
from tests.images.integration.samples import BUSYBOX, tar


@cache
def validator(name: str) -> Draft202012Validator:
    """The validator of spec/image/NAME.json."""
    found = {path.name: Resource.from_contents(json.loads(path.read_text()))
             for path in (TOP / "spec/image").glob("*.json")}
    registry: Registry[Any] = Registry().with_resources(found.items())
    return Draft202012Validator({"$ref": f"{name}.json"}, registry=registry)


def check(name: str, raw: str) -> None:
    """Fail with all errors of the schema."""
    assert [error.message for error in validator(name).iter_errors(json.loads(raw))] == []


@pytest.fixture
def made(pyimage: Pyimage) -> Pyimage:
    """A store with a new image, and two on top of it."""
    (pyimage.path / "tree.tar").write_bytes(tar(BUSYBOX))
    pyimage.ok("import", pyimage.path / "tree.tar", "ours:1", "--cmd", "sh", "--label", "a=b", "--expose", "80/tcp",
               "--volume", "/v", "--platform", "linux/amd64/v2", "-m", "why")
    bundle = pyimage.path / "bundle"
    pyimage.ok("unpack", "--platform", "linux/amd64/v2", "ours:1", bundle)
    pyimage.ok("repack", bundle, "ours:2", "--author", "me", "--env", "A=b")
    (bundle / "rootfs/new").touch()
    pyimage.ok("repack", bundle, "ours:3", "-m", "more", "--compression", "zstd")
    return pyimage


def test_images(made: Pyimage) -> None:
    for name in ("ours:1", "ours:2", "ours:3"):
        check("manifest", made.ok("inspect", "--raw", name))
        check("config", made.ok("inspect", "--raw", "--config", name))


def test_images_of_docker(loaded: Pyimage) -> None:
    """On top of Docker's documents, new documents have Docker's format."""
    loaded.ok("unpack", "dock:1", loaded.path / "bundle")
    (loaded.path / "bundle/rootfs/new").touch()
    loaded.ok("repack", loaded.path / "bundle", "dock:2")
    check("manifest", loaded.ok("inspect", "--raw", "dock:2"))
    found = json.loads(loaded.ok("inspect", "--raw", "dock:2"))
    assert all("vnd.docker." in text for text in (found["mediaType"], found["config"]["mediaType"],
                                                  found["layers"][-1]["mediaType"]))


def test_a_layout(made: Pyimage, tmp_path: Path) -> None:
    made.ok("copy", "-q", "ours:1", f"oci:{tmp_path}/layout:one")
    made.ok("copy", "-q", "ours:3", f"oci:{tmp_path}/layout:three")
    check("layout", (tmp_path / "layout/oci-layout").read_text())
    check("index", (tmp_path / "layout/index.json").read_text())


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_archives(made: Pyimage, tmp_path: Path, form: str) -> None:
    made.ok("save", "-q", "--format", form, "-o", tmp_path / "x.tar", "ours:1", "ours:3")
    with tarfile.open(tmp_path / "x.tar") as archive:
        for member, name in (("oci-layout", "layout"), ("index.json", "index")):
            file = archive.extractfile(member)
            assert file
            check(name, file.read().decode())
