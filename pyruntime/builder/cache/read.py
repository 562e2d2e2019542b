"""Reads the records and the layers of a cache, and verifies them."""

from __future__ import annotations

from pyruntime.builder.cache.document import DOCUMENT, INLINE, read, read_document
from pyruntime.builder.context import Scratch
from pyruntime.errors import ImageError
from pyruntime.images import media
from pyruntime.images.document import parse_config, parse_manifest
from pyruntime.images.layers.compression import Inflater
from pyruntime.images.layers.options import LayerLimits
from pyruntime.images.platform import is_image
from pyruntime.images.transports.layout import Staged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.builder.cache.document import CacheRecord
    from pyruntime.images.document import Manifest
    from pyruntime.images.store.store import Store
    from pyruntime.images.transports.base import Source

_IMAGES = 32   # of an index: more platforms than usual


def known(source: Source) -> dict[str, CacheRecord]:
    """The records of a cache, or of an image with an inline cache. Raises the source's errors; ImageError for an image
    without a cache."""
    raw, media_type = source.root()
    root = parse_manifest(raw, media_type, f"{source.label}: manifest")
    if not root.is_index:
        found = _records(source, root)
        if found is None:
            raise ImageError(f"{source.label}: not a build cache, nor an image with an inline cache")
        return found
    merged: dict[str, CacheRecord] = {}
    for child in [entry for entry in root.manifests if is_image(entry) and source.holds(entry)][:_IMAGES]:
        if child.media_type in media.MANIFESTS:
            document = parse_manifest(source.document(child), child.media_type, f"{source.label}: {child.digest}")
            for key, record in (_records(source, document) or {}).items():
                merged.setdefault(key, record)
    if not merged:
        raise ImageError(f"{source.label}: not a build cache, nor images with an inline cache")
    return merged


def _records(source: Source, manifest: Manifest) -> dict[str, CacheRecord] | None:
    """The records; None for an image without a cache."""
    config, label = manifest.config, f"{source.label}: build cache"
    if config is None or config.media_type not in (DOCUMENT, *media.CONFIGS):
        raise ImageError(f'{source.label}: an artifact of type "{config.media_type if config else "unknown"}", not a'
                         " known build cache")
    raw = source.document(config)
    if config.media_type == DOCUMENT:
        return read_document(raw, manifest.layers, label)
    document = parse_config(raw, manifest, f"{source.label}: configuration").document
    return read(document[INLINE], manifest.layers, label) if INLINE in document else None


def fetch(store: Store, source: Source, record: CacheRecord) -> None:
    """Fetch a layer into the store, uncompressed: its archive is verified by its digest in a file, its content by its
    diffID. The caller holds a lease. Raises the source's errors, DigestError, LayerError, HostError, OSError."""
    assert record.blob
    with store.ingest(record.diff_id, record.size) as ingest:
        if ingest.present:
            return
        with Scratch(store.layout) as scratch:
            path = f"{scratch.path}/blob"
            with Staged(path, record.blob) as staged:
                source.fetch(record.blob, staged, lambda _count: None)
            ingest.restart()   # a killed attempt may have left part of another compression
            with open(path, "rb", buffering=0) as file:
                inflater = Inflater(file.read, record.size, LayerLimits().ratio)
                while data := inflater.read():
                    ingest.write(data)
        ingest.commit()
