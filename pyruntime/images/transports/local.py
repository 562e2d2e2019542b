"""The local store as a source and as a target."""

from __future__ import annotations

from pyruntime.errors import DigestError
from pyruntime.images.digest import check
from pyruntime.images.transports.base import Source, Target
from pyruntime.images.transports.files import Window

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.images.document import Descriptor
    from pyruntime.images.store.store import Store
    from pyruntime.images.transports.base import Body


class StoreSource(Source):
    """An image of the store. Its content was verified when it was stored."""

    def __init__(self, store: Store, root: Descriptor, names: list[str]) -> None:
        super().__init__()
        self.label = names[0] if names else root.digest
        self.names = names
        self._store = store
        self._root = root

    def root(self) -> tuple[bytes, str]:
        """The root document: the manifest or index that the name points to, with its media type."""
        return self.document(self._root), self._root.media_type

    def holds(self, descriptor: Descriptor) -> bool:
        """Whether the store has a manifest: often only that of one platform."""
        return self._store.has(descriptor.digest)

    def open(self, descriptor: Descriptor, offset: int = 0) -> Body:
        """The content of a blob, starting at ``offset``."""
        fd = self._store.open_blob(descriptor.digest)
        return Window(fd, offset, descriptor.size, owned=True)


class StoreTarget(Target):
    """The store. It may hold an index with only some of its manifests: those of the requested platforms. The caller
    holds the store's lease: each digest is added before it is looked up, so that the garbage collection cannot remove
    it in between."""

    sparse = True

    def __init__(self, store: Store, names: list[str]) -> None:
        self.label = store.root
        self.names = names
        self._store = store

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the store has the blob. Raises DigestError if the descriptor gives another size."""
        self._store.lease().add(check(descriptor.digest))
        size = self._store.size(descriptor.digest)
        if size not in (-1, descriptor.size):
            raise DigestError(f"{descriptor.digest} has {size} bytes, its descriptor says {descriptor.size}")
        return size >= 0

    def known(self, descriptor: Descriptor) -> bytes | None:
        """A document in the store; None if it is missing or damaged."""
        try:
            return self._store.read(descriptor) if self.has(descriptor) else None
        except DigestError:
            return None

    def blob(self, descriptor: Descriptor, source: Source, advance: Callable[[int], None]) -> str:
        """Write a blob; if two processes need it, one downloads and the other waits."""
        with self._store.ingest(descriptor.digest, descriptor.size) as ingest:
            if ingest.present:
                return "exists"
            advance(ingest.offset)
            source.fetch(descriptor, ingest, advance)
            ingest.commit()
        return "copied"

    def document(self, raw: bytes, descriptor: Descriptor) -> None:
        """Write a manifest or an index."""
        self._store.lease().add(check(descriptor.digest))
        self._store.put(raw, descriptor.digest.partition(":")[0])

    def finish(self, raw: bytes, descriptor: Descriptor) -> None:
        """Write the root document, and point the names to it."""
        self.document(raw, descriptor)
        for name in self.names:
            self._store.tag(name, descriptor)
