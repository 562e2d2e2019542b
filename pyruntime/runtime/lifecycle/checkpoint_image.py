"""The files of a checkpoint besides CRIU's own, and the keys by which CRIU names resources of the host.

A mount or an open file that belongs to the host goes into the image as a name, a *key*; `restore` passes CRIU the
host's file for each key. Keys, ``descriptors.json`` and the names of the logs are those of runc, so that each runtime
can restore the checkpoints of the other (docs/decisions/0013-checkpoint.md).
"""

from __future__ import annotations

import os
import stat

from pyruntime.errors import PyruntimeError, UsageError
from pyruntime.runtime.lifecycle import checkpoint_protocol as protocol
from pyruntime.runtime.lifecycle.facts import read_host
from pyruntime.system.files import reopen
from pyruntime.system.json import decode, encode
from pyruntime.system.mountinfo import unescape
from pyruntime.system.uapi import CLONE_NEWNET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from typing import Any

DESCRIPTORS = "descriptors.json"
DUMP_LOG, RESTORE_LOG = "dump.log", "restore.log"
NULL = "/dev/null"   # runc's key of every masked file
_NULL_ROOT = "/null"
# runc's keys of network and pid namespaces that the container has joined.
EXTERNAL_NAMESPACES = {"network": ("net", "extRootNetNS"), "pid": ("pid", "extRootPidNS")}
_CONFIG_ANNOTATION, _CONFIG_FILE = "org.criu.config", "/etc/criu/runc.conf"
NETWORK_LOCK_NFTABLES = 2
# Filesystems of the kernel, one for each namespace or for all: CRIU mounts a new one where it finds a whole one.
_KERNELS_OWN = {"proc", "sysfs", "mqueue", "devpts"}


class CriuRequest:
    """The options that `checkpoint` and `restore` share.

    ``image_path``  directory of the image (default: ``checkpoint`` in the working directory)
    ``work_path``   directory for CRIU's logs and statistics (default: that of the image)
    ``empty_ns``    namespaces to restore empty: CRIU supports only ``network``, which is always restored empty
    ``criu``        the CRIU program (default: the one in PATH)
    """

    def __init__(self, *, image_path: str = "", work_path: str = "", tcp_established: bool = False,
                 ext_unix_sk: bool = False, shell_job: bool = False, file_locks: bool = False,
                 manage_cgroups_mode: str = "", empty_ns: list[str] | tuple[str, ...] = (), auto_dedup: bool = False,
                 lazy_pages: bool = False, criu: str = "", rootless: bool | None = None) -> None:
        self.image_path = os.path.abspath(image_path or "checkpoint")
        self.work_path = os.path.abspath(work_path) if work_path else self.image_path
        self.tcp_established = tcp_established
        self.ext_unix_sk = ext_unix_sk
        self.shell_job = shell_job
        self.file_locks = file_locks
        if manage_cgroups_mode and manage_cgroups_mode not in protocol.CGROUP_MODES:
            raise UsageError(f'Invalid manage-cgroups-mode value: "{manage_cgroups_mode}"; write'
                             f" {', '.join(sorted(protocol.CGROUP_MODES))}")
        self.manage_cgroups_mode = manage_cgroups_mode or "soft"
        for kind in empty_ns:
            if kind != "network":
                raise UsageError(f'--empty-ns: namespace "{kind}" is not supported: CRIU supports only "network"')
        self.auto_dedup = auto_dedup
        self.lazy_pages = lazy_pages
        self.criu = criu
        self.rootless = rootless

    def options(self, log_file: str, annotations: dict[str, str]) -> dict[str, Any]:
        """The options of CRIU that checkpoint and restore share, except the directories. Raises UsageError if a CRIU
        configuration file is named but does not exist."""
        return {
            "log_level": 4, "log_file": log_file, "notify_scripts": True, "evasive_devices": True,
            "orphan_pts_master": True, "network_lock": NETWORK_LOCK_NFTABLES, "ext_masters": True,
            "tcp_established": self.tcp_established, "ext_unix_sk": self.ext_unix_sk, "shell_job": self.shell_job,
            "file_locks": self.file_locks, "auto_dedup": self.auto_dedup, "lazy_pages": self.lazy_pages,
            "manage_cgroups_mode": protocol.CGROUP_MODES[self.manage_cgroups_mode],
            # Always, as with runc: the network namespace is set up from outside, usually by hooks. CRIU would create
            # the veth of a bridged container again, and fail if it already exists.
            "empty_ns": CLONE_NEWNET,
            "config_file": _config_file(annotations),
        }


def _config_file(annotations: dict[str, str]) -> str | None:
    """The CRIU configuration file that overrides the runtime's options: from the container's annotation, or the host's;
    empty for none."""
    if _CONFIG_ANNOTATION in annotations:
        path = annotations[_CONFIG_ANNOTATION]
        if path and not os.path.isfile(path):
            raise UsageError(f'annotation {_CONFIG_ANNOTATION}: "{path}" is not a file')
        return path or None
    return _CONFIG_FILE if os.path.isfile(_CONFIG_FILE) else None


def refuse_rootless(request: CriuRequest, verb: str) -> None:
    """Raise UsageError where CRIU cannot work: it needs the rights of the host's root."""
    if read_host(request.rootless, cgroups=False).rootless:
        raise UsageError(f"cannot {verb} a rootless container: CRIU needs the rights of the host's root")


# --- the directory ---------------------------------------------------------------------------------------------------

def make_directory(path: str, option: str) -> None:
    """Create a directory for an image or for logs. Raises UsageError."""
    try:
        os.makedirs(path, 0o700, exist_ok=True)
    except OSError as error:
        raise UsageError(f'{option} "{path}": {error.strerror}') from None


