"""--platform: images for other platforms, and indexes of several."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pyruntime.images.lookup import find
from pyruntime.images.platform import Platform
from pyruntime.images.store.store import Store
from tests.builder.integration.conftest import write
from tests.builder.integration.machines import Machine, builder, fake
from tests.images.integration.registries import FakeRegistry

__all__ = ["builder", "fake"]   # fixtures
BOTH = "linux/amd64,linux/arm64"
TEXT = ("FROM --platform=$BUILDPLATFORM busybox AS made\nRUN true\nARG TARGETARCH\nRUN echo for $TARGETARCH > /file\n"
        "FROM scratch\nARG TARGETPLATFORM\nLABEL platform=$TARGETPLATFORM\nCOPY --from=made /file /file\nCOPY own /\n")


def _context(path: Path) -> Path:
    return write(path / "context", TEXT, {"own": "1"})


def _index(builder: Machine, name: str) -> Any:
    store = Store.open(str(builder.store))
    return json.loads(store.read(find(store, name).root))


def _foreign() -> bytes:
    """A program for arm64 (elf(5)): a header, and an empty page."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, 0x400078, 64, 0, 0, 64, 56, 1,
                                                          64, 0, 0)
    return (head + struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 4096, 4096, 4096)).ljust(4096, b"\0")


@pytest.mark.parametrize("flags", [("--platform", BOTH), ("--platform", "linux/amd64", "--platform", "linux/arm64"),
                                   ("--platform", f"{BOTH},linux/x86_64")])
