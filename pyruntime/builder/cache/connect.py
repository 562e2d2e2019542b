"""Sources and targets of build caches: image layouts in directories, artifacts in registries."""

from __future__ import annotations

from pyruntime.builder.cache import exports
from pyruntime.errors import BuildError, PyruntimeError
from pyruntime.images.reference import Reference
from pyruntime.images.transports.files import DirectoryFiles
from pyruntime.images.transports.layout import LayoutSource, LayoutTarget, choose, entries
from pyruntime.images.transports.registry import RegistrySource, open_target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.builder.cache.exports import Steps
    from pyruntime.builder.cache.imports import Caches
    from pyruntime.builder.cache.locations import CachePlace
    from pyruntime.images.api import ImageStore
    from pyruntime.images.transports.base import Source, Target


class Connections:
    """Opens caches, over connections with the settings and credentials of ``images``."""

    def __init__(self, images: ImageStore) -> None:
        self._images = images

    def source(self, place: CachePlace) -> Source:
        """A cache to import. Raises ImageError for a directory without a cache; a registry is not contacted yet."""
        if place.kind == "local":
            files = DirectoryFiles(place.where)
            return LayoutSource(files, choose(entries(files), place.name, place.where))
        reference = Reference.parse(place.where)
        if not reference.digest:
            reference = reference.with_tag(reference.tagged)
        return RegistrySource(self._images.registries.repository(reference), reference)

    def _target(self, place: CachePlace) -> Target:
        if place.kind == "local":
            return LayoutTarget(place.where, place.name)
        return open_target(self._images.registries, place.where)

    def export(self, place: CachePlace, steps: Steps, caches: Caches) -> bool:
        """Export a cache; whether it was written. Raises BuildError, or warns if the export may fail."""
        try:
            target = self._target(place)
            try:
                exports.export(self._images.store, place, target, lambda: self.source(place), steps, caches)
            finally:
                target.close()
        except (PyruntimeError, OSError) as error:
            text = f'exporting cache to "{place.text}": {error.strerror if isinstance(error, OSError) else error}'
            if not place.may_fail:
                raise BuildError(text) from None
            self._images.warn(text)
            return False
        return True
