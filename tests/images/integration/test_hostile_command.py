"""Hostile images through the whole command: refused with one clear message, and an unchanged store."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bundles.images import Layout
from pyruntime.images.layers.compression import Inflater
from tests.images.integration.command import Pyimage
from tests.images.integration.hostile import CASES, LIMITS, OUTSIDE, Case

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def content(path: Path) -> dict[str, Any]:
    """The content of a store, except its lock and its leases, which each command creates."""
    found: dict[str, Any] = {}
    for directory, names, files in os.walk(path):
        for name in names + files:
            place = Path(directory, name)
            status = place.lstat()
            found[str(place.relative_to(path))] = (status.st_mode, status.st_size, status.st_nlink)
    return {name: value for name, value in found.items() if not name.startswith(("lock", "leases"))}


def diff_id(layer: bytes) -> str:
    """The digest of the decompressed layer; for a broken one any digest, because the layer is refused before it
    matters."""
    digest, rest = hashlib.sha256(), [layer]
    try:
        inflater = Inflater(lambda _count: rest.pop() if rest else b"", 1 << 30)
        while data := inflater.read():
            digest.update(data)
    except Exception:   # a broken archive is what the test is about
        return "sha256:" + "0" * 64
    return f"sha256:{digest.hexdigest()}"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Pyimage:
    """A store with a good image, and a canary outside of it."""
    pyimage = Pyimage(tmp_path_factory.mktemp("hostile"))
    (pyimage.path / "tree").mkdir()
    (pyimage.path / "tree/file").write_text("good")
    layout = Layout(pyimage.path / "good")
    layout.image("example.org/good:1", [layout.layer(pyimage.path / "tree")], Cmd=["x"])
    pyimage.ok("load", "-i", layout.path)
    return pyimage


@pytest.fixture
def outside() -> Iterator[Path]:
    OUTSIDE.mkdir()
    (OUTSIDE / "canary").write_text("alive")
    yield OUTSIDE
    shutil.rmtree(OUTSIDE)


def layout_of(path: Path, layer: bytes) -> Path:
    """A layout with an image of one layer, whatever its bytes."""
    layout = Layout(path)
    described = layout.blob(layer, "application/vnd.oci.image.layer.v1.tar+gzip")
    layout.image("example.org/hostile:1", [(described, diff_id(layer))], Cmd=["x"])
    return path


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_a_hostile_layer(case: Case, store: Pyimage, outside: Path, tmp_path: Path) -> None:
    layout = layout_of(tmp_path / "layout", case.layer())
    before, seen = content(store.store), content(outside)
    done = store("load", "--max-size", str(LIMITS[0]), "--max-entries", str(LIMITS[1]), "-i", layout)
    assert content(outside) == seen and (outside / "canary").read_text() == "alive"
    if case.refused is None:
        assert done.returncode == 0, done.stderr
        assert store("verify").stdout == ""
        store.ok("rm", "example.org/hostile:1")
    else:
        assert done.returncode == 1 and case.refused in done.stderr, done.stderr
        assert done.stderr.splitlines()[-1].startswith("error: ") and done.stdout == ""
    assert content(store.store) == before, "the store has changed"


def edited(path: Path, layout: Path, change: Any) -> None:
    """Change a layout's documents: ``change`` takes and returns (manifest, config); digests are corrected."""
    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads((layout / "blobs/sha256" / index["manifests"][0]["digest"][7:]).read_text())
    config = json.loads((layout / "blobs/sha256" / manifest["config"]["digest"][7:]).read_text())
    made = Layout(path)
    shutil.copytree(layout / "blobs", path / "blobs", dirs_exist_ok=True)
    manifest["config"] |= made.blob(json.dumps(config).encode(), manifest["config"]["mediaType"])
    new_manifest, new_config = change(manifest, config)
    if new_config is not None:
        new_manifest["config"] = made.blob(json.dumps(new_config).encode(), manifest["config"]["mediaType"])
    descriptor = made.blob(json.dumps(new_manifest).encode(), MANIFEST)
    descriptor["annotations"] = {"org.opencontainers.image.ref.name": "example.org/hostile:1"}
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [descriptor]}))


def _layer(**changes: Any) -> Any:
    return lambda manifest, _config: ({**manifest, "layers": [{**manifest["layers"][0], **changes}]}, None)


DOCUMENTS = {
    "wrong-digest": (_layer(digest="sha256:" + "1" * 64), "No such file or directory"),
    "digest-is-a-path": (_layer(digest="sha256:../../../../etc/passwd"), "is not a digest"),
    "digest-unknown": (_layer(digest="blake3:" + "a" * 64), "unknown algorithm"),
    "size-too-small": (_layer(size=3), "its descriptor says 3"),
    "size-too-large": (_layer(size=1 << 40), "its descriptor says"),
    "size-negative": (_layer(size=-1), "is not a size"),
    "layers-missing": (lambda manifest, _: ({**manifest, "layers": []}, None), "but the manifest has 0 layers"),
    "layers-many": (lambda manifest, _: ({**manifest, "layers": manifest["layers"] * 501}, None), "501 layers"),
    "diffid-wrong": (lambda manifest, config: (manifest, {**config, "rootfs": {
        "type": "layers", "diff_ids": ["sha256:" + "2" * 64]}}), "2222"),
    "diffid-is-a-path": (lambda manifest, config: (manifest, {**config, "rootfs": {
        "type": "layers", "diff_ids": ["../../etc"]}}), "is not a digest"),
    "rootfs-null": (lambda manifest, config: (manifest, {**config, "rootfs": None}), "rootfs: is required"),
    "ambiguous": (lambda manifest, _: ({**manifest, "manifests": []}, None), "ambiguous"),
    "other-type": (lambda manifest, _: ({**manifest, "mediaType": "application/vnd.oci.image.index.v1+json"}, None),
                   "does not match the announced type"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_hostile_documents(name: str, store: Pyimage, tmp_path: Path) -> None:
    change, refused = DOCUMENTS[name]
    edited(tmp_path / "layout", store.path / "good", change)
    before = content(store.store)
    done = store("load", "-i", tmp_path / "layout")
    assert done.returncode == 1 and refused in done.stderr, done.stderr
    assert content(store.store) == before


def test_a_flipped_bit_in_transit(store: Pyimage, tmp_path: Path) -> None:
    path = tmp_path / "layout"
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/other").write_text("other")
    layout = Layout(path)
    layer = layout.layer(tmp_path / "tree")
    layout.image("example.org/hostile:1", [layer], Cmd=["x"])
    blob = path / "blobs/sha256" / layer[0]["digest"][7:]
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
    before = content(store.store)
    done = store("load", "-i", path)
    assert done.returncode == 1 and "does not match its digest" in done.stderr
    assert content(store.store) == before


def test_a_truncated_compressed_archive(store: Pyimage, tmp_path: Path) -> None:
    whole = zlib.compress(b"x" * 10000, wbits=31)
    (tmp_path / "cut.tar.gz").write_bytes(whole[:-10])
    done = store("load", "-i", tmp_path / "cut.tar.gz")
    assert done.returncode == 1 and "cut.tar.gz" in done.stderr, done.stderr
    assert not os.listdir(store.store / "work")
