"""Volumes: directories that outlive containers, or mounted filesystems, under a name.

    ROOT/volumes/NAME/volume.json   its description
    ROOT/volumes/NAME/_data         its files; the mount point of a volume with options, in the mount namespaces of
                                    monitors only
    ROOT/volumes/NAME/copying       the image's files are being copied into it, or the copying process was killed
    ROOT/volumes/NAME/lock          flock'ed meanwhile
    ROOT/volumes/~...               a volume that is being created or removed

A volume is in use as long as a container's record names it. Volumes are created and removed under the lock of
ROOT/volumes.
"""

from __future__ import annotations

import os
from _thread import get_native_id

from pyruntime.errors import HostError, NoSuchVolume, PyruntimeError, RecordError, StateError, UsageError
from pyruntime.images.store import trees
from pyruntime.pocker import events as history
from pyruntime.pocker.containers.container import ContainerRecord
from pyruntime.pocker.containers.container import every as every_container
from pyruntime.pocker.volume_names import problem
from pyruntime.system.files import forget, write
from pyruntime.system.locks import Lock
from pyruntime.system.processes import start_time
from pyruntime.system.records import Record
from pyruntime.system.times import timestamp
from pyruntime.system.uapi import CLONE_NEWNS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyruntime.pocker.directories import Directories
    from pyruntime.pocker.settings import MountPoint

_UNCLAIMED = "~"
_OPTIONS = ("type", "o", "device")


class Volume(Record):
    """One volume.

    ``options``    of the driver: type, o and device, as for mount(8); none for a plain directory
    ``anonymous``  made for one container
    """

    FIELDS = ("name", "created", "driver", "options", "labels", "anonymous")
    NEEDED = ("name",)

    def __init__(self, **values: Any) -> None:
        self.name: str = ""
        self.created: str = timestamp()
        self.driver: str = "local"
        self.options: dict[str, str] = {}
        self.labels: dict[str, str] = {}
        self.anonymous: bool = False
        self._set(values)


def directory(places: Directories, name: str) -> str:
    """The directory of a volume, which need not exist."""
    return f"{places.root}/volumes/{name}"


def data(places: Directories, name: str) -> str:
    """The directory of a volume's files."""
    return f"{directory(places, name)}/_data"


def find(places: Directories, name: str) -> Volume:
    """The volume of this name. Raises NoSuchVolume, UsageError for an invalid name."""
    if what := problem(name):
        raise UsageError(what)
    path = f"{directory(places, name)}/volume.json"
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise NoSuchVolume(f'no such volume: "{name}"') from None
    return Volume.parse(data, path, "save the files in _data beside it, and remove the volume's directory")


def every(places: Directories) -> Iterator[Volume]:
    """All volumes, by name."""
    try:
        names = os.listdir(f"{places.root}/volumes")
    except FileNotFoundError:
        return
    for name in sorted(names):
        if not name.startswith((_UNCLAIMED, ".")):
            try:
                yield find(places, name)
            except NoSuchVolume:
                continue   # removed in the meantime


def describe(places: Directories, volume: Volume) -> dict[str, Any]:
    """A volume as a document, with the names of `docker volume inspect`."""
    return {"CreatedAt": volume.created, "Driver": volume.driver, "Labels": volume.labels,
            "Mountpoint": data(places, volume.name), "Name": volume.name, "Options": volume.options, "Scope": "local",
            "Anonymous": volume.anonymous}


def size(places: Directories, name: str) -> int:
    """Bytes of the files in a volume: of a plain directory, or of a mount in this mount namespace."""
    try:
        return trees.survey(data(places, name))[1]
    except OSError:
        return 0   # removed in the meantime, or not readable


def check(driver: str, options: dict[str, str]) -> None:
    """Raise UsageError for an unknown driver or option."""
    if driver not in ("", "local"):
        raise UsageError(f'unknown volume driver "{driver}": use local')
    for name in options:
        if name not in _OPTIONS:
            raise UsageError(f'the volume driver local has no option "{name}": use {", ".join(_OPTIONS)}, as for'
                             " mount(8)")
    words = options.get("o", "").split(",")
    if options and not options.get("device") and options.get("type") != "tmpfs":
        raise UsageError("a volume with options needs device=, the device or directory to mount")
    if {"bind", "rbind"} & set(words) and not options["device"].startswith("/"):
        raise UsageError(f'device "{options["device"]}" of a bind mount is not an absolute path')


def _unclaimed(places: Directories, name: str) -> str:
    """The path of a directory of this thread alone, for a volume that is being created or removed."""
    return f"{places.root}/volumes/{_UNCLAIMED}{name}.{get_native_id()}.{os.getpid()}"


