"""Pushes to a registry that misbehaves."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

from pyruntime.errors import DigestError, RegistryError
from pyruntime.images import media
from pyruntime.images.digest import of
from pyruntime.images.document import Descriptor
from tests.images.integration import registries as fakes_
from tests.images.integration.conftest import Client
from tests.images.integration.registries import FakeRegistry, status
from tests.images.integration.registry_faults.fetched import LAYER


def push(client: Client, fake: FakeRegistry, data: bytes = LAYER, **options: Any) -> tuple[str, list[int]]:
    told: list[int] = []

    def open_at(offset: int) -> io.BytesIO:
        source = io.BytesIO(data)
        source.seek(offset)
        return source
    how = client.open(f"{fake.host}/new", push=True).push_blob(
        Descriptor(media.OCI_LAYER, of(data), len(data)), open_at, **{"progress": told.append, **options})
    return how, told


@pytest.fixture
def empty(fakes: Callable[[], FakeRegistry]) -> FakeRegistry:
    """An empty registry."""
    return fakes()


def test_a_push_in_chunks(empty: FakeRegistry, client: Client) -> None:
    assert push(client, empty, chunk=1000000)[0] == "pushed"
    assert empty.blobs == {of(LAYER): LAYER}
    assert [headers["Content-Range"] for headers in empty.asked("PATCH")] == [
        "0-999999", "1000000-1999999", "2000000-2999999", "3000000-3011999"]


def test_a_small_blob_goes_in_one_piece(empty: FakeRegistry, client: Client) -> None:
    assert push(client, empty)[0] == "pushed" and not empty.asked("PATCH") and empty.blobs == {of(LAYER): LAYER}
    assert push(client, empty, b"")[0] == "pushed" and of(b"") in empty.blobs


def test_the_smallest_chunk_is_the_registrys(empty: FakeRegistry, client: Client) -> None:
    empty.min_chunk = 2000000
    push(client, empty, chunk=1000000)
    assert [headers["Content-Range"] for headers in empty.asked("PATCH")] == ["0-1999999", "2000000-3011999"]


def half(handler: fakes_.FakeHandler) -> None:
    """Accept half of a chunk, and close the connection."""
    number = handler.path.rpartition("/")[2].partition("?")[0]
    handler.fake.uploads[number] += handler.rfile.read(int(handler.headers["Content-Length"]) // 2)
    handler.hang_up()


def after(code: int) -> fakes_.Action:
    """Do what was requested, and respond with a failure."""
    def act(handler: fakes_.FakeHandler) -> None:
        wanted, handler.wfile = handler.wfile, io.BytesIO()
        handler.serve()
        handler.wfile = wanted
        handler.reply(code) if code else handler.hang_up()
    return act


@pytest.mark.parametrize("fault", [half, status(503), status(429, {"Retry-After": "3"}), status(416)])
def test_an_interrupted_chunk_is_resumed(empty: FakeRegistry, client: Client, fault: fakes_.Action) -> None:
    empty.fault("PATCH", "uploads", fault, times=2)
    how, told = push(client, empty, chunk=1000000)
    assert how == "pushed" and empty.blobs == {of(LAYER): LAYER} and sum(told) == len(LAYER)
    assert len(client.slept) == 2 and empty.asked("GET", "uploads") and len(empty.asked("POST")) == 1


def test_a_lost_upload_restarts(empty: FakeRegistry, client: Client) -> None:
    empty.fault("PATCH", "uploads", half)
    empty.fault("GET", "uploads", status(404))
    how, told = push(client, empty, chunk=1000000)
    assert how == "pushed" and empty.blobs == {of(LAYER): LAYER} and sum(told) == len(LAYER)
    assert len(empty.asked("POST")) == 2


def test_a_registry_without_chunks_gets_one_piece(empty: FakeRegistry, client: Client) -> None:
    empty.chunks = False
    how, told = push(client, empty, chunk=1000000)
    assert how == "pushed" and empty.blobs == {of(LAYER): LAYER} and sum(told) == len(LAYER)
    assert empty.asked("DELETE", "uploads") and not client.slept


@pytest.mark.parametrize("chunk", [0, 1000000])
@pytest.mark.parametrize("code", [0, 500])
def test_a_lost_response_is_no_lost_content(empty: FakeRegistry, client: Client, chunk: int, code: int) -> None:
    empty.fault("PUT", "uploads", after(code))
    how, told = push(client, empty, chunk=chunk)
    assert how == "pushed" and empty.blobs == {of(LAYER): LAYER} and sum(told) == len(LAYER)


def test_pushes_end(empty: FakeRegistry, client: Client) -> None:
    empty.fault("PUT", "uploads", status(503), times=99)
    for chunk in (0, 1000000):
        with pytest.raises(RegistryError, match="HTTP 503"):
            push(client, empty, chunk=chunk)
    assert not empty.uploads   # the upload was cancelled


def test_a_mount_that_fails_becomes_a_push(empty: FakeRegistry, client: Client) -> None:
    empty.fault("POST", "mount", status(403))
    assert push(client, empty, b"1", mount_from="other")[0] == "pushed"
    assert push(client, empty, b"2", mount_from="other")[0] == "pushed"   # 202: the upload goes on from there
    assert len(empty.asked("POST")) == 3
    empty.fault("HEAD", "blobs", status(404))
    assert push(client, empty, b"2", mount_from="other")[0] == "mounted"


def test_content_too_short(empty: FakeRegistry, client: Client) -> None:
    with pytest.raises(RegistryError, match="ends 1 bytes too early"):
        client.open(f"{empty.host}/new", push=True).push_blob(
            Descriptor(media.OCI_LAYER, of(b"12"), 2), lambda _: io.BytesIO(b"1"))


def test_a_manifest_that_was_changed(empty: FakeRegistry, client: Client) -> None:
    empty.fault("PUT", "manifests", status(201, {"Docker-Content-Digest": of(b"x")}))
    with pytest.raises(DigestError, match="the registry stored"):
        client.open(f"{empty.host}/new", push=True).push_manifest(b"{}", media.OCI_MANIFEST, "1")
