"""The mounts of a container: those of its settings, of other containers and of its image."""

from __future__ import annotations

import os

from pyruntime.errors import HostError, UsageError
from pyruntime.pocker.settings import MountPoint
from pyruntime.system.names import new_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.containers.container import Container, ContainerRecord
    from pyruntime.pocker.directories import Directories
    from pyruntime.pocker.settings import ContainerSettings, VolumesFrom

PROPAGATIONS = ("private", "rprivate", "slave", "rslave", "shared", "rshared")
_COVERABLE = ("cpuinfo", "diskstats", "loadavg", "meminfo", "net/dev", "slabinfo", "stat", "swaps", "uptime",
              "sys/kernel/ns_last_pid", "sys/crypto/fips_enabled")


def is_procfs(path: str) -> bool:
    """Whether a path of the container is /proc or below, except for the files that programs such as lxcfs cover. A
    mount over any other file would hide the kernel's answers from programs, or take what they write to the kernel
    (CVE-2019-16884). A symbolic link to /proc does no harm: the runtime uses a procfs of its own."""
    return path == "/proc" or (path.startswith("/proc/") and path.removeprefix("/proc/") not in _COVERABLE)


def complete(places: Directories, record: ContainerRecord) -> None:
    """Put together the mounts of the settings, of other containers and of the image; every volume gets a name.

    The settings override another container, and that overrides the image. Raises NoSuchContainer, UsageError.
    """
    mounts = list(record.settings.mounts)
    targets = {mount.target for mount in mounts}
    for other in record.settings.volumes_from:
        for mount in _borrowed(places, other):
            if mount.target not in targets:
                targets.add(mount.target)
                mounts.append(mount)
    for path in record.image_config.get("Volumes") or {}:
        target = os.path.normpath("/" + path.strip("/"))
        if is_procfs(target):
            raise UsageError(f'the image declares a volume at "{path}", which is in procfs and must not be covered')
        if target not in targets and target != "/":
            targets.add(target)
            mounts.append(MountPoint(kind="volume", target=target, anonymous=True))
    record.settings = record.settings.replace(mounts=[
        mount.replace(source=new_id()) if mount.kind == "volume" and not mount.source else mount
        for mount in mounts])


def _borrowed(places: Directories, other: VolumesFrom) -> list[MountPoint]:
    """The volumes and bind mounts of another container."""
    from pyruntime.pocker.containers.container import find  # lazy: only with volumes of another container

    return [mount.replace(anonymous=False, borrowed=mount.unnamed, read_only=mount.read_only or other.read_only)
            for mount in find(places, other.container).read().settings.mounts if mount.kind != "tmpfs"]


def entries(container: Container, settings: ContainerSettings) -> list[dict[str, Any]]:
    """The mounts of config.json; a mount below another one comes after it."""
    order = sorted(enumerate(settings.mounts), key=lambda pair: pair[1].target.count("/"))
    return [_entry(container, settings, number, mount) for number, mount in order]


def _entry(container: Container, settings: ContainerSettings, number: int, mount: MountPoint) -> dict[str, Any]:
    options = list(mount.options)
    if mount.kind == "tmpfs":
        options += ["ro"] if mount.read_only else []
        options = [word for word in options if word != "notmpcopyup"]
        return {"destination": mount.target, "type": "tmpfs", "source": "tmpfs", "options": options}
    source = f"{container.directory}/mounts/{number}" if _apart(mount) else mount.source
    if mount.kind == "volume":
        if not _apart(mount):
            from pyruntime.pocker.volumes import data  # lazy: only with volumes

            source = data(container.places, source)
        if settings.ids:   # containers with different IDs may share a volume
            options.append("idmap")
    if not {"bind", "rbind"} & set(options):
        options.insert(0, "rbind")
    if mount.read_only:   # mounts below it must not be writable either
        options.append("rro" if "rbind" in options else "ro")
    if not set(PROPAGATIONS) & set(options):
        options.append("rprivate")
    return {"destination": mount.target, "type": "bind", "source": source, "options": options}