def test_an_index_of_several_platforms(flags: tuple[str, ...], builder: Machine, tmp_path: Path) -> None:
    done = builder("build", *flags, "-t", "app", "--iidfile", tmp_path / "id", _context(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "[linux/arm64 made 3/3] RUN" in done.stderr
    assert done.stderr.count("CACHED") == 1, "steps that do not depend on the platform run once"
    index = _index(builder, "app")
    assert [entry["platform"] for entry in index["manifests"]] == [
        {"architecture": "amd64", "os": "linux"}, {"architecture": "arm64", "os": "linux"}]
    store = Store.open(str(builder.store))
    for name in ("amd64", "arm64"):
        image = find(store, "app", Platform("linux", name))
        assert image.config.document["architecture"] == name
        assert image.config.config["Labels"] == {"platform": f"linux/{name}"}
        bundle = tmp_path / name
        builder.ok("unpack", "--platform", f"linux/{name}", "--driver", "copy", "app", bundle, "sh", program="pyimage")
        assert (bundle / "rootfs/file").read_text() == f"for {name}\n"
        shutil.rmtree(bundle)
    digest = done.stdout.strip()
    assert digest == (tmp_path / "id").read_text() == find(store, "app").root.digest
    assert builder.ok("inspect", "--format", "{{.Architecture}}", digest) == "amd64"
    builder.ok("rmi", digest)
    assert "app" not in builder.ok("images")


def test_one_platform_is_no_index(builder: Machine, tmp_path: Path) -> None:
    image_id = builder.ok("build", "--platform", "linux/arm64", "-t", "app", _context(tmp_path))
    image = find(Store.open(str(builder.store)), "app")
    assert image.id == image_id and image.root.digest == image.descriptor.digest
    assert image.config.document["architecture"] == "arm64"


def test_an_index_for_other_platforms_is_listed(builder: Machine, tmp_path: Path) -> None:
    context = write(tmp_path / "context", "FROM scratch\nCOPY own /\n", {"own": "1"})
    builder.ok("build", "--platform", "linux/s390x,linux/ppc64le", "-t", "foreign", context)
    done = builder("images", "--no-trunc", "--format", "{{.Repository}} {{.ID}}")
    name, image_id = next(line.split() for line in done.stdout.splitlines() if "foreign" in line)
    assert not done.stderr
    assert builder.ok("inspect", "--platform", "linux/s390x", "-f", "{{.Id}}", "foreign", program="pyimage") == image_id
    builder.ok("rmi", image_id)
    assert name not in builder.ok("images", "--format", "{{.Repository}}")


def test_outputs_of_several_platforms(builder: Machine, tmp_path: Path) -> None:
    context = _context(tmp_path)
    builder.ok("build", "--platform", BOTH, "-o", tmp_path / "out", context)
    assert (tmp_path / "out/linux_amd64/file").read_text() == "for amd64\n"
    assert (tmp_path / "out/linux_arm64/file").read_text() == "for arm64\n"
    builder.ok("build", "--platform", BOTH, "-t", "localhost/app", "-o", f"type=oci,dest={tmp_path}/oci.tar", context)
    listed = subprocess.run(["tar", "-xOf", tmp_path / "oci.tar", "index.json"], capture_output=True, check=True).stdout
    root = json.loads(listed)["manifests"][0]
    assert root["mediaType"] == "application/vnd.oci.image.index.v1+json"
    builder.ok("load", "-i", tmp_path / "oci.tar", program="pyimage")
    assert len(_index(builder, "localhost/app")["manifests"]) == 2
    for kind in ("docker", "tar"):
        said = builder.fails("build", "--platform", BOTH, "-o", f"type={kind},dest={tmp_path}/x", context)
        assert f"type={kind}" in said and not (tmp_path / "x").exists()


def test_an_index_is_pushed_with_all_of_it(builder: Machine, fake: FakeRegistry, tmp_path: Path) -> None:
    name = f"{fake.host}/app"
    builder.ok("build", "--platform", BOTH, "-t", name, "--cache-to", f"{fake.host}/cache", _context(tmp_path))
    builder.ok("push", name, program="pyimage")
    index = json.loads(fake.manifests["app", "latest"][1])
    assert all(("app", entry["digest"]) in fake.manifests for entry in index["manifests"])
    layers = json.loads(fake.manifests["cache", "latest"][1])["layers"]
    assert len(layers) == 3   # one layer for each platform, and one shared layer


def test_an_inline_cache_of_several_platforms(builder: Machine, fake: FakeRegistry, tmp_path: Path) -> None:
    context = _context(tmp_path)
    name = f"{fake.host}/app"
    builder.ok("build", "--platform", BOTH, "-t", name, "--cache-to", "type=inline", context)
    builder.ok("push", name, program="pyimage")
    builder.ok("rmi", name)
    builder.ok("builder", "prune", "--all")
    done = builder("build", "--platform", BOTH, "--cache-from", name, "-t", name, "--cache-to", "type=inline", context)
    assert done.stderr.count("CACHED") == 8, done.stderr


def test_bases_for_each_platform(builder: Machine, fake: FakeRegistry, tmp_path: Path) -> None:
    base = write(tmp_path / "base", "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /base\n", {"amd64": "1",
                                                                                             "arm64": "2"})
    name = f"{fake.host}/base"
    builder.ok("build", "--platform", BOTH, "-t", name, base)
    builder.ok("push", name, program="pyimage")
    builder.ok("rmi", name)
    context = write(tmp_path / "context", f"FROM {name}\nCOPY own /\n", {"own": "1"})
    builder.ok("build", "--platform", BOTH, "-o", tmp_path / "out", context)
    assert [(tmp_path / f"out/linux_{arch}/base").read_text() for arch in ("amd64", "arm64")] == ["1", "2"]
    assert "linux/s390x" in builder.fails("build", "--platform", f"{BOTH},linux/s390x", context)


def test_programs_for_other_platforms(builder: Machine, tmp_path: Path) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("needs an amd64 host")
    if any("aarch64" in name for name in os.listdir("/proc/sys/fs/binfmt_misc")):
        pytest.skip("this kernel runs programs for arm64")
    context = write(tmp_path / "context", "FROM scratch\nCOPY sh /bin/sh\nRUN true\n", {})
    (context / "sh").write_bytes(_foreign())
    (context / "sh").chmod(0o755)
    said = builder.fails("build", "--platform", "linux/arm64", context)
    assert "Dockerfile:3: " in said and "exec format error" in said
    assert "programs for linux/arm64 do not run on this host" in said and "binfmt_misc" in said
    assert "binfmt" not in builder.fails("build", context), "an error of the program, not of the platform"


def test_a_base_for_another_platform_is_refused(builder: Machine, tmp_path: Path) -> None:
    """The local image has no index, and the registry does not answer."""
    builder.ok("tag", "busybox", "localhost:1/base")
    context = write(tmp_path / "context", "FROM localhost:1/base\nENV a=b\n", {})
    said = builder.fails("build", "--retries", "0", "--platform", "linux/s390x", context)
    host = Platform.host()
    assert f'localhost:1/base: there is no image for "linux/s390x"; there is "{host}"' in said and "registry: " in said
    builder.ok("build", "--platform", host, context)
    builder.ok("rmi", "localhost:1/base")
