"""``oci:DIR[:NAME]`` and ``oci-archive:FILE[:NAME]``: the image layout (image-layout.md).

A name is the annotation org.opencontainers.image.ref.name: a tag or a whole reference. An image without a name is
selected by ``@DIGEST``, or if it is the only image.
"""

from __future__ import annotations

import os

from pyruntime.errors import ImageError
from pyruntime.images import media
from pyruntime.images.digest import Verifier, check
from pyruntime.images.document import MAX_DOCUMENT, Descriptor, parse_manifest
from pyruntime.images.transports.base import Source, Target
from pyruntime.system.files import replace
from pyruntime.system.json import decode, encode
from pyruntime.system.locks import hold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.images.transports.base import Body
    from pyruntime.images.transports.files import NamedFiles

REF_NAME = "org.opencontainers.image.ref.name"
MODE = 0o666   # of files in layouts, which the umask reduces: other users may read them
FULL_NAME = "io.containerd.image.name"   # of containerd and Docker: the whole reference
VERSION = {"imageLayoutVersion": "1.0.0"}


def blob_name(digest: str) -> str:
    """The path of a blob in a layout."""
    algorithm, _, encoded = check(digest).partition(":")
    return f"blobs/{algorithm}/{encoded}"


def entries(files: NamedFiles) -> list[Descriptor]:
    """The entries of index.json; raises ImageError if this is not an image layout."""
    marker = files.read("oci-layout", MAX_DOCUMENT)
    if marker is None:
        raise ImageError(f'{files.label}: not an OCI image layout: it has no "oci-layout" file')
    version = decode(marker, f"{files.label}: oci-layout")
    if not isinstance(version, dict) or not str(version.get("imageLayoutVersion")).startswith("1."):
        raise ImageError(f"{files.label}: oci-layout: version {version!r:.80} is not supported; expected 1.0.0")
    raw = files.read("index.json", MAX_DOCUMENT)
    if raw is None:
        raise ImageError(f'{files.label}: not an OCI image layout: it has no "index.json"')
    return parse_manifest(raw, media.OCI_INDEX, f"{files.label}: index.json").manifests


def names_of(descriptor: Descriptor) -> list[str]:
    """The names of an entry of index.json, the fullest first."""
    return [name for name in (descriptor.annotations.get(FULL_NAME), descriptor.annotations.get(REF_NAME)) if name]


def choose(found: list[Descriptor], wanted: str, label: str) -> Descriptor:
    """The entry of that name, of that digest (``@sha256:...``), or the only one."""
    if wanted.startswith("@"):
        matching = [entry for entry in found if entry.digest == wanted[1:]]
    elif wanted:
        matching = [entry for entry in found if wanted in names_of(entry)] or [
            entry for entry in found if any(name.endswith((f":{wanted}", f"/{wanted}")) for name in names_of(entry))]
    else:
        matching = found
    if len({entry.digest for entry in matching}) == 1:
        return matching[0]
    there = ", ".join(f'"{"".join(names_of(entry)[:1]) or "@" + entry.digest}"' for entry in found) or "none"
    if not matching:
        raise ImageError(f'{label}: no image "{wanted}"; it has {there}')
    raise ImageError(f"{label}: {len(matching)} images; select one by its name or @DIGEST: {there}")


class LayoutSource(Source):
    """An image of a layout."""

    def __init__(self, files: NamedFiles, entry: Descriptor) -> None:
        super().__init__()
        self.label = files.label
        self._files = files
        self.entry = entry
        self.names = names_of(entry)

    def root(self) -> tuple[bytes, str]:
        """The root document: the manifest or index that the entry in index.json points to."""
        return self.document(self.entry), self.entry.media_type

    def holds(self, descriptor: Descriptor) -> bool:
        """Whether a manifest is present: a layout may be incomplete (image-layout.md#blobs)."""
        return self._files.size(blob_name(descriptor.digest)) >= 0

    def open(self, descriptor: Descriptor, offset: int = 0) -> Body:
        """The content of a blob, starting at ``offset``."""
        return self._files.open(blob_name(descriptor.digest), offset)

    def close(self) -> None:
        """Close the archive, if it is one."""
        self._files.close()


class Staged:
    """A file that is renamed to its final name when it is complete and verified."""

    def __init__(self, path: str, descriptor: Descriptor) -> None:
        self.path = path
        self.descriptor = descriptor
        self._temporary = f"{path}.{os.getpid()}.partial"
        self._file = open(self._temporary, "wb", buffering=0)   # noqa: SIM115  a step of a longer life
        self.restart()

    def restart(self) -> None:
        """Discard the content."""
        self.offset = 0
        self._verifier = Verifier(self.descriptor.digest, self.descriptor.size)
        self._file.seek(0)
        self._file.truncate()

    def write(self, data: bytes | memoryview) -> None:
        """Write the next bytes."""
        self._verifier.update(data)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view):]
        self.offset = self._verifier.seen

    def __enter__(self) -> Staged:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        try:
            if kind is None:
                self._verifier.done()
                os.fdatasync(self._file.fileno())
                os.rename(self._temporary, self.path)
                return
        finally:
            self._file.close()
            if os.path.exists(self._temporary):
                os.unlink(self._temporary)


class LayoutTarget(Target):
    """A layout in a directory, which is created; other images in it are kept."""

    def __init__(self, path: str, name: str) -> None:
        self.label = path
        self._path = path
        self._name = name

    def begin(self) -> None:
        """Create the directory."""
        try:
            os.makedirs(os.path.join(self._path, "blobs", "sha256"), exist_ok=True)
        except OSError as error:
            raise ImageError(f'cannot create the image layout "{self._path}": {error.strerror}') from None

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the blob is present; a blob under its final name has been verified."""
        path = os.path.join(self._path, blob_name(descriptor.digest))
        return os.path.exists(path) and os.path.getsize(path) == descriptor.size

    def _place(self, digest: str) -> str:
        path = os.path.join(self._path, blob_name(digest))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def blob(self, descriptor: Descriptor, source: Source, advance: Callable[[int], None]) -> str:
        """Write a blob."""
        with Staged(self._place(descriptor.digest), descriptor) as staged:
            source.fetch(descriptor, staged, advance)
        return "copied"

    def document(self, raw: bytes, descriptor: Descriptor) -> None:
        """Write a manifest or an index."""
        replace(self._place(descriptor.digest), raw, mode=MODE, sync=True)

    def finish(self, raw: bytes, descriptor: Descriptor) -> None:
        """Add the image to index.json; an entry of the same name is replaced."""
        self.document(raw, descriptor)
        lock = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)   # writers exclude each other
        try:
            hold(lock)
            replace(os.path.join(self._path, "oci-layout"), encode(VERSION).encode(), mode=MODE, sync=True)
            path = os.path.join(self._path, "index.json")
            index: dict[str, object] = {"schemaVersion": 2, "mediaType": media.OCI_INDEX}
            found: list[Descriptor] = []
            if os.path.exists(path):
                with open(path, "rb") as file:
                    existing = parse_manifest(file.read(), media.OCI_INDEX, f"{self._path}: index.json")
                index, found = existing.document, existing.manifests
            extra = {"annotations": {REF_NAME: self._name}} if self._name else {}
            new = Descriptor(descriptor.media_type, descriptor.digest, descriptor.size, {**descriptor.extra, **extra})
            kept = [entry for entry in found
                    if (self._name not in names_of(entry) if self._name else entry != new)]
            index["manifests"] = [entry.json() for entry in [*kept, new]]
            replace(path, encode(index).encode(), mode=MODE, sync=True)
        finally:
            os.close(lock)
