"""Registries on the loopback interface: Debian's docker-registry in three forms, and a fake that misbehaves on command.
"""

from __future__ import annotations

import base64
import datetime
import errno
import hashlib
import http.server
import ipaddress
import json
import random
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

USER, PASSWORD = "someone", "a secret: with a colon"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
PATIENCE = 20


class Authority:
    """A test certificate authority, with one certificate for localhost. ``directory`` is usable as --cert-dir."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "certs"
        self.directory.mkdir()
        self.ca_key, self.ca = _certificate("an authority for tests", None)
        self.key, self.certificate = _certificate("localhost", (self.ca_key, self.ca))
        self.ca_file = self.directory / "ca.crt"
        self.ca_file.write_bytes(self.ca.public_bytes(serialization.Encoding.PEM))
        self.key_file, self.certificate_file = directory / "server.key", directory / "server.pem"
        self.key_file.write_bytes(_pem(self.key))
        self.certificate_file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def context(self) -> ssl.SSLContext:
        """How a server of the tests speaks TLS."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(self.certificate_file, self.key_file)
        return made


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
                             serialization.NoEncryption())


def _certificate(name: str, issuer: tuple[rsa.RSAPrivateKey, x509.Certificate] | None
                 ) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer[1].subject if issuer else subject)
               .public_key(key.public_key()).serial_number(x509.random_serial_number())
               .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
               .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
               .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False))
    if issuer:
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = (builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
                   .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer[0].public_key()),
                                  critical=False))
    else:
        builder = builder.add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
                          key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
                          decipher_only=False), critical=True)
    return key, builder.sign(issuer[0] if issuer else key, hashes.SHA256())


def free_port() -> int:
    """A port where nobody listens, below those that the kernel gives to other tests meanwhile (ip_local_port_range)."""
    while True:
        port = random.SystemRandom().randrange(20000, 32768)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED:
                return port


class Registry:
    """A running docker-registry. ``host`` is its host:port; ``skopeo`` the options that skopeo needs for it."""

    def __init__(self, host: str, process: subprocess.Popen[bytes], *, authority: Authority | None = None,
                 login: tuple[str, str] | None = None, tokens: TokenServer | None = None) -> None:
        self.host = host
        self.process = process
        self.authority = authority
        self.login = login
        self.tokens = tokens

    @property
    def cert_dir(self) -> str:
        """The directory of its authority; empty where it speaks plain HTTP."""
        return str(self.authority.directory) if self.authority else ""

    def skopeo(self, side: str) -> list[str]:
        """Options for skopeo copy; ``side``: src or dest."""
        options = [f"--{side}-cert-dir={self.cert_dir}"] if self.authority else [f"--{side}-tls-verify=false"]
        return options + ([f"--{side}-creds={self.login[0]}:{self.login[1]}"] if self.login else [])


@contextmanager
def serve(directory: Path, **options: Any) -> Iterator[Registry]:
    """Run a docker-registry: ``authority`` for TLS, ``htpasswd`` for Basic, ``tokens`` for Bearer."""
    program = shutil.which("docker-registry")
    if not program:
        pytest.fail("docker-registry is not installed: run tools/install-deps test")
    authority: Authority | None = options.get("authority")
    tokens: TokenServer | None = options.get("tokens")
    port = free_port()
    config: dict[str, Any] = {
        "version": 0.1, "log": {"level": "warn"}, "http": {"addr": f"127.0.0.1:{port}", "secret": "for tests"},
        "storage": {"filesystem": {"rootdirectory": str(directory / "storage")}, "delete": {"enabled": True}}}
    if authority:
        config["http"]["tls"] = {"certificate": str(authority.certificate_file), "key": str(authority.key_file)}
    if options.get("htpasswd"):
        line = subprocess.run(["htpasswd", "-Bbn", USER, PASSWORD], capture_output=True, check=True).stdout
        (directory / "htpasswd").write_bytes(line)
        config["auth"] = {"htpasswd": {"realm": "tests, and nothing else", "path": str(directory / "htpasswd")}}
    if tokens:
        config["auth"] = {"token": {"realm": tokens.realm, "service": "tests", "issuer": "tests",
                                    "rootcertbundle": str(tokens.authority.ca_file)}}
    (directory / "config.yml").write_text(json.dumps(config))   # JSON is YAML
    with (directory / "log").open("wb") as log, subprocess.Popen(
            [program, "serve", str(directory / "config.yml")], stdout=log, stderr=log) as process:
        try:
            _await_port(port, process, directory / "log")
            login = (USER, PASSWORD) if options.get("htpasswd") or tokens else None
            yield Registry(f"127.0.0.1:{port}", process, authority=authority, login=login, tokens=tokens)
        finally:
            process.terminate()


