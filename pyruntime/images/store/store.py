"""The local store as one object, over the modules beside this one."""

from __future__ import annotations

from pyruntime.images.document import MAX_DOCUMENT, Descriptor
from pyruntime.images.store import blobs, layers, mountings, names
from pyruntime.images.store import bundles as records
from pyruntime.images.store.layout import Layout, open_layout
from pyruntime.images.store.leases import Lease

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyruntime.images.store.collect import Collected
    from pyruntime.images.store.extract import Talk, Wanted
    from pyruntime.images.store.usage import StoreUsage


class Store:
    """Blobs, names and extracted layers in one directory.

    New content, and content that may lose its last name meanwhile, must be used within ``with store.lease()``. Threads
    may share a Store. Failing system calls raise HostError; see the modules for other errors.
    """

    __slots__ = ("_lease", "layout")

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._lease = Lease(layout)

    @classmethod
    def open(cls, root: str = "") -> Store:
        """The store at ``root``, created if it does not exist; "" is layout.default_root()."""
        return cls(open_layout(root))

    @property
    def root(self) -> str:
        """The store's directory."""
        return self.layout.root

    def lease(self) -> Lease:
        """Protects content from the garbage collection: ``with store.lease() as lease: lease.add(digest)``, before any
        check of the store."""
        return self._lease

    # Blobs.

    def has(self, digest: str) -> bool:
        """Whether the store has the blob."""
        return blobs.size(self.layout, digest) >= 0

    def size(self, digest: str) -> int:
        """The blob's size in bytes; -1 if it is not in the store."""
        return blobs.size(self.layout, digest)

    def path(self, digest: str) -> str:
        """The path of the blob, in the store or not."""
        return self.layout.blob(digest)

    def read(self, descriptor: Descriptor, limit: int = MAX_DOCUMENT) -> bytes:
        """A document's bytes, verified. Raises ImageError if it is missing, DigestError if it is damaged."""
        return blobs.read(self.layout, descriptor, limit)

    def open_blob(self, digest: str) -> int:
        """A descriptor to read the blob from; the caller closes it. Raises ImageError if the blob is missing."""
        return blobs.open_blob(self.layout, digest)

    def ingest(self, digest: str, size: int = -1, waiting: Callable[[], None] | None = None) -> blobs.Ingest:
        """A context manager that writes a blob; see blobs.Ingest."""
        return blobs.Ingest(self.layout, self._lease, digest, size, waiting)

    def put(self, data: bytes, algorithm: str = "sha256") -> str:
        """Store new content; its digest."""
        return blobs.put(self.layout, self._lease, data, algorithm)

    def adopt(self, fd: int, path: str, digest: str) -> None:
        """Make a finished file of STORE/work a blob."""
        blobs.adopt(self.layout, self._lease, fd, path, digest)

    # Names.

    def names(self) -> dict[str, Descriptor]:
        """All names, sorted, and their descriptors."""
        return names.names(self.layout)

    def resolve(self, name: str) -> Descriptor:
        """The descriptor of a name; raises NoSuchImage."""
        return names.resolve(self.layout, name)

    def tag(self, name: str, descriptor: Descriptor) -> None:
        """Give a manifest or an index a name; its content must be under a lease."""
        names.tag(self.layout, name, descriptor)

    def keep(self, descriptor: Descriptor) -> None:
        """Keep an image that may have no name; see names.keep."""
        names.keep(self.layout, descriptor)

    def untag(self, name: str) -> bool:
        """Remove a name; whether it existed."""
        return names.untag(self.layout, name)

    # Layers.

    def layer(self, keys: list[str]) -> str | None:
        """The tree of the first of these layers that is in the store."""
        key = layers.present(self.layout, keys)
        return f"{self.layout.layer(key)}/fs" if key else None

    def is_extracted(self, diff_id: str, chain_id: str) -> bool:
        """Whether a layer is extracted, for its place in an image."""
        return bool(layers.present(self.layout, layers.candidates(diff_id, chain_id)))

    def extract_layers(self, wanted: list[Wanted], *, workers: int = 2, talk: Talk | None = None,
                       applier: Any = None, limits: Any = None) -> layers.Layers:
        """The extracted layers of an image, (diffID, chainID, descriptor) each, bottom first; see extract.extract."""
        from pyruntime.images.store.extract import extract  # lazy: few commands need this

        with self._lease as lease:
            return extract(self.layout, lease, wanted, workers=workers, talk=talk, applier=applier, limits=limits)

    # Bundles and the store as a whole.

    def add_bundle(self, path: str, *, manifest: str, driver: str, layers: layers.Layers, at: str = "",
                   lasting: bool = True) -> records.BundleRecord:
        """Record that a bundle or a container uses these layers, which must be under a lease until then."""
        return records.add(self.layout, path, manifest=manifest, driver=driver, layers=layers, at=at, lasting=lasting)

    def bundles(self) -> list[records.BundleRecord]:
        """All recorded bundles that still exist."""
        gone = mountings.leftovers(self.layout)
        return [record for record in records.records(self.layout) if record.alive() and record.path not in gone]

    def layers_of(self, record: records.BundleRecord) -> layers.Layers:
        """The layers of a bundle, to mount it again. Raises ImageError if one has been removed."""
        return layers.layers_of(self.layout, record.keys, record.chain_ids)

    def remove_bundle(self, record: records.BundleRecord) -> None:
        """Remove the record of a bundle, so that its layers can be removed."""
        records.remove(self.layout, record)

    def collect(self, *, dry_run: bool = False, everything: bool = False, days: float = 7,
                without: frozenset[str] = frozenset()) -> Collected:
        """Remove content that is not in use; see collect.collect."""
        from pyruntime.images.store.collect import collect  # lazy: few commands need this

        return collect(self.layout, dry_run=dry_run, everything=everything, days=days, without=without)

    def verify(self, *, content: bool = True) -> list[str]:
        """The problems of the store; see verify.verify."""
        from pyruntime.images.store.verify import verify  # lazy: few commands need this

        return verify(self.layout, content=content)

    def usage(self) -> StoreUsage:
        """The disk usage; see usage.usage."""
        from pyruntime.images.store.usage import usage  # lazy: few commands need this

        return usage(self.layout)
