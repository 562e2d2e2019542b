"""The paths of the store, and its locks.

STORE/version            the format, and the prefix of the layers' overlay attributes; written last
STORE/lock               flock: shared while a lease grows or a name is written, exclusive while the gc marks
STORE/blobs/<alg>/<hex>  complete, verified content only
STORE/ingest/<alg>-<hex> a partial download, locked by its process; it survives the process, and is resumed
STORE/names/<quoted>     a file for each name: the descriptor of its manifest or index
STORE/layers/<key>/      fs/ (an extracted layer in overlay form) and info; renamed into place as a whole
STORE/subvolumes/<hex>   the btrfs driver's merged layers, by chain ID
STORE/leases/            locked files of running commands: the content that they are going to use
STORE/bundles/<id>       the layers that a bundle or a container uses
STORE/cache/             the build cache: steps and their layers (steps)
STORE/mounts/<id>/       for each mounted image: a bundle that only records the layers
STORE/work/, trash/      content to come, and content to remove; abandoned if its lock is free

There is no repair: content appears by rename(2), complete or not at all, and the kernel releases the locks, flock(2),
of a process that ends. A killed command leaves a valid store.
"""

from __future__ import annotations

import errno
import os
import time

from pyruntime.errors import HostError, ImageError, PyruntimeError, UsageError
from pyruntime.images.digest import check
from pyruntime.system.locks import Lock, hold
from pyruntime.system.user_namespace import home, privileged, real_uid

VERSION = 1
DIRECTORIES = ("blobs", "ingest", "names", "layers", "subvolumes", "leases", "bundles", "cache", "mounts",
               "work", "trash")
_OURS = frozenset((*DIRECTORIES, "version", "lock"))
_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)


def default_root() -> str:
    """The default store: PYRUNTIME_STORE, /var/lib/pyruntime for root, $XDG_DATA_HOME/pyruntime for other users.

    Root of a user namespace counts as another user, unless it owns /var/lib (in a container).
    """
    if told := os.environ.get("PYRUNTIME_STORE"):
        return told
    if os.geteuid() == 0 and (privileged() or os.access("/var/lib", os.W_OK)):
        return "/var/lib/pyruntime"
    data = os.environ.get("XDG_DATA_HOME", "")
    if not data.startswith("/"):   # basedir-spec: a relative path must be ignored
        data = os.path.join(home(), ".local/share")
    return os.path.join(data, "pyruntime")


