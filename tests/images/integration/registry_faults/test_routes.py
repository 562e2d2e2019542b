"""Answers that come by another way than from the registry itself: redirects, mirrors, proxies."""

from __future__ import annotations

import io
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyruntime.errors import RegistryError
from pyruntime.images.digest import of
from pyruntime.images.document import Descriptor
from tests.images.integration import registries as fakes_
from tests.images.integration.conftest import Client
from tests.images.integration.registries import Authority, FakeRegistry, cut, redirect, status
from tests.images.integration.registry_faults.fetched import DESCRIPTOR, LAYER, fetch
from tests.images.integration.test_registry_client import Sink

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


# Proxies

class _Tunnel(socketserver.StreamRequestHandler):
    """A proxy with a password: CONNECT."""

    def handle(self) -> None:
        import select

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
