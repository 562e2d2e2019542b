"""The client with a registry that misbehaves: correct content, or an error that names the problem."""

from __future__ import annotations

import email.utils
import io
import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyruntime.errors import DigestError, RegistryError
from pyruntime.images import media
from pyruntime.images.digest import Verifier, of
from pyruntime.images.document import Descriptor
from pyruntime.images.registry import connection
from tests.images.integration import registries as fakes_
from tests.images.integration.conftest import Client
from tests.images.integration.registries import Authority, FakeRegistry, cut, redirect, status
from tests.images.integration.test_registry_client import Sink

LAYER = bytes(range(251)) * 12000   # 3 MB
DESCRIPTOR = Descriptor(media.OCI_LAYER, of(LAYER), len(LAYER))


@pytest.fixture
def fake(fake: FakeRegistry) -> FakeRegistry:
    """A registry with an image "app:1" of one layer."""
    fake.add_image("app", "1", LAYER)
    return fake


def fetch(client: Client, fake: FakeRegistry, descriptor: Descriptor = DESCRIPTOR, **options: Any) -> bytes:
    """The blob, as the store would receive it; the progress must add up."""
    sink, told = Sink(), [0]

    def progress(count: int) -> None:
        told[0] += count

    def verify() -> None:
        verifier = Verifier(descriptor.digest, descriptor.size)
        verifier.update(bytes(sink.data))
        verifier.done()
    client.open(f"{fake.host}/app", **options).fetch_blob(descriptor, sink, progress, verify)
    assert told[0] == len(sink.data)
    return bytes(sink.data)


# Retries

@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504, 520])
def test_transient_responses_are_retried(fake: FakeRegistry, client: Client, code: int) -> None:
    fake.fault("GET", "manifests", status(code), times=4)
    assert client.open(f"{fake.host}/app").manifest("1")[0]
    assert len(client.slept) == 4
    assert all(2 ** number / 2 <= seconds <= 2 ** number for number, seconds in enumerate(client.slept))


def test_attempts_end(fake: FakeRegistry, client: Client) -> None:
    fake.fault("GET", "manifests", status(503), times=99)
    with pytest.raises(RegistryError, match=r"HTTP 503 \(after 5 attempts\)"):
        client.open(f"{fake.host}/app").manifest("1")
    assert len(client.slept) == 4 and len(fake.asked("GET", "manifests")) == 5
    with pytest.raises(RegistryError, match=r"HTTP 503$"):
        client.open(f"{fake.host}/app", attempts=1).manifest("1")


@pytest.mark.parametrize("code", [400, 401, 403, 404, 501])
def test_other_responses_are_final(fake: FakeRegistry, client: Client, code: int) -> None:
    fake.fault("GET", "manifests", status(code))
    with pytest.raises(RegistryError) as caught:
        client.open(f"{fake.host}/app").manifest("1")
    assert caught.value.status == code and not client.slept


def test_retry_after_is_honoured(fake: FakeRegistry, client: Client) -> None:
    date = email.utils.formatdate(time.time() + 100, usegmt=True)
    for value in ("7", date, "nonsense"):
        fake.fault("GET", "manifests", status(429, {"Retry-After": value}))
    client.open(f"{fake.host}/app").manifest("1")
    assert client.slept[0] == 7 and 90 < client.slept[1] <= 100 and client.slept[2] <= 4


def test_a_long_retry_after_is_an_error(fake: FakeRegistry, client: Client) -> None:
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit"}]}'
    fake.fault("GET", "manifests", status(429, {"Retry-After": "3600", "RateLimit-Limit": "100;w=21600",
                                                "RateLimit-Remaining": "0;w=21600"}, body))
    with pytest.raises(RegistryError) as caught:
        client.open(f"{fake.host}/app").manifest("1")
    assert "TOOMANYREQUESTS: You have reached" in str(caught.value) and "remaining 0;w=21600" in str(caught.value)
    assert "log in for a higher limit" in str(caught.value) and "try again in 3600 seconds" in str(caught.value)
    assert not client.slept


def test_a_connection_without_a_response_is_retried(fake: FakeRegistry, client: Client) -> None:
    fake.fault("GET", "manifests", fakes_.close, times=2)
    assert client.open(f"{fake.host}/app").manifest("1")[0]
    fake.fault("GET", "manifests", fakes_.close, times=99)
    with pytest.raises(RegistryError, match="after 5 attempts"):
        client.open(f"{fake.host}/app").manifest("1")


