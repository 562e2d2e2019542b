"""The client with real registries: interoperation with other clients, with the same digests."""

from __future__ import annotations

import io
import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from pyruntime.errors import DigestError, RegistryError
from pyruntime.images import media
from pyruntime.images.digest import of
from pyruntime.images.document import Descriptor, parse_manifest
from pyruntime.images.registry import login
from pyruntime.images.registry.client import Repository
from pyruntime.images.registry.credentials import Credentials, Login
from tests.images.integration.conftest import Client
from tests.images.integration.registries import PASSWORD, USER, Registry, TokenServer

LAYER = bytes(range(256)) * 20000   # 5 MB


class Sink:
    """A sink in memory."""

    def __init__(self) -> None:
        self.data = bytearray()

    @property
    def offset(self) -> int:
        return len(self.data)

    def write(self, view: memoryview) -> None:
        self.data += view

    def restart(self) -> None:
        self.data.clear()


@pytest.fixture(params=["plain", "tls", "token"])
def registry(request: pytest.FixtureRequest) -> Registry:
    """Each of the three registries."""
    made: Registry = request.getfixturevalue(f"{request.param}_registry")
    return made


def layout(directory: Path, layers: list[bytes]) -> tuple[dict[str, bytes], bytes]:
    """An OCI layout of one image, tagged "it"; its blobs, and its manifest."""
    config = json.dumps({"os": "linux", "architecture": "amd64",
                         "rootfs": {"type": "layers", "diff_ids": [of(layer) for layer in layers]}}).encode()
    entry = {"mediaType": media.OCI_CONFIG, "digest": of(config), "size": len(config)}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": media.OCI_MANIFEST, "config": entry, "layers": [
        {"mediaType": media.OCI_LAYER, "digest": of(layer), "size": len(layer)} for layer in layers]},
        indent=3).encode()
    blobs = {of(data): data for data in (config, *layers)}
    (directory / "blobs/sha256").mkdir(parents=True)
    for digest, data in {**blobs, of(manifest): manifest}.items():
        (directory / "blobs/sha256" / digest.partition(":")[2]).write_bytes(data)
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [
        {"mediaType": media.OCI_MANIFEST, "digest": of(manifest), "size": len(manifest),
         "annotations": {"org.opencontainers.image.ref.name": "it"}}]}))
    return blobs, manifest


