"""The files of a container as its programs see them, running or not.

Running: the root directory of the init process with all its mounts (proc_pid_root(5)). Not running: the root
filesystem, its volumes and bind mounts, mounted in a mount namespace that the calling thread enters; the container
stays locked, so that it is not started.

No path in there is trusted. Paths are resolved by openat2(2) with RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS, so that no
symbolic link and no "/proc/self/fd" leads out of the root, whatever the programs of the container do meanwhile.
"""

from __future__ import annotations

import errno
import os

from pyruntime.errors import HostError
from pyruntime.images.layers.tree import not_there
from pyruntime.pocker.containers.start import mount_rootfs, own_mounts
from pyruntime.pocker.containers.status import status_of
from pyruntime.system import kernel
from pyruntime.system.processes import start_time
from pyruntime.system.uapi import MS_BIND, MS_RDONLY, MS_REC, MS_REMOUNT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyruntime.pocker.containers.container import Container, ContainerRecord
    from pyruntime.system.locks import Lock

_INSIDE = kernel.RESOLVE_IN_ROOT | kernel.RESOLVE_NO_MAGICLINKS
# Filesystems that show the kernel's state: some files never end, and reading some has an effect.
_KERNEL = {"autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "efivarfs", "fusectl",
           "mqueue", "nsfs", "proc", "pstore", "securityfs", "selinuxfs", "sysfs", "tracefs"}
_TRIES = 100   # to resolve a path that is being renamed


