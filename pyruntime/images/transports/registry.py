"""``docker://REFERENCE``: a registry (distribution-spec)."""

from __future__ import annotations

from pyruntime.images import media
from pyruntime.images.digest import of, verify
from pyruntime.images.document import MAX_DOCUMENT, Descriptor
from pyruntime.images.reference import Reference
from pyruntime.images.transports.base import Source, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.images.registry.client import Repository
    from pyruntime.images.registry.registries import Registries
    from pyruntime.images.transports.base import Body, Sink


class RegistrySource(Source):
    """An image of a repository. ``found`` is the root descriptor, if it is known already."""

    def __init__(self, repository: Repository, reference: Reference, found: Descriptor | None = None) -> None:
        super().__init__()
        self.found = found
        self.label = str(reference)
        self.repository = repository
        self.reference = reference
        self._root: tuple[bytes, str] | None = None

    def root(self) -> tuple[bytes, str]:
        """The root document: the manifest or index of the tag or digest; it is requested once."""
        if self._root is None:
            # By the digest that the tag was resolved to: earlier decisions must hold for this document.
            wanted = self.reference.digest or (self.found.digest if self.found else self.reference.tag)
            raw, media_type, _ = self.repository.manifest(wanted)
            self._root = raw, media_type
        return self._root

    def document(self, descriptor: Descriptor) -> bytes:
        """A complete document, verified. Registries distinguish manifests from blobs."""
        if descriptor.media_type not in media.INDEXES + media.MANIFESTS or descriptor.size > MAX_DOCUMENT:
            return super().document(descriptor)
        raw = self.repository.manifest(descriptor.digest)[0]
        verify(raw, descriptor.digest, descriptor.size)
        return raw

    def open(self, descriptor: Descriptor, offset: int = 0) -> Body:
        """The content of a blob, starting at ``offset``."""
        body = self.repository.blob(descriptor, offset)
        skip = offset - body.offset
        while skip > 0 and (data := body.read(min(skip, 1 << 16))):   # no range support
            skip -= len(data)
        return body

    def fetch(self, descriptor: Descriptor, sink: Sink, advance: Callable[[int], None]) -> None:
        """Download a blob, resuming after interruptions."""
        self.repository.fetch_blob(descriptor, sink, advance)

    def stop(self) -> None:
        """End all requests."""
        self.repository.transport.stop()

    def close(self) -> None:
        """Close the connections."""
        self.repository.close()


class RegistryTarget(Target):
    """A repository to push to. ``mount_from`` is another repository of the registry that has the layers."""

    takes_foreign = False

    def __init__(self, repository: Repository, reference: Reference, mount_from: str = "") -> None:
        self.label = str(reference)
        self.repository = repository
        self.reference = reference
        self._mount_from = mount_from

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the repository has the blob."""
        return self.repository.has_blob(descriptor.digest)

    def blob(self, descriptor: Descriptor, source: Source, advance: Callable[[int], None]) -> str:
        """Push a blob, or have the registry mount it."""
        return self.repository.push_blob(descriptor, lambda offset: source.open(descriptor, offset), self._mount_from,
                                         progress=advance)

    def document(self, raw: bytes, descriptor: Descriptor) -> None:
        """Push a manifest by its digest."""
        self.repository.push_manifest(raw, descriptor.media_type, of(raw))

    def finish(self, raw: bytes, descriptor: Descriptor) -> None:
        """Push the root document by its tag."""
        self.repository.push_manifest(raw, descriptor.media_type, self.reference.tag or descriptor.digest)

    def stop(self) -> None:
        """End all requests."""
        self.repository.transport.stop()

    def close(self) -> None:
        """Close the connections."""
        self.repository.close()

    def abandon(self) -> None:
        """Close the connections: the registry removes blobs without a manifest."""
        self.repository.close()


def open_source(registries: Registries, name: str) -> RegistrySource:
    """The image that ``name`` means in a registry: see Registries.find."""
    return RegistrySource(*registries.find(name))


def open_target(registries: Registries, name: str, mount_from: str = "") -> RegistryTarget:
    """The tag (``latest`` if the name has none) or digest in a registry, to push to. Raises RegistryError for a blocked
    registry."""
    reference = Reference.parse(name)
    if not reference.digest:
        reference = reference.with_tag(reference.tagged)
    return RegistryTarget(registries.repository(reference, push=True), reference, mount_from)
