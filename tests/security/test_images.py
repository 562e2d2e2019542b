"""Attacks by hostile images, archives and registries on pull, load and unpack."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bundles.images import Layout
from pyruntime.images.registry.http import Transport
from pyruntime.images.registry.settings import RegistrySettings
from tests.commands import BIN
from tests.images.integration.command import Pyimage
from tests.images.integration.hostile import directory, file, hardlink, header, symlink, tar
from tests.images.integration.registries import (
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    Authority,
    FakeRegistry,
    redirect,
    sha256,
    status,
)
from tests.images.integration.test_hostile_command import diff_id
from tests.security.conftest import SECRET, Outside

INDEX = "application/vnd.oci.image.index.v1+json"
FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"


def layout_of(path: Path, layers: list[bytes], **config: object) -> Path:
    """An image layout with "example.org/hostile:1" and layers of arbitrary bytes."""
    layout = Layout(path)
    described = [(layout.blob(layer, OCI_LAYER + ("+gzip" if layer[:2] == b"\x1f\x8b" else "")), diff_id(layer))
                 for layer in layers]
    layout.image("example.org/hostile:1", described, Cmd=["x"], **config)
    return path


# --- layers -----------------------------------------------------------------------------------------------------------

# Entries of the upper layer; the lower layer has a symbolic link "out" to a directory of the host.
THROUGH_A_LINK = {
    "write": file(b"out/canary", b"overwritten"), "create": file(b"out/new"), "remove": file(b"out/.wh.canary", b""),
    "empty": file(b"out/.wh..wh..opq", b""), "chmod": directory(b"out", b"0000777"),
    "chmod below": directory(b"out/empty", b"0000777"), "link to": hardlink(b"stolen", b"out/canary"),
    "link into": file(b"f") + hardlink(b"out/canary", b"f"), "owner": file(b"out/canary", uid=b"0001750")}


@pytest.mark.parametrize("driver", ["overlay", "copy"])
@pytest.mark.parametrize("attack", THROUGH_A_LINK)
def test_a_layer_writes_through_a_link_of_another(attack: str, driver: str, pyimage: Pyimage, outside: Outside,
                                                  tmp_path: Path) -> None:
    """CVE-2014-6407, CVE-2014-9356 (Docker), CVE-2020-10696 (Buildah), CVE-2021-32760 (containerd, modes of files):
    links of an image are resolved in the image; no file of the host is written, removed, linked or changed."""
    for target in (str(outside.path), "../" * 30 + str(outside.path)[1:]):
        lower = tar(symlink(b"out", target.encode()))
        layout = layout_of(tmp_path / f"layout{len(target)}", [lower, tar(THROUGH_A_LINK[attack])])
        if pyimage("load", "-q", "-i", layout).returncode == 0:
            bundle = tmp_path / f"bundle{len(target)}"
            if pyimage("unpack", "--driver", driver, "example.org/hostile:1", bundle).returncode == 0:
                read = [path.read_text(errors="replace") for path in (bundle / "rootfs").rglob("*")
                        if path.is_file() and not path.is_symlink()]
                assert SECRET not in read
                pyimage.ok("umount", "--remove", bundle)
            pyimage.ok("rm", "example.org/hostile:1")
        outside.check()


OUT_OF_THE_ROOT: dict[str, Callable[[bytes], bytes]] = {
    "root is a link": lambda away: tar(symlink(b"/.", away), file(b"canary")),
    "up": lambda away: tar(file(b"../" * 20 + away[1:] + b"/canary")),
    "up by a link": lambda away: tar(file(b"x"), hardlink(b"h", b"../" * 20 + away[1:] + b"/canary")),
    "whiteout above": lambda away: tar(file(b"../" * 20 + away[1:] + b"/.wh.canary", b""))}


@pytest.mark.parametrize("attack", OUT_OF_THE_ROOT)
def test_layers_with_paths_outside_their_directory(attack: str, pyimage: Pyimage, outside: Outside,
                                                   tmp_path: Path) -> None:
    """CVE-2021-29136 (umoci: "." is a symbolic link), CVE-2014-9356, and "zip slip": refused as a whole."""
    layer = OUT_OF_THE_ROOT[attack](str(outside.path).encode())
    said = pyimage.fails("load", "-q", "-i", layout_of(tmp_path / "layout", [layer]))
    assert "root" in said or '".."' in said
    assert list((pyimage.store / "layers").iterdir()) == []


def test_a_decompression_bomb(pyimage: Pyimage, tmp_path: Path) -> None:
    """CVE-2014-9357 (Docker: decompression without limits), CVE-2017-14992 (Docker: gzip bomb in load and pull)."""
    bomb = gzip.compress(header(b"bomb", b"0", 64 << 20) + bytes(64 << 20) + bytes(1024))
    assert len(bomb) < 1 << 20
    pyimage.ok("load", "-q", "--no-extract", "-i", layout_of(tmp_path / "layout", [bomb]))
    said = pyimage.fails("unpack", "--max-size", "1M", "example.org/hostile:1", tmp_path / "bundle")
    assert "maximum size" in said and not (tmp_path / "bundle").exists()


# --- documents --------------------------------------------------------------------------------------------------------

DIGESTS = ["sha256:" + "../" * 8 + "outside/canary", "sha256:..", "../../outside", "sha256:" + "0" * 63 + "/",
           "sha256:" + "A" * 64, "sha256:", "sha256:" + "0" * 64 + "/../../../outside/new", ""]


@pytest.mark.parametrize("digest", DIGESTS)
def test_digests_that_are_paths(digest: str, pyimage: Pyimage, fake: FakeRegistry, outside: Outside, tmp_path: Path
                                ) -> None:
    """CVE-2024-3727 (containers/image: unvalidated digests became paths and URLs): each is refused before
    it is used in a request or a path."""
    for place in ("config", "layer"):
        config = json.dumps({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}})
        fake.blobs[sha256(config.encode())] = config.encode()
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {
            "mediaType": OCI_CONFIG, "digest": digest if place == "config" else sha256(config.encode()),
            "size": len(config)}, "layers": [{"mediaType": OCI_LAYER, "digest": digest, "size": len(config)}]}
        fake.add_manifest("app", "1", OCI_MANIFEST, json.dumps(manifest).encode())
        assert "digest" in pyimage.fails("pull", "-q", f"{fake.host}/app:1")
        assert "digest" in pyimage.fails("copy", f"docker://{fake.host}/app:1", f"dir:{tmp_path}/copy")
        assert not any(".." in path or path.endswith("blobs/") for _, path, _ in fake.requests)
    for mark in ("refs", "blob"):   # and in an image layout
        layout = layout_of(tmp_path / f"layout-{mark}", [tar(file(b"f"))])
        index = json.loads((layout / "index.json").read_text())
        index["manifests"][0]["digest"] = digest
        (layout / "index.json").write_text(json.dumps(index))
        pyimage.fails("load", "-q", "-i", layout)
    assert pyimage.blobs() == set()


@pytest.mark.parametrize("kind", [OCI_MANIFEST, INDEX, "application/json"])
@pytest.mark.parametrize("claimed", [OCI_MANIFEST, INDEX, ""])
def test_a_document_that_is_manifest_and_index(kind: str, claimed: str, pyimage: Pyimage, fake: FakeRegistry) -> None:
    """CVE-2021-41190, and GHSA-77vh-xpmg-72qh of the specifications: a document that can be read as a manifest and as
    an index, under one digest, is refused."""
    manifest = fake.add_image("app", "good")
    inner = fake.manifests["app", "good"][1]
    both = {**manifest, "manifests": [{"mediaType": OCI_MANIFEST, "digest": sha256(inner), "size": len(inner),
                                       "platform": {"os": "linux", "architecture": "amd64"}}]}
    both = {**both, "mediaType": claimed} if claimed else {key: both[key] for key in both if key != "mediaType"}
    fake.add_manifest("app", "1", kind, json.dumps(both).encode())
    assert fake.host in pyimage.fails("pull", "-q", f"{fake.host}/app:1")
    assert not pyimage.ok("ls", "-q")


@pytest.mark.parametrize("raw", [
    b"", b"null", b"[]", b"{}", b"[" * 100000, b'{"schemaVersion":2}',
    b'{"schemaVersion":2,"config":null,"layers":null}',
    b'{"schemaVersion":2,"config":{},"layers":[null]}', b'{"schemaVersion":2,"config":[],"layers":{}}',
    b'{"schemaVersion":1,"fsLayers":[{"blobSum":null}],"history":[]}', b"\xff\xfe", b'{"a":' + b"9" * 100000 + b"}"])
def test_malformed_manifests(raw: bytes, pyimage: Pyimage, fake: FakeRegistry) -> None:
    """CVE-2021-21285 (Docker: a malformed manifest crashed the daemon): an error that names the registry."""
    fake.add_manifest("app", "1", OCI_MANIFEST, raw)
    said = pyimage.fails("pull", "-q", f"{fake.host}/app:1")
    assert said.startswith("error: ") and fake.host in said and len(said) < 2000


@pytest.mark.parametrize("name", ["index.json", "oci-layout", "manifest.json"])
def test_documents_of_archives_have_a_limit(name: str, pyimage: Pyimage, tmp_path: Path) -> None:
    """CVE-2023-25153 (containerd: an index of any size was read into memory), CVE-2020-1702 (Podman)."""
    path = tmp_path / "archive.tar"
    with tarfile.open(path, "w") as archive:
        for member in {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": b"{}"}.items():
            if member[0] != name and name != "manifest.json":
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
        info = tarfile.TarInfo(name)
        info.size = 256 << 20
        with open("/dev/zero", "rb") as zeros:
            archive.addfile(info, zeros)
    code = ("import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (400 << 20,) * 2)\n"
            "from pyruntime.images.cli.main import main\nsys.exit(main())")
    done = subprocess.run([sys.executable, "-c", code, "--root", pyimage.store, "load", "-q", "-i", path],
                          capture_output=True, text=True, check=False, env=pyimage.environment, timeout=120)
    assert done.returncode == 1 and name in done.stderr and "the limit is" in done.stderr, done.stderr


# --- registries -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["Basic realm=\"x\"", "Bearer realm=\"{realm}\",service=\"s\",scope=\"s\""])
def test_a_foreign_layer_asks_for_credentials(scheme: str, pyimage: Pyimage, fake: FakeRegistry,
                                              fakes: Callable[..., FakeRegistry]) -> None:
    """CVE-2020-15157 (containerd): the URL of a foreign layer returns 401. The challenge is not answered."""
    elsewhere, realm = fakes(), fakes()
    manifest = fake.add_image("app", "1")
    manifest["layers"][0] |= {"mediaType": FOREIGN, "urls": [f"{elsewhere.url}/layer"]}
    fake.add_manifest("app", "1", OCI_MANIFEST, json.dumps(manifest).encode())
    for server in (fake, elsewhere):
        challenge = scheme.format(realm=f"{realm.url}/token")
        server.fault("GET", "layer" if server is elsewhere else manifest["layers"][0]["digest"],
                     status(401, {"WWW-Authenticate": challenge}) if server is elsewhere else status(404), times=99)
    pyimage.fails("pull", "-q", "--creds", "user:secret", f"{fake.host}/app:1")
    assert elsewhere.asked("GET", "layer") and not realm.requests
    assert not any("Authorization" in headers for _, _, headers in elsewhere.requests)


def test_a_realm_without_encryption(pyimage: Pyimage, authority: Authority, fakes: Callable[..., FakeRegistry]
                                    ) -> None:
    """CVE-2019-10214 (containers/image): a registry with TLS sends its users' passwords to a realm
    without TLS. No request is sent to the realm."""
    secure, realm = fakes(authority), fakes()
    challenge = f'Bearer realm="{realm.url}/token",service="s"'
    secure.fault("", "/v2/", status(401, {"WWW-Authenticate": challenge}), times=99)
    said = pyimage.fails("pull", "-q", "--creds", "user:secret", "--cert-dir", authority.directory,
                         secure.host.replace("127.0.0.1", "localhost") + "/app:1")
    assert "not encrypted" in said and not realm.requests


def test_no_fallback_from_https() -> None:
    """CVE-2014-5277 (Docker: fallback to HTTP): remote registries are only contacted by HTTPS, even after a failure."""
    transport = Transport(RegistrySettings(environ={}))
    for host in ("registry.example", "registry.example:80", "192.0.2.1:5000", "127.0.0.1.example:5000"):
        assert transport.base(host, insecure=False).scheme == "https"
    transport.close()


def test_messages_contain_no_secrets(pyimage: Pyimage, fake: FakeRegistry, fakes: Callable[..., FakeRegistry]) -> None:
    """CVE-2019-13509 (Docker: secrets in debug messages): passwords, tokens and signatures of URLs are neither in debug
    messages nor in errors."""
    storage = fakes()
    fake.add_image("app", "1")
    fake.fault("", "/v2/app", status(401, {"WWW-Authenticate": f'Bearer realm="{fake.url}/token",service="s"'}))
    fake.fault("GET", "/token", status(200, None, b'{"token":"a-token-of-the-registry","expires_in":60}'), times=9)
    fake.fault("GET", "blobs/", redirect(f"{storage.url}/blob?X-Signature=a-signature", 307), times=9)
    words = ("--debug", "pull", "--retries", "0", "--creds", "user:a-password", f"{fake.host}/app:1")
    done = pyimage(*words)
    assert done.returncode == 1 and storage.asked("GET") and fake.asked("GET", "/token"), done.stderr
    for secret in ("a-password", "a-token", "a-signature", "dXNlcjph"):
        assert secret not in done.stdout + done.stderr


# --- files on disk --------------------------------------------------------------------------------------------------


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user can enter, like /var/lib."""
    path = Path(tempfile.mkdtemp(prefix="security-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    for target in reversed([line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]):
        if target.startswith(f"{path}/"):
            subprocess.run(["umount", target], check=True)
    shutil.rmtree(path)


def test_files_of_images_are_out_of_reach_of_other_users(public: Path) -> None:
    """CVE-2021-41091 (Docker: users of the host ran set-user-ID programs of containers below /var/lib/docker): no user
    but the store's owner can access a layer, a bundle, a container or a volume."""
    environment = {**os.environ, "POCKER_ROOT": f"{public}/root", "POCKER_RUN": f"{public}/run",
                   "PYRUNTIME_STORE": f"{public}/store"}
    layer = tar(directory(b"bin"), file(b"bin/tool", Path("/bin/busybox").read_bytes(), mode=b"0006755"),
                directory(b"data"), file(b"data/tool", Path("/bin/busybox").read_bytes(), mode=b"0006755"))

    def ok(program: str, *words: object) -> None:
        subprocess.run([BIN / program, *map(str, words)], env=environment, check=True, capture_output=True, text=True)
    ok("pyimage", "load", "-q", "-i", layout_of(public / "layout", [layer], Volumes={"/data": {}}))
    shutil.rmtree(public / "layout")
    ok("pyimage", "unpack", "example.org/hostile:1", public / "bundle")
    ok("pocker", "run", "-d", "--name", "it", "--network", "none", "example.org/hostile:1", "/bin/tool", "sleep", "99")
    try:
        search = subprocess.run(["find", public, "-name", "tool"], capture_output=True, text=True, check=True)
        found = search.stdout.split()
        assert len(found) >= 3, "a layer, the bundle and a volume"
        user = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups"]
        for path in found:
            assert subprocess.run([*user, "test", "-e", path], check=False).returncode != 0, path
        seen = subprocess.run([*user, "find", public, "-type", "f"], capture_output=True, text=True, check=False).stdout
        assert seen == ""
    finally:
        ok("pocker", "rm", "-f", "-v", "it")
