"""Who uses how much space: bytes on disk of images, layers, partial downloads and bundles."""

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
    """One name: bytes of its blobs, and those of them that no other image uses; the same of its extracted layers."""

    __slots__ = ("digest", "layers", "name", "own_layers", "size", "unique")

    def __init__(self, name: str, digest: str) -> None:
        self.name = name
        self.digest = digest
        self.size = self.unique = self.layers = self.own_layers = 0


class CacheUsage:
    """One thing that builds remember, a step or the directory of a cache mount: bytes on disk that go with it, whether
    an image has the layer too, and when it was last used (seconds since 1970). A layer of several steps counts once.
    """

    __slots__ = ("is_mount", "key", "shared", "size", "title", "used")

    def __init__(self, key: str, title: str, used: float, size: int, *, shared: bool = False, is_mount: bool = False
                 ) -> None:
        self.key = key
        self.title = title
        self.used = used
        self.size = size
        self.shared = shared
        self.is_mount = is_mount


class Usage:
    """All of a store, in bytes. ``unused`` is what a gc would remove of blobs and layers, as far as names tell;
    ``cached`` what of them only builds remember; ``cache`` all that these remember."""

    __slots__ = ("blobs", "bundles", "cache", "cached", "images", "layers", "partials", "unused")

    def __init__(self) -> None:
        self.cache: list[CacheUsage] = []
        self.images: list[ImageUsage] = []
        self.bundles: list[bundles.BundleRecord] = []
        self.blobs = self.layers = self.partials = self.unused = self.cached = 0


def usage(layout: Layout) -> Usage:
    """Add everything up. Two names of one manifest are one image: what they share is still unique to it."""
    sizes = {digest: max(0, blobs.size(layout, digest)) for digest in blobs.all_digests(layout)}
    extracted = {key: _usage(layout, key) for key in layers.all_keys(layout)}
    users: dict[str, set[str]] = {}
    found = Usage()
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
            continue   # it is a blob by now
    found.bundles = [record for record in bundles.records(layout) if record.alive()]
    return found


def digests_of_images(layout: Layout) -> set[str]:
    """The digest of every blob that a name leads to."""
    marks = Marks(layout)
    for name, descriptor in names.names(layout).items():
        marks.descriptor(descriptor, name)
    return marks.digests


def _remembered(layout: Layout, found: Usage, sizes: dict[str, int], images: Set[str]) -> set[str]:
    """Add what builds remember; the digests and keys of its layers."""
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
        return 0   # somebody prunes, or a build is at work in it


def _usage(layout: Layout, key: str) -> int:
    try:
        return layers.read_info(layout, key).usage
    except (ImageError, FileNotFoundError):
        return 0   # `verify` tells of damage