class ContainerFiles:
    """A context manager; ``root`` is the descriptor of the root directory, ``kernel`` are the devices (st_dev) of the
    kernel's filesystems, which are not copied.

    For a container that is not running the calling thread moves into a mount namespace of its own. Raises HostError.
    """

    def __init__(self, container: Container, record: ContainerRecord) -> None:
        self._container = container
        self._record = record
        self._lock: Lock | None = None
        self.root = -1
        self.kernel: frozenset[int] = frozenset()
        ids = record.settings.ids
        self.uids, self.gids = Ids(ids.uids if ids else ()), Ids(ids.gids if ids else ())

    def __enter__(self) -> ContainerFiles:
        self._enter()
        if self._record.settings.ids:
            # On a mount with mapped IDs a file of an unmapped ID, such as the host's root, cannot be made (EOVERFLOW).
            kernel.set_fs_ids(self.uids.outside(0), self.gids.outside(0))
        return self

    def _enter(self) -> None:
        while True:
            if self._open_running():
                return
            lock = self._container.lock()
            lock.__enter__()
            try:
                if not status_of(self._container).pid:
                    self._mount()
                    self._lock = lock
                    return
            finally:
                if self._lock is None:
                    lock.__exit__()

    def _open_running(self) -> bool:
        pid = status_of(self._container).pid
        started = start_time(pid) if pid else 0
        if not started:
            return False
        try:
            self.root = os.open(f"/proc/{pid}/root", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, ProcessLookupError):
            return False
        if start_time(pid) == started and status_of(self._container).pid == pid:
            self.kernel = _kernel_devices(pid)
            return True
        os.close(self.root)   # of another process that got the ID
        return False

    def _mount(self) -> None:
        container, record = self._container, self._record
        shared = own_mounts(record.settings)
        mount_rootfs(container, record, container.run())
        self.root = os.open(container.rootfs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if record.settings.mounts:
            from pyruntime.pocker.containers import mounts  # lazy: only with mounts

            mounts.provide(container, record, self.root, shared)
            for number, mount in enumerate(mounts.entries(container, record.settings)):
                if mount["type"] == "bind":   # a tmpfs is empty at each start
                    self._bind({**mount, "source": self._source(mount, f"cp{number}")})
        if record.settings.read_only:
            kernel.mount("", container.rootfs, "", MS_REMOUNT | MS_BIND | MS_RDONLY, "")

    def _bind(self, mount: dict[str, Any]) -> None:
        try:
            place = self.open(os.fsencode(mount["destination"]), os.O_PATH)
        except FileNotFoundError:   # the runtime makes it at the first start
            place = self._made(os.fsencode(mount["destination"]), directory=os.path.isdir(mount["source"]))
        try:
            kernel.mount(mount["source"], f"/proc/self/fd/{place}", "", MS_BIND | MS_REC, "")
        finally:
            os.close(place)
        if {"ro", "rro"} & set(mount["options"]):
            place = self.open(os.fsencode(mount["destination"]), os.O_PATH)   # the new mount
            try:
                kernel.mount("", f"/proc/self/fd/{place}", "", MS_REMOUNT | MS_BIND | MS_RDONLY, "")
            finally:
                os.close(place)

    def _source(self, mount: dict[str, Any], name: str) -> str:
        """The path to mount: the source itself, or a mount of it with mapped IDs."""
        source: str = mount["source"]
        if "idmap" not in mount["options"]:
            return source
        # lazy: only with a user namespace
        from pyruntime.images.snapshots.idmapped import Mapping
        from pyruntime.pocker.containers import mounts

        ids = self._record.settings.ids
        assert ids is not None
        mapping = Mapping(ids.uids, ids.gids)
        namespace = kernel.user_namespace(mapping.uids, mapping.gids)
        try:
            return mounts.attach(self._container, name, mapping.tree(source, namespace))
        finally:
            os.close(namespace)

    def _made(self, path: bytes, *, directory: bool) -> int:
        missing = list(not_there(self.root, path))   # beyond dangling links, too
        for made in missing:
            head, _, name = made.rpartition(b"/")
            above = self.open(b"/" + head, os.O_PATH | os.O_DIRECTORY)
            try:
                if directory or made != missing[-1]:
                    os.mkdir(name, 0o755, dir_fd=above)
                else:
                    os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=above))
            finally:
                os.close(above)
        return self.open(path, os.O_PATH)

    def open(self, path: bytes, flags: int) -> int:
        """Open a path in the container, by O_PATH or as a directory, so that opening it has no effect. Raises
        OSError."""
        for _ in range(_TRIES):
            try:
                return kernel.openat2(path or b"/", flags | os.O_CLOEXEC, dir_fd=self.root, resolve=_INSIDE)
            except OSError as error:
                if error.errno == errno.ENOSYS:
                    raise HostError("the kernel has no openat2(2), without which the paths of a container cannot be"
                                    " resolved safely: use Linux 5.6 or later") from None
                if error.errno != errno.EAGAIN:   # ".." during a rename or mount
                    raise
        raise OSError(errno.EAGAIN, f"path keeps changing; gave up after {_TRIES} tries")

    def __exit__(self, *_: object) -> None:
        if self._record.settings.ids:
            kernel.set_fs_ids(os.geteuid(), os.getegid())
        os.close(self.root)
        if self._lock is not None:
            kernel.umount2(self._container.rootfs, kernel.UMOUNT_NOFOLLOW | 2)   # MNT_DETACH: with its volumes
            self._lock.__exit__()


def _kernel_devices(pid: int) -> frozenset[int]:
    """st_dev of the kernel's filesystems among the mounts of a process (proc_pid_mountinfo(5))."""
    found = set()
    try:
        with open(f"/proc/{pid}/mountinfo", "rb") as file:
            for line in file:
                before, _, after = line.partition(b" - ")
                if after.split(b" ", 1)[0].decode() in _KERNEL:
                    major, _, minor = before.split(b" ")[2].partition(b":")
                    found.add(os.makedev(int(major), int(minor)))
    except (FileNotFoundError, ProcessLookupError):
        return frozenset()   # it has just exited; its root has no mounts then
    return frozenset(found)


class Ids:
    """The IDs of a container and those of the host, by lines of uid_map (user_namespaces(7)); equal without lines."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._maps = [tuple(map(int, line.split())) for line in lines]

    def outside(self, number: int) -> int:
        """The host's ID of a container's ID; the container's root for an ID that it does not have."""
        for inside, outside, size in self._maps:
            if inside <= number < inside + size:
                return outside + number - inside
        return self.outside(0) if self._maps and number else number

    def inside(self, number: int) -> int:
        """The container's ID of a host's ID; overflowuid(5) for an ID that it does not have."""
        for inside, outside, size in self._maps:
            if outside <= number < outside + size:
                return inside + number - outside
        return 65534 if self._maps else number
