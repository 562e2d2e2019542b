"""Creates images from root filesystems: a bundle's changes as a new layer, an archive as a new image."""

from __future__ import annotations

import os

from pyruntime.images import media
from pyruntime.images.layers.compression import Inflater
from pyruntime.images.layers.diff import DiffOptions, changes, diff, diff_upper
from pyruntime.images.make import LayerFile, derive, timestamp
from pyruntime.images.snapshots.view import View
from pyruntime.system import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from pyruntime.images.bundle import Bundle
    from pyruntime.images.document import Descriptor
    from pyruntime.images.lookup import Image
    from pyruntime.images.snapshots.driver import Changes
    from pyruntime.images.store.store import Store

    _Found = TypeVar("_Found")


def write_changes(bundle: Bundle, write: Callable[[bytes], object], options: DiffOptions) -> int:
    """Write a bundle's changes as a layer archive; the number of entries. The root filesystem need not be mounted: an
    overlay's changes are beside it."""
    return _changes(bundle, lambda old, new, upper: diff_upper(new, old, write, options) if upper
                    else diff(old, new, write, options))


def list_changes(bundle: Bundle, options: DiffOptions) -> list[tuple[str, bytes]]:
    """The changes of a bundle's root filesystem: see pyruntime.images.layers.diff.changes."""
    return _changes(bundle, lambda old, new, upper: changes(old, new, options, upper=upper))


def _changes(bundle: Bundle, compare: Callable[[int, int, bool], _Found]) -> _Found:
    """Call ``compare`` with the original tree, the changed one, and whether the latter is an overlay's upper directory.
    """
    there = bundle.driver.changes(bundle.layers, bundle.rootfs, bundle.private)
    new = _written(bundle, there)
    try:
        if there.base:
            old = os.open(there.base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                return compare(old, new, False)
            finally:
                os.close(old)
        with View(bundle.store, bundle.layers) as view:
            return compare(view.fd, new, there.kind == "upper")
    finally:
        os.close(new)


def _written(bundle: Bundle, there: Changes) -> int:
    """The directory with the changes, opened. An overlay with mapped IDs stores the changes under these IDs."""
    mapping = bundle.driver.mapping
    if mapping is None or there.kind != "upper":
        return os.open(there.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    back = mapping.reversed()
    namespace = kernel.user_namespace(back.uids, back.gids)
    try:
        tree = back.tree(there.path, namespace)
    finally:
        os.close(namespace)
    try:
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)
    finally:
        os.close(tree)


def repack(bundle: Bundle, base: Image, *, created: str = "", created_by: str = "pyimage repack", author: str = "",
           comment: str = "", compression: str = "gzip", level: int = -1, changes: dict[str, object] | None = None,
           options: DiffOptions | None = None) -> tuple[Descriptor, int]:
    """Create the image of the bundle's changes on top of ``base``, which the bundle was unpacked from.

    Returns the new manifest's descriptor and the number of entries in the new layer. Without ``created``, the image has
    the time of its newest change, so that the same bundle gives the same image. The caller holds a lease of the store.
    """
    store = bundle.store
    options = options or DiffOptions()
    options.skip |= _volumes(base)
    with LayerFile(store, compression, level) as file:
        entries = write_changes(bundle, file.write, options)
        layer = file.done(docker=base.manifest.media_type == media.DOCKER_MANIFEST)
    # A layer that only removes files has no time of its own; the base's time is not later than the removals.
    newest = base.config.document.get("created") if options.newest is None else timestamp(options.newest)
    return derive(store, base, layer if entries else None, created=created or newest or timestamp(0),
                  created_by=created_by, author=author, comment=comment, changes=changes), entries


def _volumes(image: Image) -> frozenset[bytes]:
    """The paths of the image's volumes, whose data is not part of an image (conversion.md#optional-fields)."""
    volumes = image.config.config.get("Volumes") or {}
    return frozenset(os.path.normpath("/" + path).lstrip("/").encode() for path in volumes)


def import_tree(store: Store, read: Callable[[int], bytes], *, created: str, created_by: str, platform: dict[str, str],
                changes: dict[str, object], compression: str = "gzip") -> Descriptor:
    """An image of one layer: the archive of a root filesystem, compressed or not, that ``read`` returns.

    The extraction verifies the archive later. The caller holds a lease.
    """
    inflater = Inflater(read, archive=True)
    with LayerFile(store, compression) as file:
        while data := inflater.read():
            file.write(data)
        layer = file.done()
    return derive(store, None, layer, created=created, created_by=created_by, changes=changes, platform=platform)


def export(store: Store, image: Image, write: Callable[[bytes], object], *, warn: Callable[[str], None]) -> None:
    """Write the whole root filesystem of an image as one tar archive, without whiteouts."""
    with store.lease():
        there = store.extract_layers(image.layers())
        with View(store, there) as view:
            write_tree(store, view.fd, write, DiffOptions(whole=True, warn=warn))


def write_tree(store: Store, root: int, write: Callable[[bytes], object], options: DiffOptions) -> None:
    """Write everything below an open directory as one tar archive."""
    empty = store.layout.work()
    os.mkdir(empty, 0o700)
    nothing = os.open(empty, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    os.rmdir(empty)   # removed while open: it stays empty
    try:
        diff(nothing, root, write, options)
    finally:
        os.close(nothing)
