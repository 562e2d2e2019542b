"""Manifests, indexes and configurations: valid ones are read, invalid ones refused with the place."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pyruntime.errors import ConfigError, DigestError, ImageError, PyruntimeError
from pyruntime.images import digest, media
from pyruntime.images.document import parse_config, parse_manifest

SHA = "sha256:" + "a" * 64
LAYER = {"mediaType": media.OCI_LAYER + "+gzip", "digest": SHA, "size": 5}
MANIFEST = {"schemaVersion": 2, "mediaType": media.OCI_MANIFEST,
            "config": {"mediaType": media.OCI_CONFIG, "digest": SHA, "size": 3}, "layers": [LAYER, LAYER]}
CONFIG = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [SHA, SHA]}}


def changed(document: dict[str, Any], path: str, value: object) -> bytes:
    copy = json.loads(json.dumps(document))
    place = copy
    *parents, last = path.split("/")
    for parent in parents:
        place = place[int(parent)] if isinstance(place, list) else place[parent]
    if value is None:
        del place[last]
    else:
        place[int(last) if isinstance(place, list) else last] = value
    return json.dumps(copy).encode()


def test_a_manifest_is_read() -> None:
    raw = json.dumps(MANIFEST).encode()
    manifest = parse_manifest(raw, media.OCI_MANIFEST)
    assert manifest.raw == raw and not manifest.is_index and manifest.config is not None
    assert [layer.size for layer in manifest.layers] == [5, 5] and manifest.config.size == 3
    assert len(manifest.references()) == 3


def test_an_index_is_read_with_its_platforms() -> None:
    raw = json.dumps({"schemaVersion": 2, "manifests": [{
        "mediaType": media.OCI_MANIFEST, "digest": SHA, "size": 7, "platform": {"os": "linux", "architecture": "arm64"},
        "annotations": {"a": "b"}}]}).encode()
    index = parse_manifest(raw, media.OCI_INDEX)
    assert index.is_index and index.manifests[0].platform["architecture"] == "arm64"
    assert index.manifests[0].annotations == {"a": "b"}
    assert parse_manifest(raw, "application/json").is_index, "without a type of the registry, the content decides"


@pytest.mark.parametrize(("path", "value", "text"), [
    ("schemaVersion", 3, "schemaVersion: expected 2, got 3"),
    ("config", None, "config: expected a descriptor"),
    ("config/digest", "sha256:abc", 'config.digest: "sha256:abc" is not a digest'),
    ("config/size", -1, "config.size: -1 is not a size"),
    ("config/size", True, "config.size: expected a number, got True"),
    ("config/size", 1 << 63, "is not a size"),
    ("layers", None, "layers: is required"),
    ("layers", {}, "layers: expected a list"),
    ("layers/0", "x", "layers[0]: expected a descriptor, got 'x'"),
    ("layers/0/mediaType", None, "layers[0].mediaType: is required"),
    ("layers/0/digest", "sha256:" + "A" * 64, "layers[0].digest"),
    ("layers/1/urls", "x", "layers[1].urls: expected a list"),
    ("layers", [LAYER] * 501, "501 layers; overlayfs takes at most 500"),
    ("annotations", [], "annotations: expected an object"),
    ("manifests", [], "ambiguous"),
    ("mediaType", media.OCI_INDEX, "does not match the announced type"),
])
def test_a_wrong_manifest_names_the_place(path: str, value: object, text: str) -> None:
    with pytest.raises(PyruntimeError) as caught:
        parse_manifest(changed(MANIFEST, path, value), media.OCI_MANIFEST, "image x")
    assert text in str(caught.value) and "image x" in str(caught.value)


def test_all_problems_are_reported_at_once() -> None:
    raw = changed(json.loads(changed(MANIFEST, "config/size", -1)), "layers/1/digest", 5)
    with pytest.raises(ConfigError) as caught:
        parse_manifest(raw, media.OCI_MANIFEST)
    assert [problem.where for problem in caught.value.problems] == ["config.size", "layers[1].digest"]


def test_an_ambiguous_index_is_refused() -> None:
    raw = json.dumps({"schemaVersion": 2, "manifests": [], "layers": []}).encode()
    with pytest.raises(ConfigError, match="layers: must not be in a document of type"):
        parse_manifest(raw, media.OCI_INDEX)


def test_schema_1_says_what_to_do() -> None:
    raw = json.dumps({"schemaVersion": 1, "fsLayers": []}).encode()
    with pytest.raises(ImageError, match=r"schema 1.*push the image again"):
        parse_manifest(raw, media.SCHEMA_1[1])


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff", b'{"a": 1, "a": 2}', b"null", b"{}" + b" " * (4 << 20)])
def test_invalid_documents_are_refused(raw: bytes) -> None:
    with pytest.raises(PyruntimeError):
        parse_manifest(raw, media.OCI_MANIFEST)


@pytest.mark.parametrize(("path", "value", "text"), [
    ("rootfs", None, "rootfs: is required"),
    ("rootfs/type", "tree", 'rootfs.type: expected "layers"'),
    ("rootfs/diff_ids", [SHA], "1 diff_ids, but the manifest has 2 layers"),
    ("rootfs/diff_ids", [SHA, "x"], "rootfs.diff_ids[1]"),
    ("config", {"Env": "A=b"}, "config.Env: expected a list"),
    ("config", {"Env": [1]}, "config.Env[0]: expected a string"),
    ("config", {"Healthcheck": {"Interval": "5s"}}, "config.Healthcheck.Interval: expected a number"),
    ("config", {"Healthcheck": {"Test": "true"}}, "config.Healthcheck.Test: expected a list"),
    ("config", {"Shell": "sh"}, "config.Shell: expected a list"),
    ("config", {"Labels": {"a": 1}}, "config.Labels[a]: expected a string"),
    ("config", {"User": 0}, "config.User: expected a string"),
    ("history", [1], "history[0]: expected an object"),
])
def test_a_wrong_configuration_names_the_place(path: str, value: object, text: str) -> None:
    manifest = parse_manifest(json.dumps(MANIFEST).encode(), media.OCI_MANIFEST)
    with pytest.raises(ConfigError) as caught:
        parse_config(changed(CONFIG, path, value), manifest)
    assert text in str(caught.value)


def test_a_configuration_tolerates_null() -> None:
    manifest = parse_manifest(json.dumps(MANIFEST).encode(), media.OCI_MANIFEST)
    raw = changed(CONFIG, "config", {"Cmd": "x"}).replace(b'"x"', b"null")
    assert parse_config(raw, manifest).config == {"Cmd": None}


@pytest.mark.parametrize(("text", "good"), [
    (SHA, True), ("sha512:" + "0" * 128, True), ("blake3:aa", True), ("multihash+base58:QmRZ", True),
    ("sha256:" + "a" * 63, False), ("sha256:" + "g" * 64, False), ("sha256", False), (":aa", False), ("a..b:cc", False),
    ("sha256:", False), ("SHA256:" + "a" * 64, False), ("", False), ("sha256:../../etc/passwd", False),
])
def test_grammar_of_digests(text: str, good: bool) -> None:
    assert digest.well_formed(text) is good


def test_only_digests_that_can_be_computed_are_used() -> None:
    with pytest.raises(ImageError, match="unknown algorithm"):
        digest.check("blake3:" + "a" * 64)


def test_a_verifier_stops_at_the_first_byte_too_many() -> None:
    verifier = digest.Verifier(digest.of(b"abc"), 3)
    verifier.update(b"abc")
    verifier.done()
    with pytest.raises(DigestError, match="longer than the 3 bytes"):
        verifier.update(b"d")
    with pytest.raises(DigestError, match="has 2 bytes"):
        digest.verify(b"ab", digest.of(b"abc"), 3)
    with pytest.raises(DigestError, match="does not match"):
        digest.verify(b"abx", digest.of(b"abc"), 3)


def test_chain_ids() -> None:
    one, two = digest.of(b"1"), digest.of(b"2")
    assert digest.chain_ids([one, two]) == [one, digest.of(f"{one} {two}".encode())]
    assert digest.chain_ids([]) == []


def test_layer_types() -> None:
    assert media.layer_type("zstd") == media.OCI_LAYER + "+zstd"
    assert media.layer_type("gzip", docker=True) == media.DOCKER_LAYER + ".gzip"
    assert media.LAYERS[media.DOCKER_LAYER + ".zstd"] == "zstd", "BuildKit writes it"
    assert media.is_foreign(media.DOCKER_FOREIGN + ".gzip") and not media.is_foreign(media.OCI_LAYER)
