"""Images that are mounted somewhere, to be looked at.

A mount hides what lies in its directory, so its record lies in the store (pyruntime.images.store.mountings). It is a
bundle that has no root filesystem and no config.json, only layers that gc must leave alone.
"""

from __future__ import annotations

import os

from pyruntime.errors import HostError, UsageError
from pyruntime.images.snapshots.overlay import OverlayDriver
from pyruntime.images.snapshots.view import attach
from pyruntime.images.store import mountings, trees
from pyruntime.images.store.store import Store
from pyruntime.system.user_namespace import privileged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.lookup import Image


def mount(store: Store, image: Image, path: str) -> None:
    """Mount an image's root filesystem at ``path``, an empty directory that is made if need be, to be read only.

    Raises HostError for who is not root: nobody else would see the mount.
    """
    if not privileged():
        raise HostError("mounting an image needs root; `pyimage unpack --driver copy` makes a tree to look at")
    path = os.path.abspath(path)
    try:
        os.makedirs(path, exist_ok=True)
        if os.listdir(path):
            raise UsageError(f'"{path}" is not empty: name a directory that does not exist yet')
        record = mountings.add(store.layout, path)
    except OSError as error:
        raise HostError(f'cannot mount at "{path}": {error.strerror}') from None
    try:
        with store.lease():
            there = store.extract_layers(image.layers())
            store.add_bundle(record, manifest=image.descriptor.digest, driver="view", layers=there)
            attach(store, there, path)
    except BaseException:
        trees.remove(record)
        raise


def unmount(store: Store, path: str) -> bool:
    """Unmount what ``mount`` mounted at ``path``; whether there was something. Raises HostError for one in use."""
    path = os.path.abspath(path)
    records = mountings.at(store.layout, path)
    if records:
        OverlayDriver(store).unmount(path)
    for record in records:
        trees.remove(record)   # gc forgets the bundle that is no more
    return bool(records)
