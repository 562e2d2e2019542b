"""Bundles of images: a root filesystem, config.json, and a record of the layers.

BUNDLE/            0700: other users must not reach the image's set-user-ID programs
  config.json      written last: a bundle with a config.json is complete
  rootfs/          the root filesystem, by a driver of pyruntime.images.snapshots
  .rootfs/         the driver's own files: upper and work directories
  volumes/N/       the image's volumes (config.Volumes), bind-mounted over the root filesystem
  .pyimage         the store's record of the bundle (pyruntime.images.store.bundles)

A killed `unpack` leaves a directory without config.json; the next unpack to the same path, or `umount --remove`,
removes it.
"""

from __future__ import annotations

import os
import time

from pyruntime.errors import HostError, ImageError, UsageError
from pyruntime.images.lookup import warn_of_platform
from pyruntime.images.runtime_config import Wishes, convert
from pyruntime.images.snapshots.choose import choose, named
from pyruntime.images.snapshots.driver import Driver
from pyruntime.images.store import bundles, layers, trees
from pyruntime.images.store.store import Store
from pyruntime.system import kernel
from pyruntime.system.files import replace
from pyruntime.system.json import decode, encode
from pyruntime.system.locks import hold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.images.layers.options import LayerLimits
    from pyruntime.images.lookup import Image
    from pyruntime.images.store.bundles import BundleRecord as Record
    from pyruntime.images.store.extract import Talk
    from pyruntime.images.store.layers import Layers

NEW = ".pyimage.new"   # exists while an unpack runs, which holds its lock
VOLUMES = ("bind", "tmpfs", "none")


def unpack(store: Store, image: Image, path: str, *, driver: str = "", wishes: Wishes | None = None,
           volumes: str = "bind", talk: Talk | None = None, limits: LayerLimits | None = None) -> str:
    """Unpack an image into a bundle at ``path``, which must be empty or not exist; the name of the driver.

    ``volumes``: the image's volumes become directories of the bundle ("bind"), tmpfs mounts ("tmpfs"), or stay a part
    of the root filesystem ("none"). Raises the errors of layers, drivers and the configuration; the bundle is then
    removed.
    """
    if volumes not in VOLUMES:
        raise UsageError(f'volumes "{volumes}": write {", ".join(VOLUMES)}')
    path = os.path.realpath(path)   # as the kernel names mount points
    new = _claim(path)
    try:
        if talk:
            warn_of_platform(image, talk.warn)
        with store.lease():
            there = store.extract_layers(image.layers(), talk=talk, limits=limits)
            made = choose(driver, store, f"{path}/rootfs")
            os.mkdir(f"{path}/rootfs", 0o755)
            made.prepare(there, f"{path}/rootfs", f"{path}/.rootfs")
            try:
                document = _configuration(image, path, wishes or Wishes(), volumes)
                record = store.add_bundle(path, manifest=image.descriptor.digest, driver=made.name, layers=there)
                try:
                    replace(f"{path}/config.json", encode(document, 1).encode() + b"\n")
                except BaseException:
                    store.remove_bundle(record)
                    raise
            except BaseException:
                made.unmount(f"{path}/rootfs")
                raise
        os.unlink(f"{path}/{NEW}")
        return made.name
    except OSError as error:
        _clear(path)
        raise HostError(f'cannot make the bundle "{path}": {error.strerror}') from None
    except BaseException:
        _clear(path)
        raise
    finally:
        os.close(new)


def undo(path: str) -> bool:
    """Remove and unmount what a killed unpack left at ``path``; False if there is nothing. Raises UsageError while an
    unpack runs there, HostError."""
    path = os.path.realpath(path)
    if not os.path.exists(f"{path}/{NEW}") or os.path.exists(f"{path}/config.json"):
        return False
    new = _claim(path)
    try:
        _clear(path)
    finally:
        os.close(new)
    return True


def _hold(file: int) -> None:
    """Lock the mark of a bundle; raises BlockingIOError if another unpack is running. If an unpack was killed, its
    processes may take a moment to end."""
    for _ in range(20):
        try:
            return hold(file, wait=False)
        except BlockingIOError:
            time.sleep(0.05)
    return hold(file, wait=False)


