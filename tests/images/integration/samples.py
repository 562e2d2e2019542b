"""Images for tests of the command, created without pyruntime: an image layout with several of them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

OCI = "application/vnd.oci.image."
INDEX, MANIFEST, CONFIG = OCI + "index.v1+json", OCI + "manifest.v1+json", OCI + "config.v1+json"
LAYER = OCI + "layer.v1.tar"
DOCKER = "application/vnd.docker."
DOCKER_MANIFEST, DOCKER_CONFIG = DOCKER + "distribution.manifest.v2+json", DOCKER + "container.image.v1+json"
DOCKER_LAYER = DOCKER + "image.rootfs.diff.tar"
HOST = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
OTHER = "arm64" if HOST == "amd64" else "amd64"
Entry = bytes | str | None   # content; "-> target"; None for a directory
Json = dict[str, Any]


def digest_of(data: bytes) -> str:
    """The digest of these bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar(entries: dict[str, Entry]) -> bytes:
    """A layer's archive; files in bin/ are executable."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            info.mtime = 1_000_000_000
            info.mode = 0o755 if content is None or "bin/" in name else 0o644
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content.removeprefix("-> ")
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return out.getvalue()


BUSYBOX: dict[str, Entry] = {
    "bin/": None, "bin/busybox": Path("/bin/busybox").read_bytes(),
    **{f"bin/{name}": "-> busybox" for name in ("sh", "echo", "cat", "ls", "id", "touch", "rm", "sleep", "true")},
    "etc/": None, "etc/passwd": b"root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n",
    "etc/group": b"root:x:0:\nuser:x:1000:\nextra:x:7:user\n", "tmp/": None, "proc/": None, "sys/": None, "dev/": None,
    "old": b"of the first layer", "data/": None, "data/kept": b"kept"}
SECOND: dict[str, Entry] = {".wh.old": b"", "data/": None, "data/more": b"more", "etc/": None, "etc/second": b"2"}


class Samples:
    """An image layout in ``path``; ``image``, ``index`` and ``name`` add to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[Json] = []
        (path / "blobs/sha256").mkdir(parents=True)
        (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def blob(self, data: bytes, media_type: str) -> Json:
        """Keep a blob; its descriptor."""
        (self.path / "blobs/sha256" / digest_of(data)[7:]).write_bytes(data)
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}

    def read(self, digest: str) -> bytes:
        """A blob's bytes."""
        return (self.path / "blobs/sha256" / digest[7:]).read_bytes()

    def document(self, digest: str) -> Any:
        """A blob that is JSON."""
        return json.loads(self.read(digest))

    def image(self, *layers: dict[str, Entry], architecture: str = HOST, docker: bool = False, compress: bool = True,
              created: str = "2024-01-01T00:00:00Z", **config: Any) -> Json:
        """An image of these layers, with these members of its ``config``; its manifest's descriptor."""
        archives = [tar(layer) for layer in layers]
        history: list[Json] = [{"created": created, "created_by": f"ADD layer {number}"}
                               for number in range(len(layers))]
        history.append({"created": created, "created_by": "ENV a=b", "empty_layer": True, "comment": "a comment"})
        document: Json = {"architecture": architecture, "os": "linux", "created": created, "author": "somebody",
                    "config": {"Cmd": ["sh"], "Env": ["PATH=/bin", "A=b"], "Labels": {"label": "value"}, **config},
                    "rootfs": {"type": "layers", "diff_ids": list(map(digest_of, archives))}, "history": history}
        suffix = (".gzip" if docker else "+gzip") if compress else ""
        kind = (DOCKER_LAYER if docker else LAYER) + suffix
        blobs = [self.blob(gzip.compress(archive, 6, mtime=0) if compress else archive, kind) for archive in archives]
        manifest: Json = {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST if docker else MANIFEST, "layers": blobs,
                    "config": self.blob(json.dumps(document).encode(), DOCKER_CONFIG if docker else CONFIG)}
        return self.blob(json.dumps(manifest, indent=3).encode(), str(manifest["mediaType"]))

    def index(self, *manifests: Json) -> Json:
        """An index of these manifests, with an attestation as BuildKit adds one; its descriptor."""
        statement = self.blob(b'{"_type": "https://in-toto.io/Statement/v0.1"}', "application/vnd.in-toto+json")
        empty = self.blob(json.dumps({"architecture": "unknown", "os": "unknown", "config": {}, "rootfs": {
            "type": "layers", "diff_ids": [statement["digest"]]}}).encode(), CONFIG)
        attestation = self.blob(json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": empty,
                                            "layers": [statement]}).encode(), MANIFEST)
        for number, manifest in enumerate(manifests):
            config = self.document(self.document(manifest["digest"])["config"]["digest"])
            manifests[number]["platform"] = {"os": "linux", "architecture": config["architecture"]}
        unknown = {**attestation, "platform": {"os": "unknown", "architecture": "unknown"}, "annotations": {
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": manifests[0]["digest"]}}
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*manifests, unknown]}
        return self.blob(json.dumps(index, indent=1).encode(), INDEX)

    def name(self, descriptor: Json, name: str) -> str:
        """Add an entry to index.json under a name; its digest."""
        bare = {key: descriptor[key] for key in ("mediaType", "digest", "size")}
        self.entries.append({**bare, "annotations": {"org.opencontainers.image.ref.name": name}} if name else bare)
        (self.path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": self.entries}))
        return str(descriptor["digest"])


def samples(path: Path) -> dict[str, str]:
    """A layout with "busy:1" (two layers), "dock:1" (the same, of Docker's types) and "multi:1" (an index of two
    architectures and an attestation); name -> digest."""
    made = Samples(path)
    busy = made.image(BUSYBOX, SECOND, StopSignal="SIGQUIT", ExposedPorts={"80/tcp": {}})
    dock = made.image(BUSYBOX, SECOND, docker=True)
    other = made.image({"only-" + OTHER: b"x"}, architecture=OTHER)
    host = made.image(BUSYBOX, {"only-" + HOST: b"x"})
    found = {"docker.io/library/busy:1": busy, "docker.io/library/dock:1": dock,
             "docker.io/library/multi:1": made.index(other, host)}
    digests = {name.rpartition("/")[2]: made.name(descriptor, name) for name, descriptor in found.items()}
    return {**digests, HOST: host["digest"], OTHER: other["digest"]}


def blobs_of(path: Path, digest: str) -> set[str]:
    """The digests of an image and of everything that it consists of, in a layout."""
    document = json.loads((path / "blobs/sha256" / digest[7:]).read_bytes())
    found = {digest}
    for child in document.get("manifests", []):
        found |= blobs_of(path, child["digest"])
    below = document.get("layers", []) + ([document["config"]] if "config" in document else [])
    return found | {blob["digest"] for blob in below}
