"""The changes of a container to its root filesystem, and the whole of it: `diff`, `commit` and `export`.

Read from the storage driver's files, whether the container runs or not. Volumes and other mounts are not part of it.
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
from pyruntime.pocker.settings import ContainerSettings
from pyruntime.system import files
from pyruntime.system.json import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyruntime.images.store.store import Store
    from pyruntime.pocker.containers.container import Container, ContainerRecord

_CONFIG_SIZE = 16 << 20


def configuration(container: Container) -> dict[str, Any]:
    """The config.json of the container's last start; {} if it was never started."""
    path = f"{container.directory}/config.json"
    try:
        value = decode(files.read(path, _CONFIG_SIZE), path)
    except FileNotFoundError:
        return {}
    return value if isinstance(value, dict) else {}


def options(container: Container, warn: Callable[[str], None] | None = None) -> DiffOptions:
    """How the files are compared: without the mount points, and while programs may be changing them."""
    places = {os.path.normpath("/" + mount["destination"]).lstrip("/").encode()
              for mount in configuration(container).get("mounts", [])}
    return DiffOptions(skip=frozenset(places), living=True, warn=warn)


def bundle_of(container: Container, record: ContainerRecord) -> Bundle:
    """The container as a bundle of the image library. Raises ImageError if its layers are missing."""
    bundle = Bundle(container.places.store, container.directory)
    if record.settings.ids:
        from pyruntime.images.snapshots.idmapped import Mapping  # lazy: only with a user namespace

        bundle.driver.mapping = Mapping(record.settings.ids.uids, record.settings.ids.gids)
    return bundle


def changed(container: Container, record: ContainerRecord) -> list[tuple[str, str]]:
    """The changes since the container was created: "A", "C" or "D" and the path, sorted."""
    if not container.run().prepared:
        return []
    found = list_changes(bundle_of(container, record), options(container))
    return [(kind, "/" + os.fsdecode(path)) for kind, path in found]


def export(container: Container, record: ContainerRecord, write: Callable[[bytes], object], warn: Callable[[str],
           None]) -> None:
    """Write the root filesystem as a tar archive, in which mount points are empty."""
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
        # The changes as a further layer: the container's own mount is in its monitor's mount namespace.
        mapping = bundle.driver.mapping
        if mapping is not None:
            from pyruntime.images.snapshots.idmapped import Mapped  # lazy: only with a user namespace

            own_mounts(ContainerSettings())   # the mount with the container's IDs must not be visible to others
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
        return 0   # never started, or being removed
