"""Where the store keeps what, and who may touch it when.

    STORE/version            the format, and whose overlay attributes its layers have; written last
    STORE/lock               flock: shared while a lease grows or a name is written, exclusive while gc marks
    STORE/blobs/<alg>/<hex>  complete, verified content only
    STORE/ingest/<alg>-<hex> a partial download, flock'ed by whoever downloads; it survives death, to be resumed
    STORE/names/<quoted>     one small file a name: the descriptor of its manifest or index
    STORE/layers/<key>/      fs/ (an extracted layer in overlay form) and info; renamed into place as a whole
    STORE/subvolumes/<hex>   the btrfs driver's merged layers, by chain ID
    STORE/leases/            flock'ed by commands at work: the content that they are going to use
    STORE/bundles/<id>       which layers a bundle or a container uses
    STORE/cache/             what builds remember: steps and the layers that they made (steps)
    STORE/mounts/<id>/       for each image that is mounted somewhere: a bundle that is only there to use its layers
    STORE/work/, trash/      to be, and to be removed; abandoned where nobody holds the flock

Nothing is ever repaired: content appears by rename(2), whole or not at all, and locks are flock(2), which the kernel
drops with their holder. A store that a killed command leaves behind is a store.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time

from pyruntime.errors import HostError, ImageError, PyruntimeError, UsageError
from pyruntime.images.digest import check
from pyruntime.system.user_namespace import privileged, real_uid

VERSION = 1
DIRECTORIES = ("blobs", "ingest", "names", "layers", "subvolumes", "leases", "bundles", "cache", "mounts",
               "work", "trash")
_OURS = frozenset((*DIRECTORIES, "version", "lock"))
_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)


def default_root() -> str:
    """The store of who asks: PYRUNTIME_STORE, /var/lib/pyruntime for root, $XDG_DATA_HOME/pyruntime for others.

    Root of a user namespace is an "other", unless /var/lib is its own (it is inside of a container).
    """
    if told := os.environ.get("PYRUNTIME_STORE"):
        return told
    if os.geteuid() == 0 and (privileged() or os.access("/var/lib", os.W_OK)):
        return "/var/lib/pyruntime"
    data = os.environ.get("XDG_DATA_HOME", "")
    if not data.startswith("/"):   # basedir-spec: a relative path is to be ignored
        data = os.path.join(os.path.expanduser("~"), ".local/share")
    return os.path.join(data, "pyruntime")


class Lock:
    """flock(2) of a file while the context lasts. The descriptor is not inherited by programs."""

    __slots__ = ("_fd", "_kind", "_path")

    def __init__(self, path: str, kind: int) -> None:
        self._path = path
        self._kind = kind
        self._fd = -1

    def __enter__(self) -> Lock:
        fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, self._kind)
        except BaseException:   # a signal's exception, while we waited
            os.close(fd)
            raise
        self._fd = fd
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


class Layout:
    """The paths of one store. ``overlay`` is the prefix of its layers' overlay attributes: "trusted." or "user."."""

    __slots__ = ("overlay", "root")

    def __init__(self, root: str, overlay: str) -> None:
        self.root = root
        self.overlay = overlay

    def blob(self, digest: str) -> str:
        """The path of a blob; raises ImageError for what is no digest that we can compute."""
        algorithm, _, encoded = check(digest).partition(":")
        return f"{self.root}/blobs/{algorithm}/{encoded}"

    def partial(self, digest: str) -> str:
        """The path of a blob while it is on its way."""
        return f"{self.root}/ingest/{check(digest).replace(':', '-')}"

    def layer(self, key: str) -> str:
        """The directory of an extracted layer."""
        return f"{self.root}/layers/{key}"

    def below(self, directory: str, name: str = "") -> str:
        """A path in one of DIRECTORIES."""
        return f"{self.root}/{directory}/{name}" if name else f"{self.root}/{directory}"

    def work(self) -> str:
        """A name in work/ that nobody has: unique to this thread and moment."""
        return f"{self.root}/work/{os.getpid()}.{time.monotonic_ns():x}"

    def shared(self) -> Lock:
        """gc waits while this is held: keep it short."""
        return Lock(f"{self.root}/lock", fcntl.LOCK_SH)

    def exclusive(self) -> Lock:
        """Everybody who wants new content waits while this is held: keep it short."""
        return Lock(f"{self.root}/lock", fcntl.LOCK_EX)

    def failure(self, error: OSError, doing: str) -> PyruntimeError:
        """What to tell about a system call that failed in the store; ``doing`` like "writing blob sha256:..."."""
        words = error.strerror or str(error)
        if error.errno in _FULL:
            return HostError(f'store "{self.root}": {doing}: no space left: remove images that are not needed and'
                             f" collect garbage, or name another store with PYRUNTIME_STORE: {words}")
        if error.errno in _CLOSED:
            return HostError(f'store "{self.root}": {doing}: it cannot be written by user {real_uid()}: name'
                             f" another store with PYRUNTIME_STORE: {words}")
        return HostError(f'store "{self.root}": {doing}: {words}')

    def sync(self, *directories: str) -> None:
        """Have the names in these directories on disk. fsync(2)."""
        for name in directories:
            fd = os.open(self.below(name), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def open_layout(root: str = "") -> Layout:
    """Find the store at ``root`` ("" is default_root()), or make it.

    Raises HostError where it cannot be, ImageError for a format that is newer than this program, UsageError for a
    directory that holds something else.
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
        raise ImageError(f'store "{root}" has format {words[0]}, this program knows formats up to {VERSION}: use a'
                         " newer pyruntime, or another store", root)
    return Layout(root, words[1])


def _check_owner(root: str) -> None:
    """Whoever owns the directory can put anything into it, and what stands in a store is trusted."""
    try:
        owner = os.stat(root).st_uid
    except OSError:
        return   # it will be made, or what is wrong is said there
    if owner not in (os.geteuid(), 0):
        raise HostError(f'store "{root}" belongs to user {owner}, not to {real_uid()}: name one of your own'
                        " with PYRUNTIME_STORE")


def _make(root: str) -> Layout:
    """Make a store. Several at once, or one after another that was killed, make the same one."""
    layout = Layout(root, "")
    try:
        # 0700: layers hold setuid programs, and what an image keeps from other users.
        os.makedirs(root, 0o700, exist_ok=True)
        if strange := [name for name in os.listdir(root) if name not in _OURS]:
            raise UsageError(f'"{root}" is not a store, and holds "{strange[0]}": name an empty or a new directory')
        for name in (*DIRECTORIES, "blobs/sha256", "blobs/sha512"):
            os.makedirs(f"{root}/{name}", 0o700, exist_ok=True)
        os.close(os.open(f"{root}/lock", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        temporary = layout.work()
        with layout.shared():   # the gc of somebody who was faster must not find the file before it is locked
            layout.overlay = _attributes(layout)
            fd = write_file(temporary, f"{VERSION} {layout.overlay}\n".encode(), lock=True)
            try:
                os.rename(temporary, f"{root}/version")
            finally:
                os.close(fd)
    except OSError as error:
        raise layout.failure(error, "making it") from None
    return layout


def _attributes(layout: Layout) -> str:
    """The prefix of overlay attributes here: trusted.* only where we, and the filesystem, can have them.

    Root of a container is often without CAP_SYS_ADMIN; its store is then like that of a user.
    """
    try:
        os.setxattr(layout.below("work"), "trusted.overlay.pyruntime", b"")
        os.removexattr(layout.below("work"), "trusted.overlay.pyruntime")
    except OSError:   # the answer to our question
        return "user."
    return "trusted."


def now() -> str:
    """The time for our records: RFC 3339, seconds, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def write_all(fd: int, data: bytes | memoryview) -> None:
    """write(2) until everything is written."""
    view = memoryview(data).cast("B")
    while view:
        view = view[os.write(fd, view):]


def write_file(path: str, data: bytes, *, lock: bool = False, sync: bool = True) -> int:
    """A new file with this content, on disk unless ``sync`` is false. With ``lock`` it stays open and flock'ed: the
    caller closes."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if lock:
            fcntl.flock(fd, fcntl.LOCK_EX)
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
    """A flock'ed descriptor of a file or directory that nobody works on; -1 where somebody does, or it is gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return -1
    return fd


def same(fd: int, path: str) -> bool:
    """Whether ``path`` is still the file that ``fd`` is: it may have been renamed while we waited for its lock."""
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    here = os.fstat(fd)
    return (there.st_ino, there.st_dev) == (here.st_ino, here.st_dev)