def _await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    pytest.fail("docker-registry does not listen: " + log.read_text())


class _Server(http.server.ThreadingHTTPServer):
    """A server that records its connections, so that it can close them at the end of a test."""

    daemon_threads = False
    request_queue_size = 64

    def __init__(self, handler: type[http.server.BaseHTTPRequestHandler], context: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.context = context
        self.connections: list[socket.socket] = []
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.context:
            request = self.context.wrap_socket(request, server_side=True)
        self.connections.append(request)
        super().finish_request(request, client_address)
        request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that close the connection or do not speak TLS: some tests are about them."""

    def stop(self) -> None:
        self.shutdown()
        self.thread.join()
        for connection in self.connections:
            with suppress(OSError):   # it is closed already
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


class TokenServer:
    """A token server (RS256): all users may pull, except from private/...; USER may do everything.

    ``expiry`` in seconds; ``statuses``: method -> the status that replaces a token; ``asked``: the requests.
    """

    def __init__(self, authority: Authority, *, expiry: int = 60) -> None:
        self.authority = authority
        self.expiry = expiry
        self.statuses: dict[str, int] = {}
        self.asked: list[tuple[str, dict[str, list[str]], str]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self, urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                outer.answer(self, urllib.parse.parse_qs(body))

            def log_message(self, *_arguments: object) -> None:
                pass   # no log

        self.server = _Server(Handler, None)
        self.realm = f"http://127.0.0.1:{self.server.server_port}/token"

    def answer(self, handler: http.server.BaseHTTPRequestHandler, query: dict[str, list[str]]) -> None:
        """Answer one request."""
        authorization = handler.headers.get("Authorization", "")
        self.asked.append((handler.command, query, authorization))
        status = self.statuses.get(handler.command, 200)
        user = self._user(query, authorization)
        if status == 200 and user is None:
            status = 401
        body = json.dumps({"token": self.token(user or "", " ".join(query.get("scope", [])).split()),
                           "expires_in": self.expiry} if status == 200 else
                          {"errors": [{"code": "UNAUTHORIZED", "message": "who is that"}]}).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _user(self, query: dict[str, list[str]], authorization: str) -> str | None:
        """The user, empty for anonymous requests, None for wrong credentials."""
        if query.get("grant_type") == ["refresh_token"]:
            return USER if query.get("refresh_token") == ["an identity"] else None
        if query.get("grant_type") == ["password"]:
            return USER if (query["username"], query["password"]) == ([USER], [PASSWORD]) else None
        if not authorization:
            return ""
        secret = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        return USER if secret in (f"{USER}:{PASSWORD}", f"{USER}:an identity") else None

    def token(self, user: str, scopes: list[str]) -> str:
        """A signed token for the permitted part of the scopes."""
        access = []
        for scope in scopes:
            kind, name, actions = scope.rsplit(":", 2)[0].split(":", 1)[0], scope.split(":")[1], scope.rsplit(":", 1)[1]
            may = actions.split(",") if user else [] if name.startswith("private/") else ["pull"]
            access.append({"type": kind, "name": name, "actions": may})
        now = int(time.time())
        chain = base64.b64encode(self.authority.certificate.public_bytes(serialization.Encoding.DER)).decode()
        head = {"typ": "JWT", "alg": "RS256", "x5c": [chain]}
        claims = {"iss": "tests", "sub": user, "aud": "tests", "exp": now + self.expiry, "nbf": now - 5, "iat": now,
                  "jti": str(time.monotonic_ns()), "access": access}
        signed = b".".join(_base64(json.dumps(part).encode()) for part in (head, claims))
        signature = self.authority.key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        return (signed + b"." + _base64(signature)).decode()


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def sha256(data: bytes | bytearray) -> str:
    """The digest of these bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


Action = Callable[["FakeHandler"], None]


class FakeRegistry:
    """A registry in memory, which obeys the specification until ``fault`` says otherwise.

    ``blobs`` by digest; ``manifests`` by repository and tag or digest; ``requests`` everything that came: method, path
    with query, headers. Referrers are kept only with ``has_referrers``; ``page``: tags on one page.
    """

    def __init__(self, authority: Authority | None = None) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.uploads: dict[str, bytearray] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.faults: list[tuple[str, str, Action, list[int]]] = []
        self.page = 0
        self.has_referrers = False
        self.chunks = True
        self.min_chunk = 0
        self.authority = authority
        outer = self

        class Handler(FakeHandler):
            fake = outer

        self.server = _Server(Handler, authority.context() if authority else None)
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.url = f"http{'s' if authority else ''}://{self.host}"

    def fault(self, method: str, part: str, action: Action, times: int = 1) -> None:
        """Let an action answer the next requests of this method (empty: any) whose path holds this part."""
        self.faults.append((method, part, action, [times]))

    def asked(self, method: str, part: str = "") -> list[dict[str, str]]:
        """The headers of all requests of this method whose path holds this part."""
        return [headers for how, path, headers in self.requests if how == method and part in path]

    def add_image(self, name: str, tag: str, layer: bytes = b"a layer", created: str = "2024-01-01T00:00:00Z",
                  ) -> dict[str, Any]:
        """Keep an image of one layer; its manifest."""
        config = json.dumps({"os": "linux", "architecture": "amd64", "created": created,
                             "rootfs": {"type": "layers", "diff_ids": [sha256(layer)]}}).encode()
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST,
                    "config": {"mediaType": OCI_CONFIG, "digest": sha256(config), "size": len(config)},
                    "layers": [{"mediaType": OCI_LAYER, "digest": sha256(layer), "size": len(layer)}]}
        self.blobs |= {sha256(config): config, sha256(layer): layer}
        self.add_manifest(name, tag, OCI_MANIFEST, json.dumps(manifest).encode())
        return manifest

    def add_manifest(self, name: str, tag: str, media_type: str, raw: bytes) -> str:
        """Keep a manifest under a tag and its digest; the digest."""
        self.manifests[name, tag] = self.manifests[name, sha256(raw)] = media_type, raw
        return sha256(raw)

    def stop(self) -> None:
        """Close every connection, and end every thread."""
        self.server.stop()


