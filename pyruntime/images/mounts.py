"""Mounts of images at directories of the host, read-only.

A mount hides the files in its directory, so its record is in the store (pyruntime.images.store.mountings): a bundle
without root filesystem and config.json, which only protects its layers from the garbage collection.
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
    """Mount an image's root filesystem read-only at ``path``, an empty directory that is created if it does not exist.

    Raises HostError without root: the mount would be visible to this process only.
    """
    if not privileged():
        raise HostError("mounting an image needs root: use `pyimage unpack --driver copy` instead")
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
    """Unmount an image that ``mount`` mounted at ``path``; whether there was one. Raises HostError if it is in use."""
    path = os.path.abspath(path)
    records = mountings.at(store.layout, path)
    if records:
        OverlayDriver(store).unmount(path)
    for record in records:
        trees.remove(record)   # the garbage collection removes the record of the missing bundle
    return bool(records)