def open_directory(path: str, option: str, inside: str = "") -> int:
    """A descriptor of a directory; with ``inside``, as in the mount namespace that has this root directory."""
    try:
        return reopen(path, inside) if inside else os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f'{option} "{path}": {error.strerror}') from None


def remove_log(directory: str, name: str) -> None:
    """Remove the log of an earlier attempt, which must not explain the failure of this one."""
    try:
        os.unlink(os.path.join(directory, name))
    except FileNotFoundError:
        return


def write_descriptors(directory: str, names: list[str]) -> None:
    """Save the keys of init's standard descriptors."""
    path = os.path.join(directory, DESCRIPTORS)
    try:
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(encode(names))
    except OSError as error:
        raise PyruntimeError(f'cannot write "{path}": {error.strerror}') from None


def read_descriptors(directory: str) -> list[str]:
    """Read the file of `write_descriptors`. Raises UsageError for a directory without a checkpoint."""
    path = os.path.join(directory, DESCRIPTORS)
    try:
        with open(path, "rb") as file:
            value = decode(file.read(1 << 16), DESCRIPTORS)
    except OSError as error:
        raise UsageError(f'--image-path "{directory}": not a checkpoint: {DESCRIPTORS}: {error.strerror}'
                         ) from None
    if not isinstance(value, list) or len(value) > 3 or not all(isinstance(name, str) for name in value):
        raise UsageError(f'"{path}" is not a list of names of the three standard descriptors')
    return value


def has_mount(directory: str, point: str) -> bool:
    """Whether a container of the image had a mount at ``point``: CRIU writes the paths in plain text to files of their
    own (mountpoints-N.img). Raises UsageError."""
    try:
        for name in os.listdir(directory):
            if name.startswith("mountpoints-"):
                with open(os.path.join(directory, name), "rb") as file:
                    if point.encode() in file.read():
                        return True
    except OSError as error:
        raise UsageError(f'--image-path "{directory}": {error.strerror}') from None
    return False


# --- resources of the host -------------------------------------------------------------------------------------------

class MountInfo:
    """One line of a mountinfo file (proc_pid_mountinfo(5)). ``root`` is the part of the filesystem that is mounted."""

    __slots__ = ("device", "fstype", "number", "point", "root")

    def __init__(self, line: str) -> None:
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        self.number = int(fields[0])
        self.device = fields[2]
        self.root = unescape(fields[3])
        self.point = unescape(fields[4])
        self.fstype = right.partition(" ")[0]


def mounts_of(process: str) -> list[MountInfo]:
    """The mounts in the mount namespace of a process, outer ones first."""
    with open(f"/proc/{process}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return [MountInfo(line) for line in file]


def external_mounts(pid: int, devices: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """The container's mounts of the host's filesystems, as (mount point, key). ``devices``: filesystems of the host
    that are not mounted in this process's mount namespace.

    Read from the kernel, not from config.json: hooks and the runtime mount, too, and the bundle may have changed.
    """
    ours = {mount.device for mount in mounts_of("self")}.union(devices)
    theirs = mounts_of(str(pid))
    root = next((mount for mount in reversed(theirs) if mount.point == "/"), None)
    if root is None:
        raise PyruntimeError(f"process {pid} has changed its root directory (chroot(2)): CRIU cannot dump it")
    inner = root.root.rstrip("/") + "/"
    bound_null = any(mount.point == NULL for mount in theirs)
    for mount in theirs:
        if mount.device not in ours or mount.point == "/":
            continue
        if mount.device == root.device and mount.root.startswith(inner):
            continue   # a bind mount from the root filesystem itself: CRIU can repeat it
        if mount.fstype in _KERNELS_OWN and mount.root == "/":
            continue
        # In a container that cannot create device nodes, this is the key of the host's /dev/null: masked files have
        # their own keys.
        masked = mount.root == _NULL_ROOT and not bound_null
        yield mount.point, NULL if masked else mount.point


def mount_sources(criu: int, rootfs: str) -> Iterator[tuple[str, str]]:
    """The host's paths for the keys of mounts in an image: (key, path in CRIU's mount namespace), as
    compiler/sections/restore.py has mounted them there. There may be more paths than the image has keys."""
    null, bound_null = NULL, False
    top = os.path.realpath(rootfs).rstrip("/")   # paths in mountinfo have no symbolic links
    for mount in mounts_of(str(criu)):
        if mount.point.startswith(f"{top}/"):
            key = mount.point[len(top):]
            yield key, mount.point
            bound_null = bound_null or key == NULL
            if mount.root == _NULL_ROOT:
                null = mount.point
    if not bound_null:
        yield NULL, null


def descriptor_names(pid: int) -> list[str]:
    """The keys of init's standard descriptors in the image: ``pipe:[N]`` for a pipe, ``file[MOUNT:INODE]`` for a file
    of the host, which CRIU would look for in the container in vain; otherwise the path, which CRIU does not use."""
    own = {mount.number for mount in mounts_of(str(pid))}
    names = []
    for number in range(3):
        try:
            name = os.readlink(f"/proc/{pid}/fd/{number}")
            about = os.stat(f"/proc/{pid}/fd/{number}")
            with open(f"/proc/{pid}/fdinfo/{number}", encoding="ascii") as file:
                info = dict(line.partition(":\t")[::2] for line in file.read().splitlines())
        except FileNotFoundError:
            names.append("")   # init has closed it
            continue
        mount = int(info.get("mnt_id", "0"))
        if name.startswith("/") and mount not in own and not stat.S_ISSOCK(about.st_mode):
            name = f"file[{mount:x}:{about.st_ino:x}]"
        names.append(name)
    return names