def test_a_kept_connection_that_was_closed_is_replaced(fake: FakeRegistry, client: Client) -> None:
    repository = client.open(f"{fake.host}/app")
    repository.manifest("1")
    fake.fault("GET", "manifests", fakes_.close)
    repository.manifest("1")
    assert not client.slept
    assert len({headers["Host"] for headers in fake.asked("GET", "manifests")}) == 1


def test_connections_are_kept(fake: FakeRegistry, client: Client) -> None:
    repository = client.open(f"{fake.host}/app")
    for _ in range(5):
        repository.manifest("1")
        repository.has_blob(of(LAYER))
        repository.head("2")
    assert len(fake.server.connections) <= 2   # one of them tested for TLS


def test_a_silent_registry_times_out(fake: FakeRegistry, client: Client) -> None:
    fake.fault("GET", "manifests", fakes_.idle, times=9)
    with pytest.raises(RegistryError, match=r"no data for 0\.2 seconds while waiting for a response to GET"):
        client.open(f"{fake.host}/app", timeout=0.2).manifest("1")
    assert len(client.slept) == 4


# Slow transfers have their own limits: the socket's timeout starts again with every byte.

@pytest.mark.parametrize(("fault", "words"), [
    (fakes_.trickle(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "no complete response within 0.5 seconds"),
    (fakes_.trickle(b"HTTP/1.1 200 OK\r\nX: ", b"x"), "no complete response within 0.5 seconds"),
    (fakes_.trickle(b"HTTP/1.1 100 Continue\r\n\r\n" * 50000, b""), "bytes without a response"),
])
def test_a_head_that_never_ends(fake: FakeRegistry, client: Client, fault: fakes_.Action, words: str) -> None:
    fake.fault("GET", "manifests", fault, times=9)
    with pytest.raises(RegistryError) as caught:
        client.open(f"{fake.host}/app", timeout=0.5).manifest("1")
    assert words in str(caught.value) and fake.host in str(caught.value)
    assert len(fake.asked("GET", "manifests")) == 5


@pytest.mark.parametrize("kind", ["sized", "chunked", "until close"])
def test_a_body_byte_by_byte(fake: FakeRegistry, client: Client, kind: str) -> None:
    """Each attempt makes a little progress, and yet the attempts end."""
    headers = {"sized": b"Content-Length: %d\r\n" % len(LAYER), "chunked": b"Transfer-Encoding: chunked\r\n",
               "until close": b""}[kind]
    piece = b"1\r\n\0\r\n" if kind == "chunked" else b"\0"
    fake.fault("GET", "blobs", fakes_.trickle(b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n", piece), times=99)
    with pytest.raises(RegistryError) as caught:
        fetch(client, fake, timeout=0.5)
    assert "less than 1024 bytes a second for 0.5 seconds while reading the answer (after 5 attempts)" in \
        str(caught.value) and fake.host in str(caught.value)
    assert len(fake.asked("GET", "blobs")) == 5


def test_a_server_that_reads_nothing() -> None:
    here, there = socket.socketpair()
    with here, there, pytest.raises(connection.Late, match=r"less than 65536 bytes were accepted in 0\.3 seconds"):
        connection.Watched(here, 0.3).sendall(bytes(64 << 20))


def test_a_connection_has_one_limit_for_all_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait for 10 silent addresses is not ten times as long."""
    limits: list[float] = []

    def establish(_sock: socket.socket, _address: object, limit: float, _slow: object) -> None:
        limits.append(limit)
        raise TimeoutError
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_words, **_more: [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", number)) for number in range(10)])
    monkeypatch.setattr(connection, "_establish", establish)
    with pytest.raises(connection.Late, match="no connection within 20 seconds"):
        connection.dial("registry.example", 443, tls=None, proxy=None, timeout=20, opened=lambda _sock: None,
                        warn=lambda _text: None)
    assert len(limits) == 10 and limits[0] <= 2, limits


def test_a_host_that_drops_packets_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection waits for up to 30 seconds; an earlier warning names the silent host."""
    monkeypatch.setattr(connection, "SILENCE", 0.05)
    warned: list[str] = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        # One connection fills the queue: the kernel drops further SYN packets.
        with (socket.create_connection(("127.0.0.1", port)),
              pytest.raises(connection.Late, match=r"no connection within 0\.3 seconds")):
            connection.dial("127.0.0.1", port, tls=None, proxy=None, timeout=0.3, opened=lambda _sock: None,
                            warn=warned.append)
    assert warned == [f'still connecting to "127.0.0.1:{port}"']


def test_the_first_failure_is_shown(fake: FakeRegistry, client: Client) -> None:
    """Users must not face a silent terminal for five attempts."""
    fake.fault("GET", "manifests", status(503), times=4)
    client.open(f"{fake.host}/app").manifest("1")
    assert len(client.warned) == 1 and "HTTP 503; trying again in " in client.warned[0]
    assert client.warned[0].endswith(" seconds, attempt 2 of 5") and fake.host in client.warned[0]


@pytest.mark.parametrize(("code", "words"), [
    (socket.EAI_AGAIN, "is the host connected to a network"), (socket.EAI_NONAME, "check the name")])
def test_an_unknown_host_is_not_retried(client: Client, monkeypatch: pytest.MonkeyPatch, code: int,
                                                        words: str) -> None:
    """The resolver retries itself: five times its timeout would be a minute."""
    asked = []

    def getaddrinfo(host: str, *_words: object, **_more: object) -> None:
        asked.append(host)
        raise socket.gaierror(code, "an error of the resolver")
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    for insecure in (None, True):
        with pytest.raises(RegistryError) as caught:
            client.open("registry.example/app", insecure=insecure).manifest("1")
        assert 'cannot find the host "registry.example"' in str(caught.value) and words in str(caught.value)
    with pytest.raises(RegistryError, match=r'cannot find the host "proxy\.example"'):
        client.open("registry.example/app", environ={"HTTPS_PROXY": "http://proxy.example:3128"}).manifest("1")
    assert asked == ["registry.example", "registry.example", "proxy.example"] and not client.slept


def test_a_name_server_that_is_silent_is_named(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users learn the reason of the wait before the resolver gives up."""
    told = threading.Event()

    def getaddrinfo(*_words: object, **_more: object) -> None:
        assert told.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    def warn(text: str) -> None:
        client.warned.append(text)
        told.set()
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(connection, "SILENCE", 0.05)
    repository = client.open("registry.example/app")
    client.transports[-1].warn = warn
    with pytest.raises(RegistryError, match="no answer"):
        repository.manifest("1")
    assert client.warned == ['still looking up "registry.example": does a server of /etc/resolv.conf answer?']


def test_a_closed_port(client: Client) -> None:
    with pytest.raises(RegistryError, match="Connection refused"):
        client.open(f"127.0.0.1:{fakes_.free_port()}/app").manifest("1")
    with pytest.raises(RegistryError, match='cannot find the host "nowhere'):
        client.open("nowhere.invalid/app").manifest("1")
    assert not client.slept


# Blobs

@pytest.mark.parametrize("chunked", [False, True])
def test_an_interrupted_blob_is_resumed(fake: FakeRegistry, client: Client, chunked: bool) -> None:
    for count in (1000000, 0, 1000000):
        fake.fault("GET", "blobs", cut(count, chunked=chunked))
    assert fetch(client, fake) == LAYER
    asked = fake.asked("GET", "blobs")
    assert "Range" not in asked[0]
    assert asked[-1]["Range"].startswith("bytes=") and len(asked) == 4
    if not chunked:
        assert asked[-1]["Range"] == "bytes=2000000-"


def test_content_before_a_stall_is_kept(fake: FakeRegistry, client: Client) -> None:
    fake.fault("GET", "blobs", fakes_.stall(1234))
    assert fetch(client, fake, timeout=0.3) == LAYER
    assert fake.asked("GET", "blobs")[-1]["Range"] == "bytes=1234-"
    assert "no data for 0.3 seconds" in "".join(client.warned)


def test_attempts_count_from_the_last_byte(fake: FakeRegistry, client: Client) -> None:
    fake.fault("GET", "blobs", cut(300000), times=9)
    assert fetch(client, fake) == LAYER
    assert len(client.slept) == 9 and max(client.slept) <= 1


def test_a_blob_without_progress(fake: FakeRegistry, client: Client) -> None:
    fake.fault("GET", "blobs", cut(0), times=99)
    with pytest.raises(RegistryError, match="after 5 attempts"):
        fetch(client, fake)
    assert len(fake.asked("GET", "blobs")) == 5


def test_a_blob_is_resumed_from_an_earlier_process(fake: FakeRegistry, client: Client) -> None:
    sink = Sink()
    sink.data += LAYER[:12345]
    client.open(f"{fake.host}/app").fetch_blob(DESCRIPTOR, sink)
    assert sink.data == LAYER and fake.asked("GET", "blobs")[0]["Range"] == "bytes=12345-"


@pytest.mark.parametrize("start", [1000, len(LAYER) + 1])
def test_a_server_without_ranges_restarts(fake: FakeRegistry, client: Client, start: int) -> None:
    fake.fault("GET", "blobs", fakes_.without_range)
    sink = Sink()
    sink.data += bytes(start)   # zeros, which must not stay
    told: list[int] = []
    client.open(f"{fake.host}/app").fetch_blob(DESCRIPTOR, sink, told.append)
    assert sink.data == LAYER and sum(told) == len(LAYER) - start


def test_the_etag_decides_whether_a_blob_is_the_same(fake: FakeRegistry, client: Client) -> None:
    for etag, sent in (('"x"', '"x"'), ('W/"x"', None)):   # a strong tag that is unknown to the registry; a weak tag
        fake.fault("GET", "blobs", cut(1000, etag=etag))
        assert fetch(client, fake) == LAYER
        assert fake.asked("GET", "blobs")[-1].get("If-Range") == sent


def test_416_restarts(fake: FakeRegistry, client: Client) -> None:
    fake.fault("GET", "blobs", cut(1000))
    fake.fault("GET", "blobs", status(416))
    assert fetch(client, fake) == LAYER
    fake.fault("GET", "blobs", status(416))
    with pytest.raises(RegistryError, match="HTTP 416"):
        fetch(client, fake)


def test_a_wrong_range(fake: FakeRegistry, client: Client) -> None:
    fake.fault("GET", "blobs", cut(1000))
    fake.fault("GET", "blobs", status(206, {"Content-Range": "bytes 5-9/10"}, b"12345"))
    with pytest.raises(RegistryError, match="it starts at byte 5 instead of 1000"):
        fetch(client, fake)
    fake.fault("GET", "blobs", status(206, {}, b"12345"))
    with pytest.raises(RegistryError, match="without its range"):
        fetch(client, fake)


@pytest.mark.parametrize("how", [fakes_.chunked, fakes_.until_close])
def test_a_blob_without_a_length(fake: FakeRegistry, client: Client, how: fakes_.Action) -> None:
    fake.fault("GET", "blobs", how)
    assert fetch(client, fake) == LAYER and not client.slept


def test_a_wrong_size_is_found_at_once(fake: FakeRegistry, client: Client) -> None:
    for size, how in ((len(LAYER) - 1, fakes_.chunked), (len(LAYER) - 1, None), (len(LAYER) + 1, None)):
        if how:
            fake.fault("GET", "blobs", how)
        with pytest.raises(DigestError, match="descriptor"):
            fetch(client, fake, Descriptor(media.OCI_LAYER, of(LAYER), size))
    assert not client.slept


def test_wrong_content_is_replaced_from_the_origin(fake: FakeRegistry, client: Client,
                                                            fakes: Callable[[], FakeRegistry]) -> None:
    mirror = fakes()
    mirror.blobs[of(LAYER)] = bytes(len(LAYER))
    conf = f'[[registry]]\nlocation="{fake.host}"\n[[registry.mirror]]\nlocation="{mirror.host}"'
    assert fetch(client, fake, conf=conf) == LAYER
    assert "content does not match its digest" in client.warned[0]
    fake.blobs[of(LAYER)] = bytes(len(LAYER))
    with pytest.raises(DigestError, match=r"does not match.*before that"):
        fetch(client, fake, conf=conf)


def test_other_urls_get_no_credentials(fake: FakeRegistry, client: Client, fakes: Callable[[], FakeRegistry]
                                           ) -> None:
    other = fakes()
    other.blobs[of(b"foreign")] = b"foreign"
    other.fault("GET", "first", status(401, {"WWW-Authenticate": f'Basic realm="{other.host}"'}))
    other.fault("GET", "second", status(503))
    urls = ["file:///etc/passwd", *(f"{other.url}/v2/{name}/blobs/{of(b'foreign')}" for name in ("first", "second"))]
    descriptor = Descriptor(media.OCI_FOREIGN, of(b"foreign"), 7, {"urls": urls})
    assert fetch(client, fake, descriptor, login=("me", "secret")) == b"foreign"
    assert all("Authorization" not in headers for headers in other.asked("GET")) and len(other.asked("GET")) == 3


# Redirects

def test_a_redirect_to_another_port_gets_no_authorization(fake: FakeRegistry, client: Client,
                                                          fakes: Callable[[], FakeRegistry]) -> None:
    store = fakes()
    store.blobs = fake.blobs
    fake.fault("GET", "blobs", status(401, {"WWW-Authenticate": 'Basic realm="x"'}))
    for _ in range(3):
        fake.fault("GET", "blobs", redirect(store.url))
    store.fault("GET", "blobs", cut(1000))
    assert fetch(client, fake, login=("me", "secret")) == LAYER
    assert "Authorization" in fake.asked("GET", "blobs")[-1]
    assert [headers.get("Authorization") for headers in store.asked("GET")] == [None, None]
    assert store.asked("GET")[-1]["Range"] == "bytes=1000-"   # the redirect keeps the header


def test_a_challenge_behind_a_redirect_is_not_answered(fake: FakeRegistry, client: Client,
                                                       fakes: Callable[[], FakeRegistry]) -> None:
    store = fakes()
    fake.fault("GET", "blobs", redirect(store.url), times=9)
    store.fault("GET", "blobs", status(401, {"WWW-Authenticate": 'Basic realm="x"'}), times=9)
    with pytest.raises(RegistryError, match="HTTP 401"):
        fetch(client, fake, login=("me", "secret"))
    assert all("Authorization" not in headers for headers in store.asked("GET"))


def test_from_https_no_redirect_leads_to_http(fake: FakeRegistry, client: Client, authority: Authority,
                                              fakes: Callable[..., FakeRegistry]) -> None:
    secure = fakes(authority)
    secure.fault("GET", "blobs", redirect(fake.url), times=9)
    with pytest.raises(RegistryError, match="which is not encrypted"):
        fetch(client, secure, cert_dir=str(authority.directory))
    assert not fake.requests
    assert fetch(client, secure, insecure=True) == LAYER


def test_tokens_are_not_requested_without_tls(client: Client, authority: Authority,
                                              fakes: Callable[..., FakeRegistry]) -> None:
    secure, plain = fakes(authority), fakes()
    secure.fault("GET", "", status(401, {"WWW-Authenticate": f'Bearer realm="{plain.url}/token"'}))
    with pytest.raises(RegistryError, match="not encrypted"):
        client.open(f"{secure.host}/app", login=("me", "secret"), cert_dir=str(authority.directory)).tags()
    assert not plain.requests


def test_redirects_end(fake: FakeRegistry, client: Client) -> None:
    fake.fault("GET", "manifests", redirect(fake.url), times=99)
    with pytest.raises(RegistryError, match="more than 10 redirects"):
        client.open(f"{fake.host}/app").manifest("1")
    fake.fault("POST", "uploads", redirect(fake.url, 302))
    with pytest.raises(RegistryError, match="redirects a POST"):
        client.open(f"{fake.host}/app", push=True).push_blob(Descriptor("", of(b"x"), 1), lambda _: io.BytesIO(b"x"))


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


# Mirrors

def mirrored(fake: FakeRegistry, mirror: FakeRegistry, more: str = "", top: str = "") -> str:
    return f'[[registry]]\nlocation="{fake.host}"\n{top}\n[[registry.mirror]]\nlocation="{mirror.host}/copy"\n{more}'


def test_a_mirror_comes_before_the_origin(fake: FakeRegistry, client: Client,
                                                        fakes: Callable[[], FakeRegistry]) -> None:
    mirror = fakes()
    mirror.add_image("copy/app", "1", LAYER)
    repository = client.open(f"{fake.host}/app", conf=mirrored(fake, mirror))
    assert repository.manifest("1")[0] and not fake.requests
    sink = Sink()
    repository.fetch_blob(DESCRIPTOR, sink)
    assert sink.data == LAYER and not fake.requests
    del mirror.manifests["copy/app", "1"]
    assert repository.manifest("1")[0] and fake.requests and not client.warned   # no warning if a mirror lacks a tag
    assert repository.head("nothing") is None
    mirror.stop()
    assert client.open(f"{fake.host}/app", conf=mirrored(fake, mirror), attempts=1).manifest("1")[0]
    assert "Connection refused" in client.warned[0]


def test_a_dead_mirror_gets_few_attempts(fake: FakeRegistry, client: Client, fakes: Callable[[], FakeRegistry]
                                             ) -> None:
    mirror = fakes()
    mirror.fault("GET", "", fakes_.close, times=99)
    repository = client.open(f"{fake.host}/app", conf=mirrored(fake, mirror))
    assert repository.manifest("1")[0] and len(client.slept) == 1
    mirror.requests.clear()
    body = repository.blob(DESCRIPTOR)
    assert repository.has_blob(of(LAYER)) and body.read(1 << 20) == LAYER[:1 << 20]
    body.close()
    assert not mirror.requests   # the endpoint that gave the manifest comes first now


def test_mirrors_by_digest_and_by_tag(fake: FakeRegistry, client: Client, fakes: Callable[[], FakeRegistry]) -> None:
    mirror = fakes()
    mirror.add_image("copy/app", "1", LAYER)
    digest = of(fake.manifests["app", "1"][1])
    for conf, by_tag, by_digest in (
            (mirrored(fake, mirror, 'pull-from-mirror="digest-only"'), False, True),
            (mirrored(fake, mirror, 'pull-from-mirror="tag-only"'), True, False),
            (mirrored(fake, mirror, top="mirror-by-digest-only=true"), False, True)):
        for target, expected in (("1", by_tag), (digest, by_digest)):
            mirror.requests.clear()
            client.open(f"{fake.host}/app", conf=conf).manifest(target)
            assert bool(mirror.asked("GET", "manifests")) == expected, (conf, target)


def test_explicit_credentials_are_not_sent_to_mirrors(fake: FakeRegistry, client: Client,
                                                    fakes: Callable[[], FakeRegistry]) -> None:
    mirror = fakes()
    for one in (mirror, fake):
        one.fault("GET", "manifests", status(401, {"WWW-Authenticate": 'Basic realm="x"'}))
    client.open(f"{fake.host}/app", conf=mirrored(fake, mirror), login=("me", "secret")).manifest("1")
    assert "Authorization" in fake.asked("GET", "manifests")[-1]
    assert all("Authorization" not in headers for headers in mirror.asked("GET"))


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


# Pushes

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


# Proxies

class _Tunnel(socketserver.StreamRequestHandler):
    """A proxy with a password: CONNECT."""

    def handle(self) -> None:
        import select
        import socket

        lines = []
        while (line := self.rfile.readline().strip()):
            lines.append(line.decode())
        self.server.lines += lines  # type: ignore[attr-defined]
        if "Proxy-Authorization: Basic bWU6c2VjcmV0" not in lines:
            self.wfile.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            return
        _, _, port = lines[0].split()[1].rpartition(":")
        with socket.create_connection(("127.0.0.1", int(port))) as far:
            self.wfile.write(b"HTTP/1.1 200 Go ahead\r\n\r\n")
            ends = {self.connection: far, far: self.connection}
            while True:
                for ready in select.select(list(ends), [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    ends[ready].sendall(data)


@pytest.fixture
def tunnel() -> Iterator[tuple[str, list[str]]]:
    """The address of a proxy, and its recorded requests."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Tunnel) as server:
        server.lines = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}", server.lines  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


def test_a_proxy_gets_its_password(client: Client, authority: Authority, fakes: Callable[..., FakeRegistry],
                                            tunnel: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    from pyruntime.images.registry import proxy

    monkeypatch.setattr(proxy, "is_loopback", lambda host: False)   # which is always reached directly
    secure = fakes(authority)
    secure.add_image("app", "1", LAYER)
    where, lines = tunnel
    options: dict[str, Any] = {"cert_dir": str(authority.directory)}
    environ = {"HTTPS_PROXY": f"http://me:secret@{where}"}
    assert client.open(f"{secure.host}/app", environ=environ, **options).manifest("1")[0]
    assert lines[0] == f"CONNECT {secure.host} HTTP/1.1"
    with pytest.raises(RegistryError, match="407 Proxy Authentication Required; put user and password"):
        client.open(f"{secure.host}/app", environ={"HTTPS_PROXY": where}, **options).manifest("1")
    assert client.open(f"{secure.host}/app", environ={"HTTPS_PROXY": where, "NO_PROXY": "127.0.0.1"},
                       **options).manifest("1")[0]
    for transport in client.transports:
        transport.close()   # the proxy waits for it


def test_a_proxy_for_http_gets_the_whole_url(fake: FakeRegistry, client: Client) -> None:
    environ = {"http_proxy": f"http://me:secret@{fake.host}"}
    repository = client.open("registry.invalid/app", environ=environ, insecure=True)
    assert repository.manifest("1")[0]
    method, path, headers = fake.requests[-1]
    assert (method, path) == ("GET", "http://registry.invalid/v2/app/manifests/1")
    assert headers["Proxy-Authorization"] == "Basic bWU6c2VjcmV0" and headers["Host"] == "registry.invalid"
