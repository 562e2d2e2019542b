"""Disk usage of images, layers, partial downloads, bundles and the build cache, in bytes."""

from __future__ import annotations

import os

from pyruntime.errors import ImageError
from pyruntime.images.store import blobs, bundles, layers, names, steps, trees
from pyruntime.images.store.marks import Marks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Set

    from pyruntime.images.store.layout import Layout


class ImageUsage:
    """One name: the bytes of its blobs, and of those that no other image uses; the same for its extracted layers."""

    __slots__ = ("digest", "layers", "name", "own_layers", "size", "unique")

    def __init__(self, name: str, digest: str) -> None:
        self.name = name
        self.digest = digest
        self.size = self.unique = self.layers = self.own_layers = 0


class CacheUsage:
    """A step or a cache mount of the build cache: its bytes on disk, whether an image shares the layer, and the time of
    the last use (seconds since 1970). A layer of several steps counts once."""

    __slots__ = ("is_mount", "key", "shared", "size", "title", "used")

    def __init__(self, key: str, title: str, used: float, size: int, *, shared: bool = False, is_mount: bool = False
                 ) -> None:
        self.key = key
        self.title = title
        self.used = used
        self.size = size
        self.shared = shared
        self.is_mount = is_mount


class StoreUsage:
    """The whole store, in bytes. ``unused``: blobs and layers that a garbage collection would remove, as far as names
    show; ``cached``: the part that only the build cache uses; ``cache``: the entries of the build cache."""

    __slots__ = ("blobs", "bundles", "cache", "cached", "images", "layers", "partials", "unused")

    def __init__(self) -> None:
        self.cache: list[CacheUsage] = []
        self.images: list[ImageUsage] = []
        self.bundles: list[bundles.BundleRecord] = []
        self.blobs = self.layers = self.partials = self.unused = self.cached = 0


def usage(layout: Layout) -> StoreUsage:
    """Add everything up. Two names of one manifest are one image: their shared content is unique to it."""
    sizes = {digest: max(0, blobs.size(layout, digest)) for digest in blobs.all_digests(layout)}
    extracted = {key: _usage(layout, key) for key in layers.all_keys(layout)}
    users: dict[str, set[str]] = {}
    found = StoreUsage()
    marked: list[tuple[ImageUsage, Marks]] = []
    for name, descriptor in names.names(layout).items():
        marks = Marks(layout)
        marks.descriptor(descriptor, name)
        image = ImageUsage(name, descriptor.digest)
        found.images.append(image)
        marked.append((image, marks))
        for item in marks.digests | marks.keys:
            users.setdefault(item, set()).add(descriptor.digest)
    for image, marks in marked:
        for digest in marks.digests & sizes.keys():
            image.size += sizes[digest]
            image.unique += sizes[digest] if len(users[digest]) == 1 else 0
        for key in marks.keys & extracted.keys():
            image.layers += extracted[key]
            image.own_layers += extracted[key] if len(users[key]) == 1 else 0
    found.blobs = sum(sizes.values())
    found.layers = sum(extracted.values())
    kept = _remembered(layout, found, sizes | extracted, users.keys())
    found.unused = sum(size for item, size in (sizes | extracted).items() if item not in users and item not in kept)
    for name in os.listdir(layout.below("ingest")):
        try:
            found.partials += os.stat(layout.below("ingest", name)).st_size
        except FileNotFoundError:
            continue   # meanwhile complete
    found.bundles = [record for record in bundles.records(layout) if record.alive()]
    return found


def digests_of_images(layout: Layout) -> set[str]:
    """The digests of all blobs of named images."""
    marks = Marks(layout)
    for name, descriptor in names.names(layout).items():
        marks.descriptor(descriptor, name)
    return marks.digests


def _remembered(layout: Layout, found: StoreUsage, sizes: dict[str, int], images: Set[str]) -> set[str]:
    """Add the build cache; the digests and keys of its layers."""
    kept: set[str] = set()
    for entry in steps.entries(layout):
        made = entry.made
        items = {made.descriptor.digest, *layers.candidates(made.diff_id, made.chain_id)} & sizes.keys()
        size = sum(sizes[item] for item in items - images - kept)
        found.cached += size
        found.cache.append(CacheUsage(entry.key, made.title, entry.used, size,
                                      shared=made.descriptor.digest in images))
        kept |= items
    for name, path, used in steps.mounts(layout):
        found.cache.append(CacheUsage(name, "cache mount", used, _content(path), is_mount=True))
    return kept


def mounts_size(layout: Layout) -> int:
    """Bytes in the directories of cache mounts."""
    return sum(_content(path) for _, path, _ in steps.mounts(layout))


def _content(path: str) -> int:
    try:
        return trees.survey(path)[1]
    except FileNotFoundError:
        return 0   # another process prunes, or a build uses it


def _usage(layout: Layout, key: str) -> int:
    try:
        return layers.read_info(layout, key).usage
    except (ImageError, FileNotFoundError):
        return 0   # `verify` reports damage
