"""Exports of the build cache: the steps of a build and their layers, for other hosts.

A layer that the target already has is not compressed again: the previous cache of that name, and the imported caches,
know its archive.
"""

from __future__ import annotations

import _hashlib
import os

from pyruntime.builder.cache import document as documents
from pyruntime.builder.cache.document import CacheRecord
from pyruntime.builder.cache.imports import Lost
from pyruntime.builder.cache.read import known
from pyruntime.builder.context import Scratch
from pyruntime.errors import BuildError, PyruntimeError
from pyruntime.images import media
from pyruntime.images.copy import Kept
from pyruntime.images.digest import Verifier, of
from pyruntime.images.document import MAX_LAYERS, Descriptor
from pyruntime.images.layers.compression import writer
from pyruntime.images.transports.base import Source
from pyruntime.images.transports.files import Window

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyruntime.builder.cache.imports import Caches
    from pyruntime.builder.cache.locations import CachePlace
    from pyruntime.images.store.steps import Made
    from pyruntime.images.store.store import Store
    from pyruntime.images.transports.base import Body, Target

_STEP = 1 << 20


class Steps:
    """The steps of a build: a layer for each key, and the diffIDs of the results' layers.

    ``created``: the creation time of all layers (SOURCE_DATE_EPOCH), or "" for their own.
    """

    __slots__ = ("created", "made", "results")

    def __init__(self, made: Mapping[str, Made], results: set[str], created: str = "") -> None:
        self.made = made
        self.results = results
        self.created = created

    def records(self, blobs: Mapping[str, Descriptor]) -> dict[str, CacheRecord]:
        """Every step; ``blobs`` has the archives of exported layers, by diffID."""
        return {key: CacheRecord(made.diff_id, made.descriptor.size, self.created or made.created,
                                 blobs.get(made.diff_id))
                for key, made in self.made.items()}


def inline(steps: Steps, layers: list[tuple[str, Descriptor]]) -> dict[str, object]:
    """The object for an image's configuration. ``layers``: diffID and descriptor of each of its layers."""
    return documents.write(steps.records(dict(layers)), [descriptor for _, descriptor in layers])


def export(store: Store, place: CachePlace, target: Target, old: Callable[[], Source], steps: Steps,
           caches: Caches) -> None:
    """Export a cache, under a lease of the caller. ``old`` opens the previous cache. Raises the target's errors;
    BuildError for too many layers."""
    wanted = dict.fromkeys(made.diff_id for made in steps.made.values()
                           if place.full or made.diff_id in steps.results)
    there = _there(old)
    blobs: dict[str, Descriptor] = {}
    target.begin()
    for diff_id in wanted:
        doubted = caches.is_lost(diff_id)   # else a damaged cache would be exported with its damage
        known_as = [] if doubted else [one for one in (there.get(diff_id), caches.blob(diff_id))
                                       if one is not None and target.has(one)]
        descriptor = known_as[0] if known_as else _write(store, diff_id, target, place.compression, caches)
        if descriptor:
            blobs[diff_id] = descriptor
    layers = list({descriptor.digest: descriptor for descriptor in blobs.values()}.values())
    if len(layers) > MAX_LAYERS:
        raise BuildError(f"{len(layers)} layers, and a manifest has at most {MAX_LAYERS}: use mode=min, or build with"
                         " fewer steps")
    raw, config, manifest = documents.manifest(documents.write(steps.records(blobs), layers), layers)
    if not target.has(config):
        target.blob(config, Kept(raw), _silent)
    target.finish(manifest, Descriptor(media.OCI_MANIFEST, of(manifest), len(manifest)))


def _silent(_count: int) -> None:
    """Ignore the progress."""


def _there(old: Callable[[], Source]) -> dict[str, Descriptor]:
    """The archives of the previous cache, by diffID; none if it cannot be read, which is not an error."""
    try:
        source = old()
        try:
            return {record.diff_id: record.blob for record in known(source).values() if record.blob}
        finally:
            source.close()
    except (PyruntimeError, OSError):
        return {}


def _write(store: Store, diff_id: str, target: Target, compression: str, caches: Caches) -> Descriptor | None:
    """Write a layer; None if it is only known by its digest."""
    if not store.has(diff_id):
        try:
            caches.bring([diff_id])
        except Lost:
            return None
    with Scratch(store.layout) as scratch:
        source, descriptor = _compressed(store, diff_id, compression, f"{scratch.path}/blob")
        if caches.is_lost(diff_id) or not target.has(descriptor):
            target.blob(descriptor, source, _silent)
        return descriptor


def _compressed(store: Store, diff_id: str, compression: str, path: str) -> tuple[Source, Descriptor]:
    media_type = media.layer_type(compression)
    if compression == "none":
        return _BlobFile(store.path(diff_id)), Descriptor(media_type, diff_id, store.size(diff_id))
    compressor, size = writer(compression), 0
    check = Verifier(diff_id)   # verified before the export: the disk may be damaged
    fd = store.open_blob(diff_id)
    try:
        with open(path, "wb") as file:
            digest = _hashlib.openssl_sha256()
            ended = False
            while not ended:
                data = os.read(fd, _STEP)
                ended = not data
                check.update(data)
                out = compressor.compress(data) if data else compressor.flush()
                digest.update(out)
                size += len(out)
                file.write(out)
            check.done()
    finally:
        os.close(fd)
    return _BlobFile(path), Descriptor(media_type, f"sha256:{digest.hexdigest()}", size)


class _BlobFile(Source):
    """A blob in a local file."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def open(self, descriptor: Descriptor, offset: int = 0) -> Body:
        """Its content, starting at ``offset``."""
        return Window(os.open(self._path, os.O_RDONLY | os.O_CLOEXEC), offset, descriptor.size, owned=True)
