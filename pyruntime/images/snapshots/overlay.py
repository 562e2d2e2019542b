"""Root filesystems as overlayfs mounts: the layers below, unchanged, and PRIVATE/upper above, with all changes.

Mounted with index=off, redirect_dir=off, metacopy=off: upper is then complete, and can become a layer (images.md 3.3).
Layers are passed one by one (``lowerdir+``, Linux 6.8); earlier kernels take all their names in one page, as short
relative names. In a user namespace the layers' attributes are user.overlay.*; if the kernel cannot mount overlayfs
there (before 5.11), fuse-overlayfs does.
"""

from __future__ import annotations

import errno
import os
from _signal import SIG_DFL, SIGCHLD, signal  # type: ignore[import-not-found]
from _thread import get_native_id

from pyruntime.errors import HostError
from pyruntime.images.snapshots.driver import Changes, Driver, copy_root, existing
from pyruntime.images.store.layers import SHORT, bare
from pyruntime.system import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.images.store.layers import Layers

_UNKNOWN = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)   # errors of kernels without lowerdir+
_OFF = ("index", "redirect_dir", "metacopy")


class OverlayDriver(Driver):
    """The overlay driver."""

    name = "overlay"
    mounts = True

    def usable(self, target: str) -> str:
        """The kernel decides, by a trial mount, whether upper directories can be on the target's filesystem."""
        from pyruntime.images.store import trees  # lazy: only with mapped IDs

        trial = os.path.join(existing(target), f".pyruntime-overlay-{os.getpid()}.{get_native_id()}")
        try:
            trees.remove(trial)   # of a killed process with the same pid
            for name in ("", "lower", "upper", "work", "merged"):
                os.mkdir(os.path.join(trial, name), 0o700)
            mount_layers([f"{trial}/lower"], f"{trial}/merged", trial, userxattr=self._userxattr)
            kernel.umount2(f"{trial}/merged")
            return ""
        except HostError as error:
            return str(error)
        except OSError as error:
            return f'cannot create "{trial}": {error.strerror}'
        finally:
            trees.remove(trial)

    @property
    def _userxattr(self) -> bool:
        return self.store.layout.overlay == "user."

    def prepare(self, layers: Layers, target: str, private: str, *, volatile: bool = False) -> None:
        """Create upper and work, and mount."""
        try:
            os.makedirs(private, 0o700, exist_ok=True)
            for name in ("upper", "work"):
                os.mkdir(f"{private}/{name}", 0o755)
            if layers.root:
                copy_root(layers.root, f"{private}/upper")
            if self.mapping is not None:
                found = os.stat(f"{private}/upper")
                os.chown(f"{private}/upper", *self.mapping.owner(found.st_uid, found.st_gid))
        except OSError as error:
            raise HostError(f'cannot create "{error.filename or private}": {error.strerror}') from None
        self.mount(layers, target, private, volatile=volatile)

    def mount(self, layers: Layers, target: str, private: str, *, volatile: bool = False) -> None:
        """Mount a prepared root filesystem."""
        directories = layers.directories
        if not directories:   # overlayfs needs at least one
            os.makedirs(f"{private}/empty", 0o755, exist_ok=True)
            directories = [f"{private}/empty"]
        if self.mapping is None:
            mount_layers(directories, target, private, userxattr=self._userxattr, volatile=volatile)
            return
        from pyruntime.images.snapshots.idmapped import Mapped  # lazy: only with mapped IDs

        with Mapped(self.mapping, directories, f"{private}/ids") as mapped:
            mount_layers(mapped, target, private, userxattr=self._userxattr, volatile=volatile)

    def unmount(self, target: str) -> None:
        """Unmount; raises HostError if it is in use."""
        try:
            kernel.umount2(target)
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise HostError(f'"{target}" is in use: end the processes that use it first') from None
            if error.errno not in (errno.EINVAL, errno.ENOENT):   # EINVAL: not mounted
                raise HostError(f'cannot unmount "{target}": {error.strerror}') from None

    def changes(self, layers: Layers, target: str, private: str) -> Changes:
        """The upper directory."""
        return Changes("upper", f"{private}/upper", layers.directories)