def make(places: Directories, volume: Volume) -> Volume:
    """The volume of this name, which is created if it does not exist. Raises UsageError for a volume with other
    options."""
    check(volume.driver, volume.options)
    with places.lock("volumes"):
        try:
            found = find(places, volume.name)
            if volume.options and found.options != volume.options:
                raise UsageError(f'the volume "{volume.name}" exists with other options: remove it, or choose another'
                                 " name")
            return found
        except NoSuchVolume:
            made = _unclaimed(places, volume.name)
            try:
                os.mkdir(made, 0o700)
                os.mkdir(f"{made}/_data", 0o755)
                write(f"{made}/volume.json", volume.encoded())
                os.rename(made, directory(places, volume.name))
            except OSError as error:
                trees.remove(made)
                raise HostError(f'cannot create the volume "{volume.name}": {error.strerror}') from None
    history.note(places, "volume", "create", volume.name, {"driver": volume.driver})
    return volume


def make_all(places: Directories, record: ContainerRecord) -> None:
    """Create the missing volumes of a container. Raises UsageError, HostError."""
    for mount in record.settings.mounts:
        if mount.kind == "volume":
            _of(places, mount)


def _of(places: Directories, mount: MountPoint) -> Volume:
    return make(places, Volume(name=mount.source, driver=mount.driver or "local", options=dict(mount.driver_options),
                               labels=dict(mount.labels), anonymous=mount.unnamed))


def users(places: Directories) -> dict[str, list[str]]:
    """The volumes in use: name -> names of the containers."""
    found: dict[str, list[str]] = {}
    for _, record in every_container(places):
        for mount in record.settings.mounts:
            if mount.kind == "volume":
                found.setdefault(mount.source, []).append(record.name)
    return found


def remove(places: Directories, name: str) -> None:
    """Remove a volume with its files. Raises NoSuchVolume, StateError for a volume in use."""
    find(places, name)
    gone = _unclaimed(places, name)
    with places.lock("volumes"):
        if using := users(places).get(name):
            raise StateError(f'volume "{name}" is in use by {", ".join(using)}: remove the containers first')
        try:
            os.rename(directory(places, name), gone)
        except FileNotFoundError:
            return   # another process was faster
    history.note(places, "volume", "destroy", name, {})
    _clear(gone)


def remove_anonymous(places: Directories, gone: str) -> None:
    """Remove the anonymous volumes of a container whose directory was renamed to ``gone``; not those that another
    container uses."""
    path = f"{gone}/container.json"
    with open(path, "rb") as file:
        data = file.read()
    try:
        record = ContainerRecord.parse(data, path, "remove it")
    except RecordError:   # `rm -f`: which volumes are the container's is unknown; `volume prune` removes them
        return
    for mount in record.settings.mounts:
        if mount.unnamed:
            try:
                remove(places, mount.source)
            except StateError:
                continue   # another container uses it, or it is already removed


def sweep(places: Directories) -> None:
    """Clean up after commands that were killed."""
    try:
        names = os.listdir(f"{places.root}/volumes")
    except FileNotFoundError:
        return
    for name in names:
        if name.startswith(_UNCLAIMED) and not start_time(int(name.rpartition(".")[2])):
            ours = _unclaimed(places, name[len(_UNCLAIMED):].rsplit(".", 2)[0])
            try:
                os.rename(f"{places.root}/volumes/{name}", ours)
            except FileNotFoundError:
                continue   # another command does it at this moment
            _clear(ours)


def _clear(path: str) -> None:
    from pyruntime.system import kernel  # lazy: only for mounts

    try:
        while True:   # mounted here only if this was the monitor of a container that used it
            kernel.umount2(f"{path}/_data", kernel.MNT_DETACH | kernel.UMOUNT_NOFOLLOW)
    except OSError:
        pass   # EINVAL: no mount is left there
    try:
        trees.remove(path)
    except OSError as error:
        raise PyruntimeError(f'cannot remove "{path}": {error.strerror}') from None


# --- at the start of a container --------------------------------------------------------------------------------------


def provide(places: Directories, record: ContainerRecord, mount: MountPoint, root: int) -> None:
    """Make a volume ready for a container: mount a volume with options, and copy the image's files at the target into
    an empty volume. ``root`` is the root filesystem. Raises HostError."""
    volume = _of(places, mount)
    path = directory(places, volume.name)
    with Lock(f"{path}/lock"):
        if volume.options:
            _mount(places, record, volume)
        if not mount.nocopy:
            _copy_up(path, mount.target, root)


