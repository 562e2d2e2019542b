"""Whether the local store has an image completely: checked by `pull` before it downloads anything."""

from __future__ import annotations

from pyruntime.errors import PyruntimeError
from pyruntime.images import media
from pyruntime.images.digest import chain_ids
from pyruntime.images.document import parse_config, parse_manifest
from pyruntime.images.platform import Platform, select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.document import Descriptor
    from pyruntime.images.store.store import Store

_DOCUMENTS = media.INDEXES + media.MANIFESTS


def is_present(store: Store, root: Descriptor, platform: Platform | None, *, everything: bool, extracted: bool) -> bool:
    """Whether the documents and blobs of ``root`` are in the store, and with ``extracted`` its extracted layers.

    Of an index: those of the image for ``platform`` (default: the host's), or with ``everything`` of all images.
    Missing or damaged content counts as absent, so that a pull repairs it.
    """
    try:
        return _holds(store, root, platform or Platform.host(), everything, extracted)
    except PyruntimeError:
        return False   # the pull reports what is wrong


def _holds(store: Store, descriptor: Descriptor, platform: Platform, everything: bool, extracted: bool) -> bool:
    if not store.has(descriptor.digest):
        return False
    manifest = parse_manifest(store.read(descriptor), descriptor.media_type, descriptor.digest)
    if manifest.is_index:
        chosen = select(manifest.manifests, platform)   # the one whose layers are extracted
        return all(_holds(store, child, platform, everything, extracted and child is chosen)
                   if child.media_type in _DOCUMENTS else store.has(child.digest)
                   for child in (manifest.manifests if everything else [chosen]))
    if not all(store.has(blob.digest) for blob in manifest.references()):
        return False
    if not extracted or manifest.config is None or manifest.config.media_type not in media.CONFIGS:
        return True
    diff_ids = parse_config(store.read(manifest.config), manifest).diff_ids
    return all(store.is_extracted(*pair) for pair in zip(diff_ids, chain_ids(diff_ids), strict=True))
