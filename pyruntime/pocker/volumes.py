"""Volumes: directories that outlive containers, or other filesystems under a name.

    ROOT/volumes/NAME/volume.json   what it is
    ROOT/volumes/NAME/_data         what is in it; where a volume of options is mounted, in the monitors' mount
                                    namespaces alone
    ROOT/volumes/NAME/copying       somebody copies the image's files into it, or was killed while they did
    ROOT/volumes/NAME/lock          flock'ed meanwhile
    ROOT/volumes/~...               one that is being made or removed

A container keeps the names of its volumes, not the other way round: a volume is in use as long as a container's record
names it. Making a volume, and removing one that nobody uses, are done under the lock of ROOT/volumes.
"""

from __future__ import annotations

import os
from _thread import get_native_id

from pyruntime.errors import HostError, NoSuchVolume, PyruntimeError, StateError, UsageError
from pyruntime.images.store import trees
from pyruntime.pocker import events as history
from pyruntime.pocker.containers.container import every as every_container
from pyruntime.pocker.options.volume_names import volume_name
from pyruntime.system.files import forget, write
from pyruntime.system.json import decode, encode
from pyruntime.system.locks import Lock
from pyruntime.system.processes import start_time
from pyruntime.system.times import timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyruntime.pocker.containers.container import Record
    from pyruntime.pocker.directories import Places

_UNCLAIMED = "~"
_OPTIONS = ("type", "o", "device")
_CLONE_NEWNS = 0x00020000   # linux/sched.h


class Volume:
    """One volume.

    ``options``    of the driver: type, o and device, as mount(8) has them; none for a plain directory
    ``anonymous``  it was invented for a container
    """

    FIELDS = ("name", "created", "driver", "options", "labels", "anonymous")

    def __init__(self, **values: Any) -> None:
        self.name: str = ""
        self.created: str = timestamp()
        self.driver: str = "local"
        self.options: dict[str, str] = {}
        self.labels: dict[str, str] = {}
        self.anonymous: bool = False
        for name, value in values.items():
            setattr(self, name, value)

    def document(self) -> dict[str, Any]:
        """What is written down."""
        return {name: getattr(self, name) for name in self.FIELDS}


def directory(places: Places, name: str) -> str:
    """Where a volume is, or would be."""
    return f"{places.root}/volumes/{name}"


def data(places: Places, name: str) -> str:
    """Where its files are."""
    return f"{directory(places, name)}/_data"


def find(places: Places, name: str) -> Volume:
    """The volume of this name; raises NoSuchVolume."""
    path = f"{directory(places, volume_name('volume', name, name))}/volume.json"
    try:
        with open(path, "rb") as file:
            value = decode(file.read(), path)
    except FileNotFoundError:
        raise NoSuchVolume(f'no such volume: "{name}"') from None
    return Volume(**value) if isinstance(value, dict) else Volume(name=name)


def every(places: Places) -> Iterator[Volume]:
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
                continue   # removed meanwhile


def describe(places: Places, volume: Volume) -> dict[str, Any]:
    """A volume as `docker volume inspect` shows it."""
    return {"CreatedAt": volume.created, "Driver": volume.driver, "Labels": volume.labels,
            "Mountpoint": data(places, volume.name), "Name": volume.name, "Options": volume.options, "Scope": "local",
            "Anonymous": volume.anonymous}


def size(places: Places, name: str) -> int:
    """Bytes of the files in a volume, as far as they are here: of a plain directory, or of what we see mounted."""
    try:
        return trees.survey(data(places, name))[1]
    except OSError:
        return 0   # it has gone meanwhile, or somebody has mounted something in it


def check(driver: str, options: dict[str, str]) -> None:
    """Raise UsageError for a driver or an option that there is not."""
    if driver not in ("", "local"):
        raise UsageError(f'there is no volume driver "{driver}": use local')
    for name in options:
        if name not in _OPTIONS:
            raise UsageError(f'the volume driver local has no option "{name}": there are {", ".join(_OPTIONS)}, as'
                             " mount(8) has them")
    words = options.get("o", "").split(",")
    if options and not options.get("device") and options.get("type") != "tmpfs":
        raise UsageError("a volume with options needs device=, what is to be mounted")
    if {"bind", "rbind"} & set(words) and not options["device"].startswith("/"):
        raise UsageError(f'device "{options["device"]}" of a bind is not an absolute path')


def _unclaimed(places: Places, name: str) -> str:
    """The name of a directory that only this thread has, for a volume that is being made or removed."""
    return f"{places.root}/volumes/{_UNCLAIMED}{name}.{get_native_id()}.{os.getpid()}"


def make(places: Places, volume: Volume) -> Volume:
    """The volume of this name; made where there is none. Raises UsageError where there is another one of that name."""
    check(volume.driver, volume.options)
    with places.lock("volumes"):
        try:
            found = find(places, volume.name)
            if volume.options and found.options != volume.options:
                raise UsageError(f'the volume "{volume.name}" exists, with other options: remove it, or take another'
                                 " name")
            return found
        except NoSuchVolume:
            made = _unclaimed(places, volume.name)
            try:
                os.mkdir(made, 0o700)
                os.mkdir(f"{made}/_data", 0o755)
                write(f"{made}/volume.json", encode(volume.document()).encode())
                os.rename(made, directory(places, volume.name))
            except OSError as error:
                trees.remove(made)
                raise HostError(f'cannot make the volume "{volume.name}": {error.strerror}') from None
    history.note(places, "volume", "create", volume.name, {"driver": volume.driver})
    return volume