class FakeHandler(http.server.BaseHTTPRequestHandler):
    """One connection to a FakeRegistry."""

    fake: FakeRegistry
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    body = b""

    def handle_any(self) -> None:
        """Answer one request: with a fault, or correctly."""
        fake = self.fake
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) if self.command != "PATCH" else b""
        fake.requests.append((self.command, self.path, dict(self.headers.items())))
        for method, part, action, left in fake.faults:
            if left[0] and method in ("", self.command) and part in self.path:
                left[0] -= 1
                action(self)
                return
        if self.command == "PATCH":
            self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.serve()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def serve(self) -> None:
        """Answer correctly."""
        url = urllib.parse.urlsplit(self.path)
        query = {key: values[0] for key, values in urllib.parse.parse_qs(url.query).items()}
        parts = url.path.strip("/").split("/")
        if url.path == "/v2/":
            return self.reply(200)
        for kind in ("manifests", "blobs", "tags", "referrers"):
            if kind in parts:
                at = parts.index(kind)
                serve: Callable[[str, list[str], dict[str, str]], None] = getattr(self, "_" + kind)
                return serve("/".join(parts[1:at]), parts[at + 1:], query)
        return self.reply(404)

    def _manifests(self, name: str, rest: list[str], _query: dict[str, str]) -> None:
        fake = self.fake
        if self.command == "PUT":
            digest = fake.add_manifest(name, rest[0], self.headers["Content-Type"], self.body)
            headers = {"Location": f"/v2/{name}/manifests/{digest}", "Docker-Content-Digest": digest}
            subject = json.loads(self.body).get("subject")
            if subject and fake.has_referrers:
                headers["OCI-Subject"] = subject["digest"]
            return self.reply(201, b"", headers)
        if (name, rest[0]) not in fake.manifests:
            return self.error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        if self.command == "DELETE":
            gone = fake.manifests[name, rest[0]]
            for key in [key for key, value in fake.manifests.items() if value == gone]:
                del fake.manifests[key]
            return self.reply(202)
        kind, raw = fake.manifests[name, rest[0]]
        return self.reply(200, raw, {"Content-Type": kind, "Docker-Content-Digest": sha256(raw)})

    def _blobs(self, name: str, rest: list[str], query: dict[str, str]) -> None:
        if rest[0] == "uploads":
            return self._uploads(name, rest[1:], query)
        data = self.fake.blobs.get(rest[0])
        if data is None:
            return self.error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        headers = {"ETag": f'"{rest[0]}"', "Content-Type": "application/octet-stream"}
        span = self.headers.get("Range", "")
        if span and self.headers.get("If-Range", headers["ETag"]) == headers["ETag"]:
            start = int(span.removeprefix("bytes=").partition("-")[0])
            if start >= len(data):
                return self.reply(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            return self.reply(206, data[start:], headers)
        return self.reply(200, data, headers)

    def _uploads(self, name: str, rest: list[str], query: dict[str, str]) -> None:
        fake = self.fake
        if self.command == "POST":
            if query.get("mount") in fake.blobs and query.get("from") == "other":
                return self.reply(201, b"", {"Location": f"/v2/{name}/blobs/{query['mount']}"})
            number = str(len(fake.uploads))
            fake.uploads[number] = bytearray()
            headers = {"Location": f"/v2/{name}/blobs/uploads/{number}?state=a%2Bb", "Range": "0-0"}
            return self.reply(202, b"", headers | ({"OCI-Chunk-Min-Length": str(fake.min_chunk)} if fake.min_chunk
                                                   else {}))
        data = fake.uploads.get(rest[0])
        if data is None or query.get("state") != "a+b":
            return self.error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown")
        where = {"Location": self.path.partition("&")[0]}
        if self.command == "DELETE":
            del fake.uploads[rest[0]]
            return self.reply(204)
        if self.command == "GET":
            return self.reply(204, b"", where | {"Range": f"0-{max(0, len(data) - 1)}"})
        if self.command == "PATCH" and not fake.chunks:
            return self.error(405, "UNSUPPORTED", "no chunks here")
        span = self.headers.get("Content-Range", "")
        if span and int(span.partition("-")[0]) != len(data):
            return self.reply(416, b"", where | {"Range": f"0-{max(0, len(data) - 1)}"})
        data += self.body
        if self.command == "PATCH":
            return self.reply(202, b"", where | {"Range": f"0-{len(data) - 1}"})
        if sha256(data) != query["digest"]:
            return self.error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        fake.blobs[query["digest"]] = bytes(data)
        return self.reply(201, b"", {"Location": f"/v2/{name}/blobs/{query['digest']}"})

    def _tags(self, name: str, _rest: list[str], query: dict[str, str]) -> None:
        fake = self.fake
        tags = sorted(tag for repository, tag in fake.manifests if repository == name and ":" not in tag)
        if not tags:
            return self.error(404, "NAME_UNKNOWN", "repository name not known to registry")
        tags = [tag for tag in tags if tag > query.get("last", "")]
        headers = {}
        if fake.page and len(tags) > fake.page:
            tags = tags[:fake.page]
            prefix = fake.url if len(fake.requests) % 2 else ""   # absolute and relative ones, in turn
            headers["Link"] = f'<{prefix}/v2/{name}/tags/list?n={fake.page}&last={tags[-1]}>; rel="next"'
        return self.reply(200, json.dumps({"name": name, "tags": tags}).encode(), headers)

    def _referrers(self, name: str, rest: list[str], _query: dict[str, str]) -> None:
        if not self.fake.has_referrers:
            return self.error(404, "UNSUPPORTED", "no such list")
        found = [{"mediaType": kind, "digest": key[1], "size": len(raw)}
                 for key, (kind, raw) in self.fake.manifests.items() if key[0] == name and ":" in key[1]
                 and (json.loads(raw).get("subject") or {}).get("digest") == rest[0]]
        kind = "application/vnd.oci.image.index.v1+json"
        index = {"schemaVersion": 2, "mediaType": kind, "manifests": found}
        return self.reply(200, json.dumps(index).encode(), {"Content-Type": kind})

    def reply(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        """Answer, with Content-Length unless it is given as something else."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(body)

    def error(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        """Answer with an error of the specification's form."""
        self.reply(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode(), headers)

    def hang_up(self) -> None:
        """Close the connection, after the data written so far."""
        self.wfile.flush()
        self.close_connection = True

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def status(code: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Action:
    """Answer with this status."""
    def act(handler: FakeHandler) -> None:
        handler.reply(code, body, headers)
        if handler.command == "PATCH":
            handler.hang_up()   # the body was not read
    return act


def redirect(url: str, code: int = 307) -> Action:
    """Send the client to the same path at another place, or to a URL that is complete."""
    def act(handler: FakeHandler) -> None:
        handler.reply(code, b"", {"Location": url + handler.path if url.count("/") == 2 else url})
    return act


def cut(count: int, *, chunked: bool = False, etag: str = "") -> Action:
    """Send only so many bytes of a blob, and close the connection."""
    def act(handler: FakeHandler) -> None:
        data = handler.fake.blobs[handler.path.rpartition("/")[2]]
        start = int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        handler.send_response(206 if start else 200)
        if etag:
            handler.send_header("ETag", etag)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Content-Length",
                                                                                str(len(data) - start))))
        handler.end_headers()
        part = data[start:start + count]
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part) if chunked and part else part)
        handler.hang_up()
    return act


