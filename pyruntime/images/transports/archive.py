"""``oci-archive:FILE`` and ``docker-archive:FILE`` (`docker save`): images in one tar archive.

Written archives are image layouts with Docker's ``manifest.json`` beside index.json, like those of `docker save` since
version 25: OCI tools read index.json, `docker load` and podman manifest.json, and an index is kept byte for byte. An
``oci-archive:`` has no manifest.json. Members have no times and owners: the same images give the same archive.

Older archives can be read: manifest.json alone, with layers of any name, compressed or not.
"""

from __future__ import annotations

import os

from pyruntime.errors import ConfigError, ImageError, Problem
from pyruntime.images import media
from pyruntime.images.digest import Verifier, of
from pyruntime.images.document import MAX_DOCUMENT, Descriptor, parse_manifest
from pyruntime.images.transports.base import PIECE, Source, Target
from pyruntime.images.transports.layout import FULL_NAME, REF_NAME, VERSION, blob_name
from pyruntime.system.json import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, Any

    from pyruntime.images.transports.base import Body
    from pyruntime.images.transports.files import NamedFiles

_BLOCK = 512


def is_legacy(files: NamedFiles) -> bool:
    """Whether the archive is of the older kind, not an image layout."""
    return files.size("index.json") < 0 and files.size("manifest.json") >= 0


def docker_names(files: NamedFiles) -> dict[str, list[str]]:
    """Config digest -> its names in manifest.json; empty without manifest.json."""
    found: dict[str, list[str]] = {}
    for entry in _docker_entries(files):
        config = files.read(entry["Config"], MAX_DOCUMENT)
        if config is not None:
            found[of(config)] = list(entry.get("RepoTags") or [])
    return found


def _docker_entries(files: NamedFiles) -> list[dict[str, Any]]:
    raw = files.read("manifest.json", MAX_DOCUMENT)
    if raw is None:
        return []
    name = f"{files.label}: manifest.json"
    document = decode(raw, name)
    problems = []
    for number, entry in enumerate(document if isinstance(document, list) else [document]):
        if not isinstance(entry, dict) or not isinstance(entry.get("Config"), str):
            problems.append(Problem(f"[{number}].Config", "expected the name of a member"))
            continue
        for key in ("Layers", "RepoTags"):
            texts = entry.get(key) or []
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                problems.append(Problem(f"[{number}].{key}", "expected a list of strings"))
    if problems or not isinstance(document, list):
        raise ConfigError(name, problems or [Problem("", "expected a list")])
    return document


class LegacySource(Source):
    """An image in an archive of the older kind. Its manifest is generated, because the archive has none."""

    def __init__(self, files: NamedFiles, entry: dict[str, Any]) -> None:
        super().__init__()
        self.label = files.label
        self.names = list(entry.get("RepoTags") or [])
        self._files = files
        self._entry = entry
        self._members: dict[str, str] = {}   # digest -> member

    def root(self) -> tuple[bytes, str]:
        """A generated manifest of Docker's schema 2."""
        config = self._descriptor(self._entry["Config"], media.DOCKER_CONFIG)
        layers = [self._layer(name) for name in self._entry.get("Layers") or []]
        raw = encode({"schemaVersion": 2, "mediaType": media.DOCKER_MANIFEST, "config": config.json(),
                      "layers": [layer.json() for layer in layers]}).encode()
        return raw, media.DOCKER_MANIFEST

    def _descriptor(self, name: str, media_type: str) -> Descriptor:
        import hashlib  # lazy: only for archives

        body, digest, size = self._files.open(name), hashlib.sha256(), 0
        try:
            while data := body.read(PIECE):
                digest.update(data)
                size += len(data)
        finally:
            body.close()
        found = f"sha256:{digest.hexdigest()}"
        self._members[found] = name
        return Descriptor(media_type, found, size)

    def _layer(self, name: str) -> Descriptor:
        from pyruntime.images.layers.compression import kind_of  # lazy: only for archives

        body = self._files.open(name)
        try:
            compression = kind_of(body.read(PIECE))
        finally:
            body.close()
        return self._descriptor(name, media.layer_type(compression, docker=True))

    def open(self, descriptor: Descriptor, offset: int = 0) -> Body:
        """The content of a blob, starting at ``offset``."""
        return self._files.open(self._members[descriptor.digest], offset)

    def close(self) -> None:
        """Close the archive."""
        self._files.close()


def legacy_sources(files: NamedFiles) -> list[LegacySource]:
    """The images of an archive of the older kind."""
    return [LegacySource(files, entry) for entry in _docker_entries(files)]


class _Member:
    """A member that is being written: a source fetches directly into the archive."""

    def __init__(self, file: IO[bytes], descriptor: Descriptor, label: str) -> None:
        self._file = file
        self._descriptor = descriptor
        self._label = label
        self._start = file.tell() if file.seekable() else -1
        self._verifier = Verifier(descriptor.digest, descriptor.size)
        self.offset = 0

    def write(self, data: bytes | memoryview) -> None:
        """Write the next bytes."""
        self._verifier.update(data)
        self._file.write(data)
        self.offset = self._verifier.seen

    def restart(self) -> None:
        """Discard the content, which is impossible in a pipe."""
        if self._start < 0:
            raise ImageError(f"{self._label}: the transfer of {self._descriptor.digest} failed, and a pipe cannot be"
                             " rewound: write to a file")
        self._file.seek(self._start)
        self._file.truncate()
        self._verifier = Verifier(self._descriptor.digest, self._descriptor.size)
        self.offset = 0

    def done(self) -> None:
        """Verify the content."""
        self._verifier.done()


