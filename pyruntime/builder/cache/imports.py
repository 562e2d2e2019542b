"""Imports of the build cache: steps are looked up in other caches, and their layers fetched only if files are needed.

A cache that is missing, unreachable or damaged is a warning. So is a layer that cannot be fetched or does not match its
digest: ``Lost`` is raised, all steps are looked up again, and the step is executed.
"""

from __future__ import annotations

from pyruntime.builder.cache.read import fetch, known
from pyruntime.errors import PyruntimeError, words
from pyruntime.images.parallel import Crew

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.builder.cache.document import CacheRecord
    from pyruntime.builder.cache.locations import CachePlace
    from pyruntime.images.document import Descriptor
    from pyruntime.images.store.store import Store
    from pyruntime.images.transports.base import Source

_THREADS = 3   # downloads at once


class Lost(Exception):
    """Layers of a cache could not be fetched; the cache no longer offers them."""


class Caches:
    """The imported caches of a build, in order. A context manager: closes connections."""

    def __init__(self, store: Store, places: list[CachePlace], connect: Callable[[CachePlace], Source],
                 warn: Callable[[str], None]) -> None:
        """``connect`` opens a cache, without checking that it exists."""
        self._store = store
        self._connect = connect
        self._warn = warn
        self._sources: list[Source] = []
        self._records: dict[str, list[CacheRecord]] = {}
        self._blobs: dict[str, list[tuple[Source, CacheRecord]]] = {}   # by diffID
        self._lost: set[str] = set()
        self.waiting = list(places)   # not read yet

    def __enter__(self) -> Caches:
        return self

    def __exit__(self, *_: object) -> None:
        for source in self._sources:
            source.close()

    def look(self, place: CachePlace) -> bool:
        """Read the records of a waiting cache; whether it is a cache. A warning says why not."""
        self.waiting.remove(place)
        try:
            source = self._connect(place)
            self._sources.append(source)
            found = known(source)
        except (PyruntimeError, OSError) as error:
            self._warn(f'importing cache from "{place.text}": {words(error)}; continuing without this cache')
            return False
        for key, record in found.items():
            self._records.setdefault(key, []).append(record)
        for diff_id, record in {record.diff_id: record for record in found.values() if record.blob}.items():
            self._blobs.setdefault(diff_id, []).append((source, record))
        return True

    def find(self, key: str) -> CacheRecord | None:
        """The record of a step in the first cache that has one. Its layer need not be in the store: see ``bring``. The
        caller holds a lease on the layer, or adds it and calls again."""
        for record in self._records.get(key, []):
            there = self._store.size(record.diff_id)
            if there == record.size or (there < 0 and record.diff_id not in self._lost):
                return record
        return None

    def blob(self, diff_id: str) -> Descriptor | None:
        """The archive of a layer in the first cache that has one."""
        return next((record.blob for _, record in self._blobs.get(diff_id, [])), None)

    def is_lost(self, diff_id: str) -> bool:
        """Whether a cache could not deliver this layer, so that its archive is not trusted."""
        return diff_id in self._lost

    def missing(self, diff_ids: list[str]) -> list[str]:
        """The layers that are not in the store. Raises Lost if no cache has one of them, before any is fetched: once
        that layer is built, the others may not be needed."""
        missing = [diff_id for diff_id in diff_ids if not self._store.has(diff_id)]
        nowhere = {diff_id for diff_id in missing if not self._blobs.get(diff_id)}
        if nowhere:
            self._lost |= nowhere
            raise Lost
        return missing

    def bring(self, diff_ids: list[str]) -> None:
        """Fetch these layers into the store, uncompressed. The caller holds a lease. Raises Lost."""
        missing = self.missing(diff_ids)
        lost: set[str] = set()

        def one(diff_id: str) -> None:
            if not self._one(diff_id):
                lost.add(diff_id)
        if len(missing) > 1:
            Crew().run(missing, one, min(_THREADS, len(missing)), self._stop)
        else:
            for diff_id in missing:
                one(diff_id)
        if lost:
            self._lost |= lost
            raise Lost

    def _stop(self) -> None:
        """End the waits of threads, whose failures are then expected."""
        self._warn = lambda _text: None
        for source in self._sources:
            source.stop()

    def _one(self, diff_id: str) -> bool:
        for source, record in self._blobs[diff_id]:
            try:
                fetch(self._store, source, record)
                return True
            except (PyruntimeError, OSError) as error:
                self._warn(f"a layer of the cache {source.label} cannot be used: {words(error)}")
        return False