def _apart(mount: MountPoint) -> bool:
    """Whether the source is first mounted in the container's directory. For a subpath of a volume: who may write to the
    volume could put a symbolic link into the path between our check and the mount. For a mount that is shared with the
    host: it has to stay shared while the rest of our mount namespace is cut off from the host."""
    return bool(mount.subpath) or _shared(mount)


def _shared(mount: MountPoint) -> bool:
    return mount.kind == "bind" and not {"shared", "rshared"}.isdisjoint(mount.options)


def shared_trees(settings: ContainerSettings) -> dict[int, int]:
    """Detached copies of the mounts that are shared with the host: the mount's number -> its descriptor. Called before
    our mount namespace becomes a slave of the host's. Raises HostError."""
    # lazy: only for mounts
    from pyruntime.system import kernel

    trees = {}
    for number, mount in enumerate(settings.mounts):
        if _shared(mount):
            _provide_bind(mount)
            try:
                trees[number] = kernel.open_tree(mount.source, clone=True, recursive=True)
            except OSError as error:
                raise HostError(f'cannot mount "{mount.source}": {error.strerror}') from None
    return trees


def _attach_shared(container: Container, number: int, tree: int, source: str) -> None:
    place = attach(container, str(number), tree)
    with open("/proc/thread-self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        fields = [line.split() for line in file if line.split()[4] == place]
    if not any(word.startswith("shared:") for word in fields[-1][6:fields[-1].index("-")]):
        raise HostError(f'cannot share "{source}" with the container: its mount on the host is not shared: make that'
                        " mount shared (mount_namespaces(7)), or leave out the propagation")


def provide(container: Container, record: ContainerRecord, root: int, shared: dict[int, int]) -> None:
    """Make all sources ready. ``root`` is the root filesystem's descriptor, whose files empty volumes get; ``shared``
    is the result of shared_trees. Called in the mount namespace of the container's monitor. Raises HostError."""
    for number, mount in enumerate(record.settings.mounts):
        if number in shared:
            _attach_shared(container, number, shared[number], mount.source)
        elif mount.kind == "bind":
            _provide_bind(mount)
        elif mount.kind == "volume":
            from pyruntime.pocker import volumes  # lazy: only with volumes

            volumes.provide(container.places, record, mount, root)
            if _apart(mount):
                tree = volumes.open_below(container.places, mount.source, mount.subpath)
                attach(container, str(number), tree)


def attach(container: Container, name: str, tree: int) -> str:
    """Mount a detached tree below the container's directory, under this name, and close its descriptor; the path."""
    from pyruntime.system import kernel  # lazy: only for mounts

    place = f"{container.directory}/mounts/{name}"
    try:
        if os.fstat(tree).st_mode & 0o170000 == 0o040000:
            os.makedirs(place, 0o700, exist_ok=True)
        elif not os.path.exists(place):
            os.makedirs(os.path.dirname(place), 0o700, exist_ok=True)
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        kernel.move_mount(tree, place)
    finally:
        os.close(tree)
    return place


def release(directory: str) -> None:
    """Unmount what ``attach`` has mounted for the container of this directory, as far as our mount namespace has it."""
    from pyruntime.system import kernel  # lazy: only for mounts

    try:
        names = os.listdir(f"{directory}/mounts")
    except FileNotFoundError:
        return
    for name in names:
        try:
            while True:   # each start adds a mount
                kernel.umount2(f"{directory}/mounts/{name}", kernel.MNT_DETACH | kernel.UMOUNT_NOFOLLOW)
        except OSError:
            continue   # EINVAL: no mount is left there


def _provide_bind(mount: MountPoint) -> None:
    source = mount.source
    if os.path.lexists(source):
        return
    if not mount.create:
        raise HostError(f'cannot mount "{source}" at "{mount.target}": it no longer exists')
    try:
        os.makedirs(source, 0o755, exist_ok=True)
    except OSError as error:
        raise HostError(f'cannot make "{source}" to mount it at "{mount.target}": {error.strerror}') from None