def skopeo(*arguments: str) -> str:
    done = subprocess.run(["skopeo", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def push(repository: Repository, blobs: dict[str, bytes], manifest: bytes, tag: str, **options: Any) -> list[str]:
    found = []
    for entry in parse_manifest(manifest, media.OCI_MANIFEST).references():
        data = blobs[entry.digest]

        def open_at(offset: int, data: bytes = data) -> io.BytesIO:
            source = io.BytesIO(data)
            source.seek(offset)
            return source
        found.append(repository.push_blob(entry, open_at, **options))
    assert repository.push_manifest(manifest, media.OCI_MANIFEST, tag) == of(manifest)
    return found


def pull(repository: Repository, tag: str) -> tuple[dict[str, bytes], bytes]:
    raw, media_type, digest = repository.manifest(tag)
    assert digest == of(raw)
    blobs = {}
    for entry in parse_manifest(raw, media_type).references():
        sink = Sink()
        repository.fetch_blob(entry, sink)
        assert of(sink.data) == entry.digest
        blobs[entry.digest] = bytes(sink.data)
    return blobs, raw


def test_a_push_by_skopeo_can_be_pulled(registry: Registry, client: Client, tmp_path: Path) -> None:
    blobs, manifest = layout(tmp_path / "oci", [LAYER, b"small"])
    skopeo("copy", "--preserve-digests", *registry.skopeo("dest"), f"oci:{tmp_path}/oci:it", f"docker://{registry.host}/from/skopeo:1")
    assert pull(client.at(registry, "from/skopeo"), "1") == (blobs, manifest)


@pytest.mark.parametrize("chunk", [0, 1 << 20], ids=["whole", "chunks"])
def test_a_push_can_be_pulled_by_skopeo(registry: Registry, client: Client, tmp_path: Path, chunk: int) -> None:
    blobs, manifest = layout(tmp_path / "oci", [LAYER[chunk:], b"small"])
    repository = client.at(registry, f"ours/{chunk}", push=True)
    told: list[int] = []
    assert push(repository, blobs, manifest, "1", chunk=chunk, progress=told.append) == ["pushed"] * 3
    assert sum(told) == sum(map(len, blobs.values()))
    assert push(repository, blobs, manifest, "2") == ["exists"] * 3
    skopeo("copy", "--preserve-digests", *registry.skopeo("src"), f"docker://{registry.host}/ours/{chunk}:2",
           f"oci:{tmp_path}/back:it")
    for digest, data in {**blobs, of(manifest): manifest}.items():
        assert (tmp_path / "back/blobs/sha256" / digest.partition(":")[2]).read_bytes() == data
    assert sorted(repository.tags()) == ["1", "2"]


def test_a_blob_is_mounted_from_another_repository(registry: Registry, client: Client, tmp_path: Path) -> None:
    blobs, manifest = layout(tmp_path / "oci", [b"to be mounted"])
    push(client.at(registry, "first", push=True), blobs, manifest, "1")
    second = client.at(registry, "second", push=True)
    assert push(second, blobs, manifest, "1", mount_from="first") == ["mounted"] * 2
    third = client.at(registry, "third", push=True)
    assert push(third, blobs, manifest, "1", mount_from="nothing/here") == ["pushed"] * 2


def test_queries_and_deletion(registry: Registry, client: Client, tmp_path: Path) -> None:
    blobs, manifest = layout(tmp_path / "oci", [b"to be deleted"])
    repository = client.at(registry, "short", push=True)
    push(repository, blobs, manifest, "1")
    assert repository.head("1") == Descriptor(media.OCI_MANIFEST, of(manifest), len(manifest))
    assert repository.head("2") is None and repository.head(of(b"x")) is None
    assert repository.has_blob(of(b"to be deleted")) and not repository.has_blob(of(b"x"))
    repository.delete(of(manifest))
    assert repository.head("1") is None
    with pytest.raises(RegistryError, match="MANIFEST_UNKNOWN: manifest unknown") as caught:
        repository.manifest("1")
    assert caught.value.status == 404


def test_part_of_a_blob(registry: Registry, client: Client, tmp_path: Path) -> None:
    blobs, manifest = layout(tmp_path / "oci", [LAYER])
    repository = client.at(registry, "part", push=True)
    push(repository, blobs, manifest, "1")
    body = repository.blob(Descriptor(media.OCI_LAYER, of(LAYER), len(LAYER)), 1000)
    assert (body.offset, body.length) == (1000, len(LAYER) - 1000)
    assert body.read(3) == LAYER[1000:1003]
    body.close()


def test_referrers_are_kept_under_a_tag(plain_registry: Registry, client: Client, tmp_path: Path) -> None:
    """docker-registry 2.8 has no API for them."""
    blobs, manifest = layout(tmp_path / "oci", [b"subject"])
    repository = client.at(plain_registry, "referred", push=True)
    push(repository, blobs, manifest, "1")
    about = json.loads(manifest) | {"artifactType": "application/x-sbom", "annotations": {"a": "b"},
                                    "subject": {"mediaType": media.OCI_MANIFEST, "digest": of(manifest),
                                                "size": len(manifest)}}
    raws = [json.dumps(about | {"annotations": {"a": text}}).encode() for text in "bc"]
    for raw in (*raws, raws[0]):
        repository.push_manifest(raw, media.OCI_MANIFEST, of(raw))
    found = repository.referrers(of(manifest))
    assert [(entry.digest, entry.extra["artifactType"], entry.annotations) for entry in found] == [
        (of(raw), "application/x-sbom", {"a": text}) for raw, text in zip(raws, "bc", strict=True)]
    assert repository.referrers(of(manifest), "other") == [] and repository.referrers(of(b"x")) == []
    repository.delete(of(raws[0]))
    assert [entry.digest for entry in repository.referrers(of(manifest))] == [of(raws[1])]


def test_the_registrys_address_decides_about_http(plain_registry: Registry, tls_registry: Registry, client: Client
                                                  ) -> None:
    with pytest.raises(RegistryError, match="its certificate is not trusted"):
        client.open(f"{tls_registry.host}/x", login=tls_registry.login).tags()
    with pytest.raises(RegistryError, match="NAME_UNKNOWN"):
        client.open(f"{tls_registry.host}/x", login=tls_registry.login, insecure=True).tags()
    with pytest.raises(RegistryError, match="NAME_UNKNOWN"):
        client.open(f"{plain_registry.host}/x", insecure=True).tags()


def test_anonymous_requests_get_a_remedy(tls_registry: Registry, token_registry: Registry, client: Client
                                                 ) -> None:
    with pytest.raises(RegistryError, match="authentication required; log in first"):
        client.at(tls_registry, "x", login=None).tags()
    with pytest.raises(RegistryError, match="user name or password is wrong"):
        client.at(tls_registry, "x", login=(USER, "nonsense")).tags()
    with pytest.raises(RegistryError, match="or needs a login"):
        client.at(token_registry, "private/x", login=None).tags()
    with pytest.raises(RegistryError, match="user name or password is wrong"):
        client.at(token_registry, "x", login=(USER, "nonsense")).tags()
    with pytest.raises(RegistryError, match="needs a login"):
        client.at(token_registry, "x", login=None, push=True).push_manifest(b"{}", media.OCI_MANIFEST, "1")


def test_one_token_serves_many_requests_and_threads(token_registry: Registry, tokens: TokenServer, client: Client,
                                                    tmp_path: Path) -> None:
    blobs, manifest = layout(tmp_path / "oci", [bytes([number]) * 100000 for number in range(8)])
    push(client.at(token_registry, "many", push=True), blobs, manifest, "1")
    tokens.asked.clear()
    repository = client.at(token_registry, "many")
    raw, media_type, _ = repository.manifest("1")
    sinks = [(entry, Sink()) for entry in parse_manifest(raw, media_type).layers]
    threads = [threading.Thread(target=repository.fetch_blob, args=pair) for pair in sinks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(of(sink.data) == entry.digest for entry, sink in sinks)
    assert len(tokens.asked) == 1 and tokens.asked[0][1]["scope"] == ["repository:many:pull"]


def test_an_expired_token_is_replaced(token_registry: Registry, tokens: TokenServer, client: Client,
                                          tmp_path: Path) -> None:
    """The registry accepts a token for a minute after it has expired; by the token server, it expired long ago."""
    blobs, manifest = layout(tmp_path / "oci", [b"late"])
    push(client.at(token_registry, "late", push=True), blobs, manifest, "1")
    tokens.expiry = -120
    repository = client.at(token_registry, "late")
    with pytest.raises(RegistryError):
        repository.manifest("1")
    tokens.expiry = 60
    tokens.asked.clear()
    assert repository.manifest("1")[0] == manifest   # the cached token is refused, and a new one requested
    assert len(tokens.asked) == 1


@pytest.mark.parametrize("refused", [400, 401, 404, 405])
def test_identity_tokens_are_posted_or_shown(token_registry: Registry, tokens: TokenServer, client: Client,
                                             refused: int) -> None:
    me = Login(USER, identity_token="an identity")
    with pytest.raises(RegistryError, match="NAME_UNKNOWN"):
        client.at(token_registry, "private/x", login=me).tags()
    assert [(how, query["grant_type"]) for how, query, _ in tokens.asked] == [("POST", ["refresh_token"])]
    tokens.asked.clear()
    tokens.statuses["POST"] = refused
    with pytest.raises(RegistryError, match="NAME_UNKNOWN"):
        client.at(token_registry, "private/x", login=me).tags()
    assert [how for how, _, _ in tokens.asked] == ["POST", "GET"]


@pytest.mark.parametrize("refused", [400, 404, 405])
def test_passwords_are_posted_without_get(token_registry: Registry, tokens: TokenServer, client: Client,
                                                   refused: int) -> None:
    tokens.statuses["GET"] = refused
    with pytest.raises(RegistryError, match="NAME_UNKNOWN"):
        client.at(token_registry, "private/x").tags()
    assert [how for how, _, _ in tokens.asked] == ["GET", "POST"]


def test_a_login_is_checked_first(registry: Registry, client: Client, tmp_path: Path) -> None:
    authfile = str(tmp_path / "auth.json")
    settings = client.settings(cert_dir=registry.cert_dir)
    if registry.login:
        with pytest.raises(RegistryError, match="is wrong"):
            login.login(registry.host, USER, "nonsense", settings=settings, authfile=authfile)
        assert not Path(authfile).exists()
    assert login.login(registry.host, USER, PASSWORD, settings=settings, authfile=authfile) == authfile
    credentials = Credentials(authfile=authfile)
    found = credentials.find(f"{registry.host}/x")
    assert found and (found.username, found.password) == (USER, PASSWORD)
    options = [f"--cert-dir={registry.cert_dir}"] if registry.cert_dir else ["--tls-verify=false"]
    assert skopeo("login", *options, f"--authfile={authfile}", "--get-login", registry.host).strip() == USER


def test_wrong_content_of_a_mirror_is_detected(plain_registry: Registry, client: Client) -> None:
    repository = client.at(plain_registry, "x", push=True)
    with pytest.raises(DigestError, match="its content is sha256:"):
        repository.push_manifest(b"{}", media.OCI_MANIFEST, of(b"something else"))
