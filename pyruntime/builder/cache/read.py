"""What a cache knows, and its layers: read from wherever it is, and believed when it has been verified."""

from __future__ import annotations

from pyruntime.builder.cache.document import DOCUMENT, INLINE, read, read_document
from pyruntime.builder.context import Scratch
from pyruntime.errors import ImageError
from pyruntime.images import media
from pyruntime.images.document import parse_config, parse_manifest
from pyruntime.images.layers.compression import Inflater
from pyruntime.images.layers.options import Limits
from pyruntime.images.platform import is_image
from pyruntime.images.transports.layout import Staged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.builder.cache.document import Record
    from pyruntime.images.document import Manifest
    from pyruntime.images.store.store import Store
    from pyruntime.images.transports.base import Source

_IMAGES = 32   # of an index: more platforms than anybody builds for


def known(source: Source) -> dict[str, Record]:
    """The records of a cache, or of an image that has them. Raises what reading it raises; ImageError for an image
    without."""
    raw, media_type = source.root()
    root = parse_manifest(raw, media_type, f"{source.label}: manifest")
    if not root.is_index:
        found = _records(source, root)
        if found is None:
            raise ImageError(f"{source.label}: an image that was built without --cache-to type=inline, and no cache")
        return found
    merged: dict[str, Record] = {}
    for child in [entry for entry in root.manifests if is_image(entry) and source.holds(entry)][:_IMAGES]:
        if child.media_type in media.MANIFESTS:
            document = parse_manifest(source.document(child), child.media_type, f"{source.label}: {child.digest}")
            for key, record in (_records(source, document) or {}).items():
                merged.setdefault(key, record)
    if not merged:
        raise ImageError(f"{source.label}: images that were built without --cache-to type=inline, and no cache")
    return merged


def _records(source: Source, manifest: Manifest) -> dict[str, Record] | None:
    """None for an image without."""
    config, label = manifest.config, f"{source.label}: build cache"
    if config is None or config.media_type not in (DOCUMENT, *media.CONFIGS):
        raise ImageError(f'{source.label}: an artifact of type "{config.media_type if config else "unknown"}", and no'
                         " cache that pyruntime knows")
    raw = source.document(config)
    if config.media_type == DOCUMENT:
        return read_document(raw, manifest.layers, label)
    document = parse_config(raw, manifest, f"{source.label}: configuration").document
    return read(document[INLINE], manifest.layers, label) if INLINE in document else None


def fetch(store: Store, source: Source, record: Record) -> None:
    """Have a layer in the store, uncompressed: as it comes, verified by its digest, into a file; from there, verified
    by its diffID. The caller holds a lease. Raises what the source raises, DigestError, LayerError, HostError,
    OSError."""
    assert record.blob
    with store.ingest(record.diff_id, record.size) as ingest:
        if ingest.present:
            return
        with Scratch(store.layout) as scratch:
            path = f"{scratch.path}/blob"
            with Staged(path, record.blob) as staged:
                source.fetch(record.blob, staged, lambda _count: None)
            ingest.restart()   # an attempt that was killed may have left another compression's beginning
            with open(path, "rb", buffering=0) as file:
                inflater = Inflater(file.read, record.size, Limits().ratio)
                while data := inflater.read():
                    ingest.write(data)
        ingest.commit()
