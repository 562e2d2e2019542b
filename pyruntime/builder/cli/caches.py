"""The caches of --cache-from and --cache-to, over connections as the other flags configure them."""

from __future__ import annotations

from pyruntime.errors import BuildError, PyruntimeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.builder.cache.exports import Steps
    from pyruntime.builder.cache.imports import Caches
    from pyruntime.builder.cache.locations import CachePlace
    from pyruntime.builder.cli.build import Surroundings
    from pyruntime.commandline.parse import Parsed
    from pyruntime.images.transports.base import Source, Target


def source_of(around: Surroundings, parsed: Parsed, place: CachePlace) -> Source:
    """The source of a cache. Raises ImageError for a directory without a cache; a registry is not contacted yet."""
    if place.kind == "local":
        from pyruntime.images.transports.files import Directory
        from pyruntime.images.transports.layout import LayoutSource, choose, entries

        files = Directory(place.where)
        return LayoutSource(files, choose(entries(files), place.name, place.where))
    from pyruntime.images.cli.remote import repository
    from pyruntime.images.reference import Reference
    from pyruntime.images.transports.registry import RegistrySource

    reference = Reference.parse(place.where)
    if not reference.digest:
        reference = reference.with_tag(reference.tagged)
    return RegistrySource(repository(around, parsed, reference), reference)  # type: ignore[arg-type]


def _target(around: Surroundings, parsed: Parsed, place: CachePlace) -> Target:
    if place.kind == "local":
        from pyruntime.images.transports.layout import LayoutTarget
        return LayoutTarget(place.where, place.name)
    from pyruntime.images.cli.remote import remote_target
    return remote_target(around, parsed, place.where)  # type: ignore[arg-type]


def export(around: Surroundings, parsed: Parsed, place: CachePlace, steps: Steps, caches: Caches) -> bool:
    """Write one cache; whether it was written. Raises BuildError, or warns if the export may fail (ignore-error)."""
    from pyruntime.builder.cache.exports import export as write

    try:
        target = _target(around, parsed, place)
        try:
            write(around.store, place, target, lambda: source_of(around, parsed, place), steps, caches)
        finally:
            target.close()
    except (PyruntimeError, OSError) as error:
        text = f'--cache-to "{place.text}": {error.strerror if isinstance(error, OSError) else error}'
        if not place.may_fail:
            raise BuildError(text) from None
        around.warn(text)
        return False
    return True
