"""What a container has changed in its root filesystem, and all that is in it: `diff`, `commit` and `export`.

Read where the snapshot driver keeps it, running or not; nothing is mounted anywhere for that. What is mounted into the
container is no part of it.
"""

from __future__ import annotations

import os

from pyruntime.images.bundle import Bundle
from pyruntime.images.layers.diff import DiffOptions
from pyruntime.images.repack import list_changes, write_tree
from pyruntime.images.snapshots.view import View
from pyruntime.images.store.layers import Layers
from pyruntime.images.store.trees import survey
from pyruntime.pocker.containers.start import own_mounts
from pyruntime.pocker.options.settings import Settings
from pyruntime.system import files
from pyruntime.system.json import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyruntime.images.store.store import Store
    from pyruntime.pocker.containers.container import Container, Record

_CONFIG_SIZE = 16 << 20


def configuration(container: Container) -> dict[str, Any]:
    """The config.json of its last start; {} for one that was never started."""
    path = f"{container.directory}/config.json"
    try:
        value = decode(files.read(path, _CONFIG_SIZE), path)
    except FileNotFoundError:
        return {}
    return value if isinstance(value, dict) else {}


def options(container: Container, warn: Callable[[str], None] | None = None) -> DiffOptions:
    """How its files are compared: without the places where something was mounted, and while it may be at work."""
    places = {os.path.normpath("/" + mount["destination"]).lstrip("/").encode()
              for mount in configuration(container).get("mounts", [])}
    return DiffOptions(skip=frozenset(places), living=True, warn=warn)


def bundle_of(container: Container, record: Record) -> Bundle:
    """What the image library calls a container. Raises ImageError where its layers are gone."""
    bundle = Bundle(container.places.store, container.directory)
    if record.settings.ids:
        from pyruntime.images.snapshots.idmapped import Mapping

        bundle.driver.mapping = Mapping(**record.settings.ids)
    return bundle


def changed(container: Container, record: Record) -> list[tuple[str, str]]:
    """The changes since it was made: "A", "C" or "D" and the path, sorted."""
    if not container.run().prepared:
        return []
    found = list_changes(bundle_of(container, record), options(container))
    return [(kind, "/" + os.fsdecode(path)) for kind, path in found]


def export(container: Container, record: Record, write: Callable[[bytes], object], warn: Callable[[str], None]) -> None:
    """Write its root filesystem as a tar archive. Places where something is mounted are empty in it."""
    store = container.places.store
    bundle = bundle_of(container, record)
    layers = bundle.layers
    how = DiffOptions(living=True, whole=True, warn=warn)
    if container.run().prepared:
        there = bundle.driver.changes(layers, bundle.rootfs, bundle.private)
        if there.kind == "tree":
            root = os.open(there.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                write_tree(store, root, write, how)
            finally:
                os.close(root)
            return
        # What was written as one layer more: the container's own mount is in its monitor's mount namespace.
        mapping = bundle.driver.mapping
        if mapping is not None:
            from pyruntime.images.snapshots.idmapped import Mapped

            own_mounts(Settings())   # where it is mounted with its own ids is nobody else's business
            with Mapped(mapping.reversed(), [there.path], f"{bundle.private}/ids") as [path]:
                _write_all(store, layers, path, write, how)
        else:
            _write_all(store, layers, there.path, write, how)
        return
    with View(store, layers) as view:
        write_tree(store, view.fd, write, how)


def _write_all(store: Store, layers: Layers, written: str, write: Callable[[bytes], object], how: DiffOptions) -> None:
    every = Layers(layers.keys, [*layers.directories, written], layers.chain_ids, written)
    with View(store, every) as view:
        write_tree(store, view.fd, write, how)


def written(container: Container) -> int:
    """The bytes of the files that a container has written to its root filesystem."""
    try:
        return survey(container.private)[1]
    except OSError:
        return 0   # it has never been started, or is being removed