def open_below(places: Directories, name: str, path: str) -> int:
    """A detached mount of a path in a volume, resolved without symbolic links. Raises HostError."""
    from pyruntime.system import kernel  # lazy: only for mounts

    top = os.open(data(places, name), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        there = kernel.openat2(os.fsencode(path), os.O_PATH, dir_fd=top,
                               resolve=kernel.RESOLVE_BENEATH | kernel.RESOLVE_NO_SYMLINKS)
        try:
            return kernel.clone_tree(there, recursive=True)
        finally:
            os.close(there)
    except OSError as error:
        raise HostError(f'cannot mount "{path}" of the volume "{name}": {error.strerror}') from None
    finally:
        os.close(top)


def _mount(places: Directories, record: ContainerRecord, volume: Volume) -> None:
    """Mount a volume with options. A tmpfs is shared by the running containers that use it, and vanishes with the last
    one."""
    from pyruntime.system import kernel  # lazy: only for mounts

    target = data(places, volume.name)
    if volume.options.get("type") == "tmpfs" and (tree := _running(places, record, target, volume.name)) >= 0:
        try:
            kernel.move_mount(tree, target)
        finally:
            os.close(tree)
        return
    words = ["mount", "-n"]
    for flag, name in (("-t", "type"), ("-o", "o")):
        if volume.options.get(name):
            words += [flag, volume.options[name]]
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        # By mount(8), whose helpers for network filesystems negotiate versions and addresses with servers.
        child = os.posix_spawnp("mount", [*words, "--", volume.options.get("device") or "tmpfs", target], os.environ,
                                file_actions=[(os.POSIX_SPAWN_DUP2, writer, 2)])
    except OSError as error:
        os.close(reader)
        raise HostError(f'cannot mount the volume "{volume.name}": mount(8): {error.strerror}') from None
    finally:
        os.close(writer)
    with open(reader, "rb") as file:
        told = file.read().decode("utf-8", "replace").strip()
    if os.waitpid(child, 0)[1]:
        raise HostError(f'cannot mount the volume "{volume.name}": {" ".join(told.split())}')


def _running(places: Directories, record: ContainerRecord, path: str, name: str) -> int:
    """A detached copy of the mount at ``path`` of another running container that uses the volume; -1 without one."""
    for container, other in every_container(places):
        uses = any(mount.kind == "volume" and mount.source == name for mount in other.settings.mounts)
        run = container.run()
        if uses and other.id != record.id and not run.over and run.watched():
            try:
                return tree_of(run.monitor[0], path)
            except OSError:
                continue   # it has just ended
    return -1


def tree_of(pid: int, path: str) -> int:
    """A detached copy of the mount at ``path`` in the mount namespace of a process. Raises OSError.

    Only for a process with a single thread, whose working directory does not matter.
    """
    from pyruntime.system import kernel  # lazy: only for mounts

    ours = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        theirs = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            kernel.setns(theirs, CLONE_NEWNS)
        finally:
            os.close(theirs)
        try:
            # No links: programs of that namespace may have made them, and we mount as root.
            there = kernel.openat2(os.fsencode(path), os.O_PATH, dir_fd=-100, resolve=kernel.RESOLVE_NO_SYMLINKS)
            try:
                return kernel.clone_tree(there, recursive=True)
            finally:
                os.close(there)
        finally:
            kernel.setns(ours, CLONE_NEWNS)
    finally:
        os.close(ours)


def _copy_up(path: str, target: str, root: int) -> None:
    """Copy the image's files at ``target`` into an empty volume, with owners, modes and attributes."""
    from pyruntime.system import kernel  # lazy: only for mounts

    mark = f"{path}/copying"
    interrupted = os.path.exists(mark)
    if not interrupted and os.listdir(f"{path}/_data"):
        return
    try:
        source = kernel.openat2(os.fsencode(target.lstrip("/")), os.O_RDONLY | os.O_DIRECTORY, dir_fd=root,
                                resolve=kernel.RESOLVE_IN_ROOT | kernel.RESOLVE_NO_MAGICLINKS)
    except OSError:
        return   # the image has no such directory
    try:
        # lazy: only for an empty volume
        from pyruntime.images.layers.merge import merge
        from pyruntime.images.layers.options import ExtractOptions

        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        into = os.open(f"{path}/_data", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if interrupted:
                trees.clear(os.dup(into))
            privileged = os.geteuid() == 0
            merge(source, into, ExtractOptions(privileged=privileged, userxattr=not privileged))
        finally:
            os.close(into)
        forget(mark)
    except OSError as error:
        raise HostError(f'cannot copy "{target}" of the image into the volume: {error.strerror}') from None
    finally:
        os.close(source)