def mount_layers(directories: list[str], target: str, private: str, *, userxattr: bool, volatile: bool = False) -> None:
    """Mount layers, bottom first, below PRIVATE/upper at ``target``, by the best interface of this kernel."""
    flags = [name for name, wanted in (("userxattr", userxattr), ("volatile", volatile)) if wanted]
    try:
        mount_by_settings(directories, target, private, flags)
        return
    except OSError as error:
        first = error
    ways: list[Callable[[], None]] = []
    if first.errno in _UNKNOWN:
        ways.append(lambda: mount_by_names(directories, target, private, flags))
    if userxattr and (program := _fuse_overlayfs()):
        ways.append(lambda: mount_by_fuse(program, directories, target, private))
    for way in ways:
        try:
            way()
            return
        except OSError as error:
            if error.errno == errno.ENOENT:   # else the first says most
                first = error
    remedy = ": install fuse-overlayfs, or use another driver" if userxattr and not _fuse_overlayfs() else ""
    raise HostError(f'cannot mount an overlay of {len(directories)} layers at "{target}":'
                    f" {first.strerror or first}{remedy}")


def mount_by_settings(directories: list[str], target: str, private: str, flags: list[str]) -> None:
    """fsconfig(2) with lowerdir+ for each layer: the length of names is not limited. OSError."""
    settings: list[tuple[str, str | None]] = [("source", "overlay")]
    settings += [("lowerdir+", path) for path in reversed(directories)]
    settings += [("upperdir", f"{private}/upper"), ("workdir", f"{private}/work")]
    if "userxattr" not in flags:   # userxattr implies them, and refuses them
        settings += [(name, "off") for name in _OFF]
    kernel.mount_filesystem("overlay", target, [*settings, *((flag, None) for flag in flags)])


def mount_by_names(directories: list[str], target: str, private: str, flags: list[str]) -> None:
    """mount(2), whose options are limited to a page: layers as links in PRIVATE/l, by relative names. OSError."""
    options = [*flags, *(f"{name}=off" for name in _OFF if "userxattr" not in flags)]

    def act(names: str) -> int:
        data = ",".join([f"lowerdir={names}", "upperdir=../upper", "workdir=../work", *options])
        if len(data) > 4095:
            return errno.E2BIG
        try:
            kernel.mount("overlay", os.path.abspath(target), "overlay", 0, data)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    _among_links(directories, private, act)


def mount_by_fuse(program: str, directories: list[str], target: str, private: str) -> None:
    """fuse-overlayfs(1): a process that ends when it is unmounted. OSError."""
    def act(names: str) -> int:
        words = [program, "-o", f"lowerdir={names},upperdir=../upper,workdir=../work", os.path.abspath(target)]
        silent = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
        status = os.waitpid(os.posix_spawn(program, words, os.environ, file_actions=silent), 0)[1]
        return errno.EIO if status else 0

    _among_links(directories, private, act)


def short_names(directories: list[str]) -> list[str]:
    """A name for each layer: the end of its key, by which the garbage collection finds it among the mounts; for another
    directory a number."""
    names: dict[str, None] = {}
    for number, path in enumerate(directories):
        above, last = os.path.split(path)
        key = bare(os.path.basename(above)) if last == "fs" else ""
        ends = (key[-length:] for length in range(SHORT, len(key) + 1) if key.isalnum())
        names[next((end for end in ends if end not in names), str(number))] = None
    return list(names)


def _among_links(directories: list[str], private: str, act: Callable[[str], int]) -> None:
    """Call ``act`` with the layers' short names, in a child whose working directory holds these links."""
    links = os.path.abspath(f"{private}/l")
    os.makedirs(links, 0o700, exist_ok=True)
    for name in os.listdir(links):
        os.unlink(f"{links}/{name}")
    short = short_names(directories)
    for name, path in zip(short, directories, strict=True):
        os.symlink(os.path.abspath(path), f"{links}/{name}")
    names = ":".join(reversed(short))
    answer, told = os.pipe2(os.O_CLOEXEC)   # a caller that ignores SIGCHLD gets no exit status
    child = os.fork()   # threads share the working directory
    if child == 0:
        code = errno.EIO
        try:
            signal(SIGCHLD, SIG_DFL)
            os.chdir(links)
            code = act(names)
        except OSError as error:
            code = error.errno or errno.EIO
        finally:
            try:
                os.write(told, code.to_bytes(4, "little"))
            finally:
                os._exit(0)
    os.close(told)
    code = int.from_bytes(os.read(answer, 4) or errno.EIO.to_bytes(4, "little"), "little")
    os.close(answer)
    try:  # noqa: SIM105 -- contextlib is too dear for the hot path
        os.waitpid(child, 0)
    except ChildProcessError:   # see above
        pass
    if code:
        raise OSError(code, os.strerror(code))


def _fuse_overlayfs() -> str:
    for place in (*os.environ.get("PATH", "").split(":"), "/usr/bin", "/usr/local/bin"):
        if place and os.access(f"{place}/fuse-overlayfs", os.X_OK):
            return f"{place}/fuse-overlayfs"
    return ""