def close(handler: FakeHandler) -> None:
    """Close the connection without an answer."""
    handler.hang_up()


def without_range(handler: FakeHandler) -> None:
    """Respond as to a request without a range."""
    del handler.headers["Range"]
    handler.serve()


def chunked(handler: FakeHandler) -> None:
    """Send all of a blob without Content-Length."""
    data = handler.fake.blobs[handler.path.rpartition("/")[2]]
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for start in range(0, len(data), 1000):
        part = data[start:start + 1000]
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
    handler.wfile.write(b"0\r\n\r\n")


def until_close(handler: FakeHandler) -> None:
    """Send all of a blob; the end of the connection is the end of the body."""
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.wfile.write(handler.fake.blobs[handler.path.rpartition("/")[2]])
    handler.hang_up()


def endless(handler: FakeHandler) -> None:
    """Send data until the client closes the connection."""
    handler.send_response(200)
    handler.send_header("Content-Type", OCI_MANIFEST)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
    except OSError:   # the client has closed the connection
        handler.close_connection = True


def stall(count: int) -> Action:
    """Send so many bytes of a blob, and then nothing, until the client goes away."""
    def act(handler: FakeHandler) -> None:
        data = handler.fake.blobs[handler.path.rpartition("/")[2]]
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[:count])
        handler.wfile.flush()
        idle(handler)
    return act


def trickle(head: bytes, piece: bytes) -> Action:
    """Send this, then the same small piece repeatedly, until the client closes the connection."""
    def act(handler: FakeHandler) -> None:
        handler.close_connection = True
        handler.connection.settimeout(0.02)
        handler.wfile.write(head)
        while True:
            try:
                handler.wfile.write(piece)
                handler.wfile.flush()
                if not handler.connection.recv(1):
                    return
            except TimeoutError:
                continue   # the client is still there
            except OSError:
                return
    return act


def idle(handler: FakeHandler) -> None:
    """Send nothing, until the client closes the connection."""
    handler.rfile.read(1)
    handler.close_connection = True
