"""Docker's options of ``build`` for resource limits, annotations and outputs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pyruntime.runtime.cgroups.host import discover
from tests.builder.integration.conftest import write
from tests.builder.integration.machines import Machine, builder, fake
from tests.images.integration.registries import FakeRegistry

__all__ = ["builder", "fake"]   # fixtures
B = "FROM busybox\n"


def _manifest(builder: Machine, name: str) -> dict[str, object]:
    digest = builder.ok("image", "inspect", "-f", "{{.Manifest}}", name)
    value = json.loads((builder.store / "blobs/sha256" / digest[7:]).read_text())
    assert isinstance(value, dict)
    return value


def test_resource_limits_of_run(builder: Machine, tmp_path: Path) -> None:
    text = B + ("RUN df -k /dev/shm | tail -1 | awk '{print $2}' >/shm; ulimit -n >/files;"
                " cat /proc/self/cgroup >/group\n")
    context, group = write(tmp_path / "context", text, {}), f"pocker-builds-{os.getpid()}"
    builder.ok("build", "-t", "app", "--network", "none", "--shm-size", "8m", "--ulimit", "nofile=123:456",
               "--cgroup-parent", f"/{group}", context)
    run = ("run", "--rm", "--network", "none", "app", "cat")
    assert builder.ok(*run, "/shm", "/files").split() == [str(8 << 10), "123"]
    assert f"/{group}/" in builder.ok(*run, "/group")
    for hierarchy in discover().all():
        path = Path(hierarchy.mountpoint, group)
        if path.exists():
            path.rmdir()
    for words, said in ((("--shm-size", "x"), "--shm-size"), (("--ulimit", "x=1"), "--ulimit"),
                        (("--cgroup-parent", "a.slice"), "--cgroup-parent")):
        assert said in builder.fails("build", *words, context)


def test_annotations(builder: Machine, tmp_path: Path) -> None:
    context = write(tmp_path / "context", B + "COPY Dockerfile /\n", {})
    builder.ok("build", "-t", "one", "--annotation", "a=1", "--annotation", "manifest:b=x=y", context)
    assert _manifest(builder, "one")["annotations"] == {"a": "1", "b": "x=y"}
    builder.ok("build", "-t", "two", context)
    assert "annotations" not in _manifest(builder, "two")
    bare = write(tmp_path / "bare", "FROM scratch\nCOPY . /\n", {})
    builder.ok("build", "-t", "both", "--platform", "linux/amd64,linux/arm64", "--annotation", "index:c=1",
               "--annotation", "manifest,manifest-descriptor:d=2", bare)
    digest = builder.ok("image", "inspect", "-f", "{{.Digest}}", "both")
    index = json.loads((builder.store / "blobs/sha256" / digest[7:]).read_text())
    assert index["annotations"] == {"c": "1"}
    assert all(entry["annotations"] == {"d": "2"} for entry in index["manifests"])
    assert _manifest(builder, "both")["annotations"] == {"d": "2"}
    for wrong in ("a", "=1", "nosuch:a=1"):
        assert "--annotation" in builder.fails("build", "--annotation", wrong, context)


def test_metadata(builder: Machine, tmp_path: Path) -> None:
    context = write(tmp_path / "context", B + "ENV A=b\n", {})
    image = builder.ok("build", "-q", "-t", "app", "-t", "app:2", "--metadata-file", tmp_path / "metadata", context)
    found = json.loads((tmp_path / "metadata").read_text())
    assert found["containerimage.config.digest"] == image
    assert found["containerimage.digest"] == found["containerimage.descriptor"]["digest"]
    assert found["containerimage.digest"] == builder.ok("image", "inspect", "-f", "{{.Digest}}", "app")
    assert found["image.name"] == "docker.io/library/app:latest,docker.io/library/app:2"
    assert "--metadata-file" in builder.fails("build", "-q", "--metadata-file", "/nosuch/file", context)


@pytest.mark.parametrize("words", ["--push", "-o type=registry", "-o type=image,push=true"])
def test_a_build_that_pushes(builder: Machine, fake: FakeRegistry, tmp_path: Path, words: str) -> None:
    context = write(tmp_path / "context", B + "COPY Dockerfile /\n", {})
    builder.ok("build", "-t", f"{fake.host}/app:1", "-t", f"{fake.host}/app:2", *words.split(), context)
    assert ("app", "1") in fake.manifests and ("app", "2") in fake.manifests
    assert builder.ok("images", "-q", f"{fake.host}/app:1"), "and the image is in the store"
    assert "a push needs a name" in builder.fails("build", *words.split(), context)


def test_image_outputs(builder: Machine, tmp_path: Path) -> None:
    context = write(tmp_path / "context", B + "COPY Dockerfile /\n", {})
    for words, stored in ((("-o", tmp_path / "out"), False), (("-o", tmp_path / "out", "--load"), True),
                          (("--load",), True), (("-o", "type=docker"), True), (("-o", "type=image"), True),
                          (("-o", f"type=docker,dest={tmp_path}/image.tar"), False)):
        builder.ok("build", "-t", "app", *words, context)
        assert bool(builder.ok("images", "-q", "app")) == stored, words
        if stored:
            builder.ok("rmi", "app")


@pytest.mark.parametrize("words", ["--check", "--call check", "--call=check"])
def test_check(builder: Machine, tmp_path: Path, words: str) -> None:
    good = write(tmp_path / "good", B + "RUN exit 9\n", {})
    assert builder.ok("build", *words.split(), good) == "Check complete, no warnings found."
    bad = write(tmp_path / "bad", B + "MAINTAINER me\n", {})
    done = builder("build", *words.split(), bad)
    assert done.returncode == 1 and "MAINTAINER" in done.stderr, done
    assert done.stdout == "Check complete, 1 warning found.\n"
    assert builder.ok("images", "-q").count("\n") == 0, "nothing was built"
    assert "--call" in builder.fails("build", "--call", "outline", good)


def test_options_without_effect(builder: Machine, tmp_path: Path) -> None:
    context = write(tmp_path / "context", B, {})
    quiet = builder("build", "-q", "--rm", "--force-rm", "--rm=false", "--compress", "--builder", "default",
                    "--disable-content-trust", "--provenance=false", "--sbom=false", "--attest",
                    "type=provenance,disabled=true", context)
    assert (quiet.returncode, quiet.stderr) == (0, "")
    for words in ("--provenance=true", "--provenance mode=max", "--sbom true", "--attest type=sbom"):
        done = builder("build", "-q", *words.split(), context)
        assert done.returncode == 0 and "attestations are not supported" in done.stderr