class Layout:
    """The paths of one store. ``overlay`` is the prefix of its layers' overlay attributes: "trusted." or "user."."""

    __slots__ = ("overlay", "root")

    def __init__(self, root: str, overlay: str) -> None:
        self.root = root
        self.overlay = overlay

    def blob(self, digest: str) -> str:
        """The path of a blob; raises ImageError if the digest is invalid or its algorithm not supported."""
        algorithm, _, encoded = check(digest).partition(":")
        return f"{self.root}/blobs/{algorithm}/{encoded}"

    def partial(self, digest: str) -> str:
        """The path of a blob that is being written."""
        return f"{self.root}/ingest/{check(digest).replace(':', '-')}"

    def layer(self, key: str) -> str:
        """The directory of an extracted layer."""
        return f"{self.root}/layers/{key}"

    def below(self, directory: str, name: str = "") -> str:
        """A path in one of DIRECTORIES."""
        return f"{self.root}/{directory}/{name}" if name else f"{self.root}/{directory}"

    def work(self) -> str:
        """A unique new path in work/."""
        return f"{self.root}/work/{os.getpid()}.{time.monotonic_ns():x}"

    def shared(self) -> Lock:
        """The shared lock of the store. The garbage collection waits for it: hold it briefly."""
        return Lock(f"{self.root}/lock", shared=True)

    def exclusive(self) -> Lock:
        """The exclusive lock of the store. All commands that add content wait for it: hold it briefly."""
        return Lock(f"{self.root}/lock")

    def failure(self, error: OSError, doing: str) -> PyruntimeError:
        """The error for a system call that failed in the store; ``doing`` like "writing blob sha256:..."."""
        words = error.strerror or str(error)
        if error.errno in _FULL:
            return HostError(f'store "{self.root}": {doing}: no space left: remove images that are not needed and'
                             f" collect garbage, or name another store with PYRUNTIME_STORE: {words}")
        if error.errno in _CLOSED:
            return HostError(f'store "{self.root}": {doing}: user {real_uid()} cannot write it: name'
                             f" another store with PYRUNTIME_STORE: {words}")
        return HostError(f'store "{self.root}": {doing}: {words}')

    def sync(self, *directories: str) -> None:
        """Write the names in these directories to disk. fsync(2)."""
        for name in directories:
            fd = os.open(self.below(name), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def open_layout(root: str = "") -> Layout:
    """Open the store at ``root`` ("" is default_root()), or create it.

    Raises HostError if that fails, ImageError if the format is newer than this program, UsageError if the directory
    holds something else.
    """
    root = os.path.abspath(root or default_root())
    _check_owner(root)
    try:
        fd = os.open(f"{root}/version", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return _make(root)
    except OSError as error:
        raise Layout(root, "").failure(error, "opening") from None
    try:
        words = os.read(fd, 100).decode("ascii", "replace").split()
    finally:
        os.close(fd)
    if len(words) != 2 or not words[0].isdecimal() or words[1] not in ("trusted.", "user."):
        raise ImageError(f'"{root}/version" is not a store\'s: expected "{VERSION} trusted." or "{VERSION} user."',
                         root)
    if int(words[0]) > VERSION:
        raise ImageError(f'store "{root}" has format {words[0]}, this program supports formats up to {VERSION}: use a'
                         " newer pyruntime, or another store", root)
    return Layout(root, words[1])


def _check_owner(root: str) -> None:
    """Refuse another user's directory: its owner could change the content, which is trusted."""
    try:
        owner = os.stat(root).st_uid
    except OSError:
        return   # the store will be created, or its creation fails
    if owner not in (os.geteuid(), 0):
        raise HostError(f'store "{root}" belongs to user {owner}, not to {real_uid()}: name your own store'
                        " with PYRUNTIME_STORE")


def _make(root: str) -> Layout:
    """Create a store. Several processes at once, or one after a killed one, create the same store."""
    layout = Layout(root, "")
    try:
        # 0700: other users must not reach the layers' set-user-ID programs and private files.
        os.makedirs(root, 0o700, exist_ok=True)
        if strange := [name for name in os.listdir(root) if name not in _OURS]:
            raise UsageError(f'"{root}" is not a store, and holds "{strange[0]}": name an empty or a new directory')
        for name in (*DIRECTORIES, "blobs/sha256", "blobs/sha512"):
            os.makedirs(f"{root}/{name}", 0o700, exist_ok=True)
        os.close(os.open(f"{root}/lock", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        temporary = layout.work()
        with layout.shared():   # a faster process's gc must not see the file unlocked
            layout.overlay = _attributes(layout)
            fd = write_file(temporary, f"{VERSION} {layout.overlay}\n".encode(), lock=True)
            try:
                os.rename(temporary, f"{root}/version")
            finally:
                os.close(fd)
    except OSError as error:
        raise layout.failure(error, "creating it") from None
    return layout


def _attributes(layout: Layout) -> str:
    """The prefix of overlay attributes: trusted.* only if this process, and the filesystem, support them.

    Root of a container often lacks CAP_SYS_ADMIN; its store is then like a user's.
    """
    try:
        os.setxattr(layout.below("work"), "trusted.overlay.pyruntime", b"")
        os.removexattr(layout.below("work"), "trusted.overlay.pyruntime")
    except OSError:   # not supported
        return "user."
    return "trusted."


def write_all(fd: int, data: bytes | memoryview) -> None:
    """write(2) until all data is written."""
    view = memoryview(data).cast("B")
    while view:
        view = view[os.write(fd, view):]


def write_file(path: str, data: bytes, *, lock: bool = False, sync: bool = True) -> int:
    """Create a file with this content, on disk unless ``sync`` is false. With ``lock`` the file stays open and locked:
    the caller closes it."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if lock:
            hold(fd)
        write_all(fd, data)
        if sync:
            os.fdatasync(fd)
    except BaseException:
        os.close(fd)
        os.unlink(path)
        raise
    if not lock:
        os.close(fd)
        return -1
    return fd


def abandoned(path: str) -> int:
    """A locked descriptor of a file or directory that no process uses; -1 if one does, or if it has been removed."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    try:
        hold(fd, wait=False)
    except BlockingIOError:
        os.close(fd)
        return -1
    return fd


def same(fd: int, path: str) -> bool:
    """Whether ``path`` is still the file of ``fd``: it may have been renamed during the wait for its lock."""
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    here = os.fstat(fd)
    return (there.st_ino, there.st_dev) == (here.st_ino, here.st_dev)
