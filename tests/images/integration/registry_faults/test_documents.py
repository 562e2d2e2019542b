"""Manifests and lists of a registry that misbehaves."""

from __future__ import annotations

import json

import pytest

from pyruntime.errors import DigestError, RegistryError
from pyruntime.images import media
from pyruntime.images.digest import of
from pyruntime.images.document import Descriptor
from tests.images.integration import registries as fakes_
from tests.images.integration.conftest import Client
from tests.images.integration.registries import FakeRegistry, status

# Manifests

def test_a_manifest_matches_the_requested_digest(fake: FakeRegistry, client: Client) -> None:
    repository = client.open(f"{fake.host}/app")
    digest = of(b"another")
    fake.manifests["app", digest] = media.OCI_MANIFEST, b"{}"
    with pytest.raises(DigestError, match="content does not match its digest"):
        repository.manifest(digest)
    with pytest.raises(DigestError, match=r"has sha256:.* instead"):
        repository.head(digest)
    fake.fault("GET", "manifests", status(200, {"Docker-Content-Digest": digest, "Content-Type": "x"}, b"{}"))
    with pytest.raises(DigestError, match="content does not match its digest"):
        repository.manifest("1")


@pytest.mark.parametrize("kind", media.SCHEMA_1)
def test_schema_1(fake: FakeRegistry, client: Client, kind: str) -> None:
    fake.add_manifest("app", "old", kind, b'{"schemaVersion": 1}')
    for ask in (client.open(f"{fake.host}/app").manifest, client.open(f"{fake.host}/app").head):
        with pytest.raises(RegistryError, match=r"schema 1.*push the image again"):
            ask("old")


def test_endless_and_oversized_documents(fake: FakeRegistry, client: Client) -> None:
    fake.fault("GET", "manifests", fakes_.endless)
    with pytest.raises(RegistryError, match="a response of more than"):
        client.open(f"{fake.host}/app").manifest("1")
    fake.fault("GET", "manifests", status(200, {"Content-Length": "999999999"}))
    with pytest.raises(RegistryError, match="999999999 bytes; the limit is"):
        client.open(f"{fake.host}/app").manifest("1")


def test_media_types_lose_their_parameters(fake: FakeRegistry, client: Client) -> None:
    fake.add_manifest("app", "2", f"{media.OCI_MANIFEST}; charset=utf-8", b"{}")
    assert client.open(f"{fake.host}/app").manifest("2")[1] == media.OCI_MANIFEST
    assert fake.asked("GET", "manifests")[-1]["Accept"] == media.ACCEPT
    assert fake.asked("GET", "manifests")[-1]["Accept-Encoding"] == "identity"


def test_head_without_a_digest_requests_the_manifest(fake: FakeRegistry, client: Client) -> None:
    raw = fake.manifests["app", "1"][1]
    expected = Descriptor(media.OCI_MANIFEST, of(raw), len(raw))
    repository = client.open(f"{fake.host}/app")
    assert repository.head("1") == expected and not fake.asked("GET", "manifests")
    for fault in (status(405), status(200, {"Content-Type": media.OCI_MANIFEST}), status(200)):
        fake.fault("HEAD", "manifests", fault)
        assert repository.head("1") == expected


def test_warnings_are_shown_once(fake: FakeRegistry, client: Client) -> None:
    for text in ('299 - "this is \\"old\\" \x1b[31m"', '299 - "this is \\"old\\" \x1b[31m"', '199 - "no"'):
        fake.fault("GET", "manifests", status(404, {"Warning": text}))
    repository = client.open(f"{fake.host}/app")
    for _ in range(3):
        with pytest.raises(RegistryError):
            repository.manifest("1")
    assert client.warned == [f'"{fake.host}" says: this is "old"  [31m']


# Lists

def test_tags_come_in_pages(fake: FakeRegistry, client: Client) -> None:
    tags = [f"t{number:03}" for number in range(25)]
    for tag in tags:
        fake.add_manifest("many", tag, media.OCI_MANIFEST, b"{}")
    fake.page = 4
    assert client.open(f"{fake.host}/many").tags() == tags
    fake.fault("GET", "tags", status(200, {}, b'{"name": "x", "tags": null}'))
    assert client.open(f"{fake.host}/many").tags() == []
    fake.fault("GET", "tags", status(200, {"Link": f'<{"/v2/many/tags/list"}>; rel="next"'}, b'{"tags":[]}'), times=9)
    with pytest.raises(RegistryError, match="pages never end"):
        client.open(f"{fake.host}/many").tags()


def test_the_newest_tag(fake: FakeRegistry, client: Client) -> None:
    for tag, created in (("1.2", "2020-01-01T00:00:00Z"), ("1.10", "2023-01-01T00:00:00Z"),
                         ("1.9", "2022-01-01T00:00Z"), ("edge", "2024-06-01T02:00:00+02:00"),
                         ("abc", "2021-01-01T00:00:00Z"),
                         ("sha256-" + "a" * 64, "2030-01-01T00:00:00Z")):
        fake.add_image("tagged", tag, created=created)
    assert client.open(f"{fake.host}/tagged").newest_tag() == "edge"
    for tag in ("1.2", "1.9", "1.10"):
        fake.add_image("undated", tag, tag.encode(), created="")
    assert client.open(f"{fake.host}/undated").newest_tag() == "1.10"
    assert client.open(f"{fake.host}/app").newest_tag() == "1"
    with pytest.raises(RegistryError, match="NAME_UNKNOWN"):
        client.open(f"{fake.host}/nothing").newest_tag()


@pytest.mark.parametrize("by_api", [True, False])
def test_referrers(fake: FakeRegistry, client: Client, by_api: bool) -> None:
    fake.has_referrers = by_api
    repository = client.open(f"{fake.host}/app", push=True)
    subject = of(fake.manifests["app", "1"][1])
    raw = json.dumps({"schemaVersion": 2, "subject": {"digest": subject}, "config": {"mediaType": "c"}}).encode()
    repository.push_manifest(raw, media.OCI_MANIFEST, of(raw))
    assert [entry.digest for entry in repository.referrers(subject)] == [of(raw)]
    assert bool(("app", subject.replace(":", "-")) in fake.manifests) != by_api
    repository.delete(of(raw))
    assert repository.referrers(subject) == []