def make_all(places: Places, record: Record) -> None:
    """Make the volumes of a container that do not exist. Raises UsageError, HostError."""
    for mount in record.settings.mounts:
        if mount["kind"] == "volume":
            _of(places, mount)


def _of(places: Places, mount: dict[str, Any]) -> Volume:
    return make(places, Volume(name=mount["source"], driver=mount.get("driver") or "local",
                               options=mount.get("driver_options", {}), labels=mount.get("labels", {}),
                               anonymous=bool(mount.get("anonymous"))))


def users(places: Places) -> dict[str, list[str]]:
    """The volumes that containers use: name -> the containers' names."""
    found: dict[str, list[str]] = {}
    for _, record in every_container(places):
        for mount in record.settings.mounts:
            if mount["kind"] == "volume":
                found.setdefault(mount["source"], []).append(record.name)
    return found


def remove(places: Places, name: str) -> None:
    """Remove a volume with all that is in it. Raises NoSuchVolume, StateError where a container uses it."""
    find(places, name)
    gone = _unclaimed(places, name)
    with places.lock("volumes"):
        if using := users(places).get(name):
            raise StateError(f'volume "{name}" is used by {", ".join(using)}: remove the containers first')
        try:
            os.rename(directory(places, name), gone)
        except FileNotFoundError:
            return   # somebody was faster
    history.note(places, "volume", "destroy", name, {})
    _clear(gone)


def remove_anonymous(places: Places, gone: str) -> None:
    """Remove the volumes that were invented for a container, whose directory is ``gone`` by now; as far as no other
    container uses them."""
    path = f"{gone}/container.json"
    with open(path, "rb") as file:
        record = decode(file.read(), path)
    assert isinstance(record, dict)
    for mount in record["settings"]["mounts"]:
        if mount.get("anonymous"):
            try:
                remove(places, mount["source"])
            except StateError:
                continue   # it is somebody else's too, or has gone already


def sweep(places: Places) -> None:
    """Take away what commands left that were killed."""
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
    from pyruntime.system import kernel

    try:
        while True:   # seen where we are the monitor of a container that used it
            kernel.umount2(f"{path}/_data", kernel.MNT_DETACH | kernel.UMOUNT_NOFOLLOW)
    except OSError:
        pass   # EINVAL: nothing is mounted there any more
    try:
        trees.remove(path)
    except OSError as error:
        raise PyruntimeError(f'cannot remove "{path}": {error.strerror}') from None


# --- at the start of a container --------------------------------------------------------------------------------------


def provide(places: Places, record: Record, mount: dict[str, Any], root: int) -> None:
    """Make a container's volume ready: mounted, where it is no plain directory, and with what the image has at its
    place, when there is nothing in it. ``root`` is the root filesystem. Raises HostError."""
    volume = _of(places, mount)
    path = directory(places, volume.name)
    with Lock(f"{path}/lock"):
        if volume.options:
            _mount(places, record, volume)
        if not mount.get("nocopy"):
            _copy_up(path, mount["target"], root)


def open_below(places: Places, name: str, path: str) -> int:
    """A detached tree of a path in a volume, reached without symbolic links. Raises HostError."""
    from pyruntime.system import kernel

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


def _mount(places: Places, record: Record, volume: Volume) -> None:
    """Mount a volume that has options. What is in a tmpfs is shared by those who use it at the same time, and gone with
    the last of them."""
    from pyruntime.system import kernel

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
        # mount(8) has helpers for the network's filesystems, which ask servers for versions and addresses.
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


def _running(places: Places, record: Record, path: str, name: str) -> int:
    """A detached tree of what is mounted at ``path`` for another container that runs; -1 where there is none."""
    for container, other in every_container(places):
        uses = any(mount["kind"] == "volume" and mount["source"] == name for mount in other.settings.mounts)
        run = container.run()
        if uses and other.id != record.id and not run.over and run.watched():
            try:
                return tree_of(run.monitor[0], path)
            except OSError:
                continue   # it has ended this moment
    return -1


def tree_of(pid: int, path: str) -> int:
    """A detached copy of what is mounted at ``path`` in the mount namespace of a process. OSError.

    Only for a process with one thread, and without anything it has to keep in its working directory.
    """
    from pyruntime.system import kernel

    ours = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        theirs = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            kernel.setns(theirs, _CLONE_NEWNS)
        finally:
            os.close(theirs)
        try:
            # A link of somebody else's making must not lead anywhere: it is their namespace, but we are who mounts.
            there = kernel.openat2(os.fsencode(path), os.O_PATH, dir_fd=-100, resolve=kernel.RESOLVE_NO_SYMLINKS)
            try:
                return kernel.clone_tree(there, recursive=True)
            finally:
                os.close(there)
        finally:
            kernel.setns(ours, _CLONE_NEWNS)
    finally:
        os.close(ours)


def _copy_up(path: str, target: str, root: int) -> None:
    """Put what the image has at ``target`` into a volume in which nothing is, with owners, modes and attributes."""
    from pyruntime.system import kernel

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
