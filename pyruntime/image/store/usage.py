"""Who uses how much space: bytes on disk of images, layers, partial downloads and bundles."""

from __future__ import annotations

import os

from pyruntime.errors import ImageError
from pyruntime.image.store import blobs, bundles, layers, names
from pyruntime.image.store.marks import Marks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.image.store.layout import Layout


class ImageUsage:
    """One name: bytes of its blobs, and those of them that no other image uses; the same of its extracted layers."""

    __slots__ = ("digest", "layers", "name", "own_layers", "size", "unique")

    def __init__(self, name: str, digest: str) -> None:
        self.name = name
        self.digest = digest
        self.size = self.unique = self.layers = self.own_layers = 0


class Usage:
    """All of a store, in bytes. ``unused`` is what a gc would remove of blobs and layers, as far as names tell."""

    __slots__ = ("blobs", "bundles", "images", "layers", "partials", "unused")

    def __init__(self) -> None:
        self.images: list[ImageUsage] = []
        self.bundles: list[bundles.Bundle] = []
        self.blobs = self.layers = self.partials = self.unused = 0


def usage(layout: Layout) -> Usage:
    """Add everything up. Two names of one manifest are one image: what they share is still unique to it."""
    sizes = {digest: max(0, blobs.size(layout, digest)) for digest in blobs.all_digests(layout)}
    trees = {key: _usage(layout, key) for key in layers.all_keys(layout)}
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
        for key in marks.keys & trees.keys():
            image.layers += trees[key]
            image.own_layers += trees[key] if len(users[key]) == 1 else 0
    found.blobs = sum(sizes.values())
    found.layers = sum(trees.values())
    found.unused = sum(size for item, size in (sizes | trees).items() if item not in users)
    for name in os.listdir(layout.below("ingest")):
        try:
            found.partials += os.stat(layout.below("ingest", name)).st_size
        except FileNotFoundError:
            continue   # it is a blob by now
    found.bundles = [record for record in bundles.records(layout) if record.alive()]
    return found


def _usage(layout: Layout, key: str) -> int:
    try:
        return layers.read_info(layout, key).usage
    except (ImageError, FileNotFoundError):
        return 0   # `verify` tells of damage
