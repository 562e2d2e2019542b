"""``ImageStore`` and ``Builder``: images as a library."""

from __future__ import annotations

from pathlib import Path

import pytest

import pyruntime
from pyruntime.builder.api import Builder
from pyruntime.builder.progress import BuildProgress
from pyruntime.builder.request import BuildRequest, BuildResult, Output
from pyruntime.errors import ImageError, NoSuchImage, UsageError
from pyruntime.images.api import ImageStore
from pyruntime.networks.directories import open_site
from tests.images.integration.registries import FakeRegistry


@pytest.fixture
def images(tmp_path: Path, layout: tuple[Path, dict[str, str]]) -> ImageStore:
    store = ImageStore(tmp_path / "store")
    store.copy(f"oci:{layout[0]}:busy:1", "busy:1")
    return store


def test_the_package_has_it() -> None:
    assert pyruntime.ImageStore is ImageStore and "ImageStore" in pyruntime.__all__


def test_names_and_removal(images: ImageStore, tmp_path: Path) -> None:
    images.tag("busy:1", "team/app:2")
    (image,) = images.images()
    assert image.names == ["docker.io/library/busy:1", "docker.io/team/app:2"]
    assert images.find("team/app:2").id == image.id
    with pytest.raises(UsageError, match="a tag cannot have a digest"):
        images.tag("busy:1", f"x@{image.root.digest}")
    with pytest.raises(ImageError, match="has 2 names"):
        images.remove(image.id)
    assert images.remove("busy:1") == ["docker.io/library/busy:1"]
    assert images.remove(image.id) == ["docker.io/team/app:2"]
    with pytest.raises(NoSuchImage):
        images.find("busy:1")
    images.prune(everything=True)
    assert images.images() == []


def test_archives_and_bundles(images: ImageStore, tmp_path: Path) -> None:
    images.save(["busy:1"], str(tmp_path / "busy.tar"))
    other = ImageStore(tmp_path / "other")
    loaded: list[str] = []
    other.load(str(tmp_path / "busy.tar"), loaded=lambda names, copied: loaded.extend(names))
    assert loaded == ["docker.io/library/busy:1"] and other.find("busy:1").id == images.find("busy:1").id
    assert other.unpack("busy:1", tmp_path / "bundle", args=["true"], driver="copy") == "copy"
    assert (tmp_path / "bundle/config.json").exists()
    other.unmount(tmp_path / "bundle", remove=True)
    assert not (tmp_path / "bundle").exists()


def test_push_and_pull(images: ImageStore, fake: FakeRegistry) -> None:
    digest = images.push("busy:1", f"{fake.host}/app:1")
    pulled = images.pull(f"{fake.host}/app:1")
    assert (pulled.digest, pulled.name, pulled.is_new) == (digest, f"{fake.host}/app:1", True)
    assert not images.pull(f"{fake.host}/app:1").is_new
    assert images.repository_tags(f"{fake.host}/app") == (f"{fake.host}/app", ["1"])


class Recorded(BuildProgress):
    def __init__(self) -> None:
        self.events: list[str] = []

    def begin(self, number: int, title: str) -> None:
        self.events.append(title)

    def end(self, number: int, outcome: str) -> None:
        self.events.append(outcome)


def test_a_build(images: ImageStore, tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    (tmp_path / "context/Dockerfile").write_text("FROM scratch\nARG A\nLABEL a=$A\nCOPY f /\n")
    (tmp_path / "context/f").write_text("content")
    request = BuildRequest(str(tmp_path / "context"))
    request.tags = ["built"]
    request.arguments = {"A": "1"}
    request.outputs = [Output("image", ""), Output("local", str(tmp_path / "out"))]
    builder = Builder(images, open_site(str(tmp_path / "root"), str(tmp_path / "run"), lambda pid: None))
    progress, delivered = Recorded(), list[BuildResult]()
    result = builder.build(request, progress, delivered=delivered.append)
    assert delivered == [result] and result.names == ["docker.io/library/built:latest"] and result.warnings == []
    assert images.find("built").id == result.image_id and images.find("built").config.config["Labels"] == {"a": "1"}
    assert (tmp_path / "out/f").read_text() == "content"
    assert progress.events[-1] == "done" and "COPY f /" in progress.events[-2]
    assert builder.check(request) == []


@pytest.mark.parametrize(("name", "value", "message"), [
    ("compression", "lzma", "compression"), ("allow", frozenset({"all"}), "entitlement"),
    ("epoch", -1, "SOURCE_DATE_EPOCH"), ("push", True, "a push needs a name")])
def test_invalid_requests(name: str, value: object, message: str) -> None:
    request = BuildRequest()
    setattr(request, name, value)
    with pytest.raises(UsageError, match=message) as error:
        request.check()
    assert "--" not in str(error.value)