class ArchiveTarget(Target):
    """An archive that is being written; ``-`` is standard output. ``docker``: with manifest.json."""

    parallel = False

    def __init__(self, path: str, name: str = "", *, docker: bool) -> None:
        self.label = "standard output" if path == "-" else path
        self._path = path
        self.name = name
        self._docker = docker
        self._temporary = "" if path == "-" or not _ordinary(path) else f"{path}.{os.getpid()}.partial"
        try:
            self._file: IO[bytes] = os.fdopen(os.dup(1), "wb") if path == "-" else open(   # noqa: SIM115
                self._temporary or path, "wb")
        except OSError as error:
            raise ImageError(f'cannot write "{path}": {error.strerror}') from None
        self._written: dict[str, int] = {}
        self._roots: list[Descriptor] = []
        self._manifests: dict[str, bytes] = {}   # of images, for manifest.json: digest -> raw
        self._configs: dict[str, list[str]] = {}   # manifest digest -> names

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the blob has been written: images share layers."""
        return descriptor.digest in self._written

    def _header(self, name: str, size: int) -> None:
        import tarfile  # lazy: only for archives

        info = tarfile.TarInfo(name)
        info.size = size
        info.mode = 0o644
        self._file.write(info.tobuf(tarfile.GNU_FORMAT))

    def _pad(self, size: int) -> None:
        self._file.write(bytes(-size % _BLOCK))

    def blob(self, descriptor: Descriptor, source: Source, advance: Callable[[int], None]) -> str:
        """Write a blob."""
        self._header(blob_name(descriptor.digest), descriptor.size)
        member = _Member(self._file, descriptor, self.label)
        source.fetch(descriptor, member, advance)
        member.done()
        self._pad(descriptor.size)
        self._written[descriptor.digest] = descriptor.size
        return "copied"

    def _whole(self, name: str, data: bytes) -> None:
        self._header(name, len(data))
        self._file.write(data)
        self._pad(len(data))

    def document(self, raw: bytes, descriptor: Descriptor) -> None:
        """Write a manifest or an index."""
        if descriptor.digest not in self._written:
            self._whole(blob_name(descriptor.digest), raw)
            self._written[descriptor.digest] = len(raw)
        self._manifests[descriptor.digest] = raw

    def finish(self, raw: bytes, descriptor: Descriptor) -> None:
        """Write the root document, with the current name."""
        self.document(raw, descriptor)
        notes = {}
        if self.name:
            tag = self.name.rpartition(":")[2] if ":" in self.name.rpartition("/")[2] else self.name
            notes = {"annotations": {FULL_NAME: self.name, REF_NAME: tag} if self._docker else {REF_NAME: self.name}}
        self._roots.append(Descriptor(descriptor.media_type, descriptor.digest, descriptor.size, notes))
        if self.name:
            self._configs.setdefault(descriptor.digest, []).append(self.name)
        else:
            self._configs.setdefault(descriptor.digest, [])

    def close(self) -> None:
        """Write index.json, and rename the complete file."""
        index = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": [root.json() for root in self._roots]}
        if self._docker:
            self._whole("manifest.json", encode(self._docker_manifest()).encode())
        self._whole("index.json", encode(index).encode())
        self._whole("oci-layout", encode(VERSION).encode())
        self._file.write(bytes(2 * _BLOCK))
        self._file.flush()
        if self._temporary:
            os.fdatasync(self._file.fileno())
            os.rename(self._temporary, self._path)
        self._file.close()

    def _docker_manifest(self) -> list[dict[str, Any]]:
        found = []
        for root, names in self._configs.items():
            manifest = self._image(root)
            if manifest is not None and manifest.config is not None:
                found.append({"Config": blob_name(manifest.config.digest), "RepoTags": names or None,
                              "Layers": [blob_name(layer.digest) for layer in manifest.layers]})
        return found

    def _image(self, digest: str) -> Any:
        """The manifest of a root: of an index the first image with a written configuration, because Docker supports
        only one."""
        raw = self._manifests.get(digest)
        if raw is None:
            return None
        manifest = parse_manifest(raw, "", digest)
        if manifest.is_index:
            found = (self._image(child.digest) for child in manifest.manifests)
            return next((image for image in found if image is not None), None)
        return manifest if manifest.config is not None and manifest.config.media_type in media.CONFIGS else None

    def abandon(self) -> None:
        """Remove what was written."""
        self._file.close()
        if self._temporary:
            os.unlink(self._temporary)


def _ordinary(path: str) -> bool:
    """Whether the file may be replaced: a device or a pipe may not."""
    return not os.path.exists(path) or os.path.isfile(path)


