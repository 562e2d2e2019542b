"""The client with a registry that misbehaves: correct content, or an error that names the problem."""

from __future__ import annotations

import email.utils
import socket
import threading
import time
from collections.abc import Callable

import pytest

from pyruntime.errors import DigestError, RegistryError
from pyruntime.images import media
from pyruntime.images.digest import of
from pyruntime.images.document import Descriptor
from pyruntime.images.registry import connection
from tests.images.integration import registries as fakes_
from tests.images.integration.conftest import Client
from tests.images.integration.registries import FakeRegistry, cut, status
from tests.images.integration.registry_faults.fetched import DESCRIPTOR, LAYER, fetch
from tests.images.integration.test_registry_client import Sink

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
