"""Images that are mounted somewhere, to be looked at.

A mount hides what lies in its directory, so its record lies in the store: STORE/mounts/ID is a bundle that has no root
filesystem and no config.json, only layers that gc must leave alone, and a link to where they are mounted. One of an
earlier boot is a leftover.
"""

from __future__ import annotations

import os

from pyruntime.errors import HostError, UsageError
from pyruntime.image import rootless
from pyruntime.image.snapshot.overlay import Overlay
from pyruntime.image.snapshot.view import attach
from pyruntime.image.store import trees
from pyruntime.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.image.images import Image

_BOOT = "/proc/sys/kernel/random/boot_id"


def _boot() -> str:
    with open(_BOOT, encoding="ascii") as file:
        return file.read().strip()


def mount(store: Store, image: Image, path: str) -> None:
    """Mount an image's root filesystem at ``path``, an empty directory that is made if need be, to be read only.

    Raises HostError for who is not root: nobody else would see the mount.
    """
    if not rootless.privileged():
        raise HostError("mounting an image needs root; `pyimage unpack --driver copy` makes a tree to look at")
    _forget_old(store)
    try:
        os.makedirs(path, exist_ok=True)
        if os.listdir(path):
            raise UsageError(f'"{path}" is not empty: name a directory that does not exist yet')
        record = f"{store.layout.below('mounts')}/{os.urandom(8).hex()}"
        os.mkdir(record, 0o700)
        os.symlink(path, f"{record}/target")
        os.symlink(_boot(), f"{record}/boot")
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


def _records(store: Store) -> Iterator[str]:
    directory = store.layout.below("mounts")
    for name in os.listdir(directory):
        if os.path.islink(f"{directory}/{name}/target"):
            yield f"{directory}/{name}"


def _forget_old(store: Store) -> None:
    for record in _records(store):
        if os.readlink(f"{record}/boot") != _boot():
            trees.remove(record)


def unmount(store: Store, path: str) -> bool:
    """Unmount what ``mount`` mounted at ``path``; whether there was something. Raises HostError for one in use."""
    path = os.path.abspath(path)
    for record in _records(store):
        if os.readlink(f"{record}/target") == path:
            Overlay(store).unmount(path)
            trees.remove(record)   # gc forgets the bundle that is no more
            return True
    return False