def _claim(path: str) -> int:
    """Create the bundle's directory and mark it as incomplete; what a killed unpack left is removed first."""
    try:
        os.makedirs(path, 0o700, exist_ok=True)
        owner = os.stat(path).st_uid
        if owner != os.geteuid():   # that user could replace new files by symbolic links
            raise UsageError(f'"{path}" belongs to user {owner}: name a directory that does not exist yet')
        names = os.listdir(path)
        if names and NEW not in names:
            raise UsageError(f'"{path}" is not empty: name a directory that does not exist yet')
        fd = os.open(f"{path}/{NEW}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _hold(fd)
            os.chmod(path, 0o700)
            for name in names:
                if name != NEW:
                    _remove(f"{path}/{name}")
        except BlockingIOError:
            os.close(fd)
            raise UsageError(f'"{path}": another unpack is running there') from None
        except BaseException:
            os.close(fd)
            raise
    except OSError as error:
        raise HostError(f'cannot make the bundle "{path}": {error.strerror}') from None
    return fd


def _remove(path: str) -> None:
    """Remove what an unpack created, with its mounts."""
    for target in reversed(_mounts()):
        if target == path or target.startswith(path + "/"):
            kernel.umount2(target)
    trees.remove(path)


def _mounts() -> list[str]:
    """The mount points, in the order of the mounts (proc_pid_mountinfo(5))."""
    with open("/proc/self/mountinfo", "rb") as file:
        fields = [line.split()[4] for line in file]
    return [os.fsdecode(field.replace(b"\\040", b" ").replace(b"\\011", b"\t").replace(b"\\012", b"\n")
                        .replace(b"\\134", b"\\")) for field in fields]


def _clear(path: str) -> None:
    """Remove the incomplete bundle; the mark goes last."""
    for name in sorted(os.listdir(path), key=lambda name: name == NEW):
        _remove(f"{path}/{name}")
    os.rmdir(path)


def _configuration(image: Image, path: str, wishes: Wishes, volumes: str) -> dict[str, Any]:
    root = os.open(f"{path}/rootfs", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        unified = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
        document = convert(image.config, root, wishes, uid=os.geteuid(), gid=os.getegid(), unified=unified)
        if wishes.rootless:
            linux = document["linux"]
            linux["uidMappings"], linux["gidMappings"] = _mappings("uid"), _mappings("gid")
        for number, volume in enumerate(sorted(image.config.config.get("Volumes") or {})):
            if volumes != "none":
                document["mounts"].append(_volume(path, root, number, volume, volumes))
    finally:
        os.close(root)
    return document


def _mappings(kind: str) -> list[dict[str, int]]:
    """The ID maps of this user namespace, for a container whose files have these IDs."""
    with open(f"/proc/self/{kind}_map", encoding="ascii") as file:
        rows = [list(map(int, line.split())) for line in file]
    return [{"containerID": inside, "hostID": outside, "size": size} for inside, outside, size in rows]


def _volume(path: str, root: int, number: int, volume: str, kind: str) -> dict[str, Any]:
    """The mount of a volume, filled with the image's files at its path."""
    destination = os.path.normpath("/" + volume.lstrip("/"))   # normpath keeps two leading slashes
    if destination == "/" or f"{destination}/".startswith("/proc/"):   # the other steps rely on the kernel's /proc
        raise ImageError(f'config.Volumes: "{volume}" cannot be a volume: give --volumes none', "config.Volumes")
    if kind == "tmpfs":
        return {"destination": destination, "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "nodev", "mode=0755", "tmpcopyup"]}
    target = f"{path}/volumes/{number}"
    os.makedirs(target, 0o755)
    try:
        found = kernel.openat2(os.fsencode(destination), os.O_RDONLY | os.O_DIRECTORY, dir_fd=root,
                               resolve=kernel.RESOLVE_IN_ROOT | kernel.RESOLVE_NO_MAGICLINKS)
    except OSError:   # the image has no directory at this path: the volume is empty
        found = -1
    if found >= 0:
        from pyruntime.images.layers.merge import merge  # lazy: only with volumes
        made = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            merge(found, made)
        finally:
            os.close(made)
            os.close(found)
    return {"destination": destination, "type": "bind", "source": f"volumes/{number}", "options": ["rbind", "rw"]}


class Bundle:
    """An existing bundle, with its layers."""

    __slots__ = ("driver", "layers", "path", "record", "store")

    def __init__(self, store: Store, path: str) -> None:
        """Raises ImageError if the directory is not a bundle of this store."""
        self.store = store
        self.path = os.path.realpath(path)
        try:
            mark = bundles.read_mark(self.path)
            record: Record = bundles.read(store.layout, mark["id"])
        except (FileNotFoundError, NotADirectoryError):
            raise ImageError(f'"{path}" is not a bundle that `pyimage unpack` made with the store "{store.root}"'
                             ) from None
        self.record = record
        self.driver: Driver = named(record.driver, store)
        self.layers: Layers = layers.layers_of(store.layout, record.keys, record.chain_ids)

    @property
    def rootfs(self) -> str:
        """The root filesystem."""
        return f"{self.path}/rootfs"

    @property
    def private(self) -> str:
        """The directory of the driver's own files."""
        return f"{self.path}/.rootfs"

    def mounted(self) -> bool:
        """Whether the root filesystem is mounted, or needs no mount."""
        return not self.driver.mounts or os.path.ismount(self.rootfs)

    def mount(self) -> None:
        """Mount the root filesystem again, after a reboot or `umount`."""
        if not self.mounted():
            self.driver.mount(self.layers, self.rootfs, self.private)

    def unmount(self) -> None:
        """Unmount the root filesystem."""
        self.driver.unmount(self.rootfs)

    def remove(self) -> None:
        """Remove the bundle with its changes, and its record in the store."""
        self.driver.remove(self.rootfs, self.private)
        for name in os.listdir(self.path):
            if name != bundles.MARK:   # last: a killed removal can be repeated
                trees.remove(f"{self.path}/{name}")
        self.store.remove_bundle(self.record)
        trees.remove(self.path)

    def configuration(self) -> dict[str, Any]:
        """The bundle's config.json."""
        with open(f"{self.path}/config.json", "rb") as file:
            document = decode(file.read(), f"{self.path}/config.json")
        if not isinstance(document, dict):
            raise ImageError(f'"{self.path}/config.json": expected an object')
        return document



