"""The schemas of spec/image/ and the reader of pyruntime.images.document accept the same documents."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from pyruntime.errors import PyruntimeError
from pyruntime.images import media
from pyruntime.images.document import Manifest, parse_config, parse_manifest
from pyruntime.runtime.config.validate import without_nulls
from tests.conftest import TOP

SHA = "sha256:" + "a" * 64
DESCRIPTOR = {"mediaType": media.OCI_LAYER + "+gzip", "digest": SHA, "size": 5, "urls": ["https://example.com/x"],
              "annotations": {"a": "b"}, "data": "", "platform": {"os": "linux", "architecture": "amd64"}}
MANIFEST = {"schemaVersion": 2, "mediaType": media.OCI_MANIFEST, "layers": [DESCRIPTOR], "annotations": {"a": "b"},
            "config": {**DESCRIPTOR, "mediaType": media.OCI_CONFIG}}
INDEX = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "annotations": {"a": "b"},
         "manifests": [{**DESCRIPTOR, "mediaType": media.OCI_MANIFEST}]}
CONFIG = {"created": "2024-01-01T00:00:00Z", "author": "x", "architecture": "amd64", "os": "linux", "variant": "v2",
          "config": {"User": "x", "ExposedPorts": {"80/tcp": {}}, "Env": ["A=b"], "Entrypoint": ["x"], "Cmd": ["y"],
                     "Volumes": {"/data": {}}, "WorkingDir": "/", "Labels": {"a": "b"}, "StopSignal": "SIGTERM"},
          "rootfs": {"type": "layers", "diff_ids": [SHA]}, "history": [{"created_by": "x"}]}
BASES: dict[str, dict[str, Any]] = {"manifest": MANIFEST, "index": INDEX, "config": CONFIG}
Path = tuple[str | int, ...]


@cache
def validator(name: str) -> Draft202012Validator:
    """The validator of spec/image/NAME.json."""
    directory = TOP / "spec/image"
    found = {path.name: Resource.from_contents(json.loads(path.read_text())) for path in directory.glob("*.json")}
    registry: Registry[Any] = Registry().with_resources(found.items())
    return Draft202012Validator({"$ref": f"{name}.json"}, registry=registry)


def right(name: str, document: object) -> bool:
    """Whether the schema accepts the document."""
    return bool(validator(name).is_valid(document))


def read(name: str, document: Any) -> bool:
    """Whether the reader accepts the document."""
    raw = json.dumps(document).encode()
    try:
        if name != "config":
            parse_manifest(raw, media.OCI_INDEX if name == "index" else media.OCI_MANIFEST)
            return True
        rootfs = document.get("rootfs") if isinstance(document, dict) else None
        diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
        layers = [DESCRIPTOR] * len(diff_ids if isinstance(diff_ids, list) else [])
        manifest: Manifest = parse_manifest(json.dumps({**MANIFEST, "layers": layers}).encode(), media.OCI_MANIFEST)
        parse_config(raw, manifest)
    except PyruntimeError:
        return False
    return True


def places(value: object, above: Path = ()) -> list[Path]:
    """The path of every member and item of a document."""
    found: list[Path] = []
    if isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            found += [(*above, key), *places(item, (*above, key))]
    return found


def changed(document: dict[str, Any], path: Path, value: object, *, remove: bool = False) -> Any:
    """A copy with another value at a path, or without the value."""
    copy = json.loads(json.dumps(document))
    place = copy
    for key in path[:-1]:
        place = place[key]
    if remove:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return copy


# Refused by the schemas, accepted by the reader: members that it does not interpret, or that existing images lack.
TOLERATED = {
    "config": {("architecture",), ("os",), ("created",), ("history", 0, "created_by"), ("rootfs", "diff_ids"),
               *(("config", member, *below) for member, key in (("ExposedPorts", "80/tcp"), ("Volumes", "/data"))
                 for below in ((), (key,)))},
    "manifest": {(*above, *member) for above in (("config",), ("layers", 0)) for member in (
        ("mediaType",), ("platform", "os"), ("platform", "architecture"), ("platform",))},
    "index": {("manifests", 0, *member) for member in (
        ("mediaType",), ("platform", "os"), ("platform", "architecture"), ("platform",))},
}
VALUES = st.one_of(
    st.booleans(), st.integers(-3, 5), st.just(2 ** 63), st.just(2 ** 63 - 1), st.text(max_size=5),
    st.sampled_from([SHA, "sha256:abc", "sha256:" + "A" * 64, "sha512:" + "0" * 128, "sha512:0", "md5:0f", "a+b.c:x=",
                     "A:b", "a:", "layers", "2024-01-01T00:00:00Z", *media.INDEXES, *media.MANIFESTS]),
    st.lists(st.one_of(st.text(max_size=2), st.integers(), st.just(SHA)), max_size=2),
    st.dictionaries(st.text(max_size=2), st.one_of(st.text(max_size=2), st.integers()), max_size=2),
    st.sampled_from([DESCRIPTOR, {}, [], "\0", ["a\0"], {"a\0": "b"}, {"a": "\0"}]))


@settings(max_examples=1500)
@given(st.data())
def test_both_agree(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(BASES)))
    path = data.draw(st.sampled_from(places(BASES[name])))
    document = changed(BASES[name], path, data.draw(VALUES), remove=data.draw(st.booleans()))
    if path == ("mediaType",):
        return   # the reader's caller names the type
    if path in TOLERATED[name]:
        assert read(name, document) or not right(name, document), "the reader accepts what the schema allows"
    else:
        assert read(name, document) == right(name, document), (name, path, document)


@pytest.mark.parametrize("name", sorted(BASES))
def test_both_accept_valid_documents(name: str) -> None:
    assert read(name, BASES[name]) and right(name, BASES[name])


@pytest.mark.parametrize(("name", "member", "value"), [
    ("manifest", "manifests", []), ("index", "layers", []), ("index", "config", {}), ("manifest", "schemaVersion", 1),
    ("manifest", "mediaType", media.OCI_INDEX), ("index", "mediaType", media.OCI_MANIFEST)])
def test_both_refuse(name: str, member: str, value: object) -> None:
    document = {**BASES[name], member: value}
    assert not read(name, document) and not right(name, document)


@pytest.mark.parametrize("member", ["config", "history", "created", "author"])
def test_null_is_absent(member: str) -> None:
    document = {**CONFIG, member: None}
    assert read("config", document) and right("config", without_nulls(document))


@pytest.mark.parametrize(("document", "good"), [
    ({"imageLayoutVersion": "1.0.0"}, True), ({"imageLayoutVersion": "2.0.0"}, False), ({}, False), ([], False)])
def test_layout(document: object, good: bool) -> None:
    assert right("layout", document) == good


@pytest.mark.parametrize("name", ["config", "descriptor", "index", "layout", "manifest", "types"])
def test_schemas_are_schemas(name: str) -> None:
    schema = json.loads((TOP / f"spec/image/{name}.json").read_text())
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"].endswith("2020-12/schema") and schema["title"]
