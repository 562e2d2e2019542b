"""Copies an image into the store: blobs, then extracted layers, and names only when both are verified.

A refused image leaves the store as it was: without a new name, and without blobs that nothing else uses.
"""

from __future__ import annotations

from pyruntime.errors import ConfigError, ImageError, PyruntimeError
from pyruntime.images import media
from pyruntime.images.copy import Copied, copy, image_of
from pyruntime.images.document import parse_manifest
from pyruntime.images.lookup import warn_of_platform
from pyruntime.images.platform import Platform, select
from pyruntime.images.store.extract import Talk
from pyruntime.images.transports.local import StoreSource, StoreTarget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.images.document import Descriptor
    from pyruntime.images.layers.options import LayerLimits
    from pyruntime.images.platform import Platform
    from pyruntime.images.progress import Progress
    from pyruntime.images.store.store import Store
    from pyruntime.images.transports.base import Source


def receive(store: Store, source: Source, names: list[str], *, platform: Platform | None = None,
            everything: bool = False, extract: bool = True, threads: int = 3, limits: LayerLimits | None = None,
            progress: Progress | None = None, warn: Callable[[str], None]) -> Copied:
    """Copy the image of ``source`` into the store under ``names``, or without names by its digest alone.

    The other arguments are those of ``copy``. With ``extract`` the layers are extracted, of several images those of the
    image for ``platform``. Raises the errors of the copy and of the extraction; DigestError also for a layer that does
    not match its diffID in the configuration.
    """
    try:
        with store.lease():
            copied = copy(source, StoreTarget(store, []), platform=platform, everything=everything, threads=threads,
                          progress=progress, warn=warn)
            chosen = _to_extract(store, copied.images, platform) if extract else None
            if chosen:
                image = image_of(StoreSource(store, chosen, names), platform)
                if platform is None:   # an explicit platform needs no warning
                    warn_of_platform(image, warn)
                store.extract_layers(image.layers(), talk=Talk(warn=warn), limits=limits)
            for name in names:
                store.tag(name, copied.root)
            store.keep(copied.root)
            return copied
    except (ImageError, ConfigError) as error:
        try:
            store.collect()
        except PyruntimeError as other:   # for example a damaged other image, which is not the cause here
            error.notes.append(str(other))
        raise


def _to_extract(store: Store, images: list[Descriptor], platform: Platform | None) -> Descriptor | None:
    """The manifest whose layers are extracted; None if there is no image for the platform, or for an artifact."""
    try:
        chosen = images[0] if len(images) == 1 else select(images, platform or Platform.host())
    except ImageError:
        return None
    config = parse_manifest(store.read(chosen), chosen.media_type).config
    return chosen if config and config.media_type in media.CONFIGS else None
