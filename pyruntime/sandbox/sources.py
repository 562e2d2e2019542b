"""Where a sandbox's root filesystem comes from.

``prepare`` is called in the thread that has the sandbox's own mounts: it may mount, and nobody else sees it.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from dataclasses import replace as replace_fields

from pyruntime.errors import HostError, NoSuchImage, UsageError
from pyruntime.images.api import ImageStore
from pyruntime.images.snapshots.overlay import mount_layers
from pyruntime.sandbox.leftovers import empty
from pyruntime.system.files import replace
from pyruntime.system.json import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyruntime.images.lookup import Image
    from pyruntime.images.progress import Progress

_LINKS = ("/bin", "/sbin", "/lib", "/lib64")
_ETC = {"passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/work:/bin/sh\n",
        "group": "root:x:0:\nnogroup:x:65534:\n", "hosts": "127.0.0.1 localhost\n::1 localhost\n"}
_REPLACED = ("proc", "sys", "dev", "tmp", "work")   # by mounts of every sandbox
HOST_PATHS = ("/usr", "/etc/alternatives", "/etc/ld.so.cache")


@dataclass(frozen=True)
class HostMount:
    """A file or directory of the host in a sandbox, read-only unless ``writable``."""

    source: str
    target: str
    writable: bool = False


@dataclass
class Prepared:
    """A root filesystem: its path, what it needs besides, and the program's defaults.

    ``layers``  the directories below ``uppers`` that an overlay consists of, bottom first; empty if it is no overlay
    ``uppers``  those of templates, and of the sandbox itself
    ``work``    the directory that is /work, instead of an empty one; ``work_before``: its content at the beginning, if
                it was not empty
    ``image``   the image that the layers are, in ``store``, or None
    """

    rootfs: str
    layers: Sequence[str] = ()
    uppers: Sequence[str] = ()
    work: str = ""
    work_before: str = ""
    image: Image | None = None
    store: ImageStore | None = None
    mounts: Sequence[HostMount] = ()
    env: Sequence[str] = ()
    cwd: str = ""
    held: ExitStack = field(default_factory=ExitStack)   # until the sandbox is gone


class RootSource:
    """The kinds of root filesystems.

    ``namespace``  a descriptor of the mount namespace in which `prepare` has to be called (a copy of it will do), or -1
    """

    namespace = -1

    def enter(self, scratch: str) -> None:
        """Called in the thread that has the sandbox's own mounts, before anything is mounted at ``scratch``."""

    def prepare(self, scratch: str, user: tuple[int, int]) -> Prepared:
        """Make the root filesystem in ``scratch``, an empty directory on a bounded filesystem, for a ``user``."""
        raise NotImplementedError

    def prepare_unprivileged(self, scratch: str) -> Prepared:
        """The same without root: nothing can be mounted yet, and ``scratch`` is an ordinary directory."""
        raise HostError("only root can copy a sandbox")


@dataclass(frozen=True)
class Directory(RootSource):
    """A directory is the root filesystem; it is not changed."""

    path: str

    def prepare(self, scratch: str, user: tuple[int, int]) -> Prepared:
        """An overlay, with the directory below."""
        return overlay([self._checked()], scratch)

    def prepare_unprivileged(self, scratch: str) -> Prepared:
        """A directory with mounts of what is in it: the runtime makes the places of other mounts beside them."""
        rootfs, mounts = f"{scratch}/root", []
        _directory(rootfs)
        with os.scandir(self._checked()) as entries:
            for entry in entries:
                if entry.is_symlink():
                    os.symlink(os.readlink(entry.path), f"{rootfs}/{entry.name}")
                elif entry.name not in _REPLACED:
                    mounts.append(HostMount(entry.path, f"/{entry.name}"))
        return Prepared(rootfs, mounts=mounts)

    def _checked(self) -> str:
        if not os.path.isdir(self.path):
            raise UsageError(f'"{self.path}" is not a directory: name a root filesystem, a bundle, or an image')
        return os.path.abspath(self.path)


@dataclass(frozen=True)
class BundleSource(RootSource):
    """The root filesystem, the environment and the working directory of a bundle; nothing else of its configuration."""

    path: str

    def prepare(self, scratch: str, user: tuple[int, int]) -> Prepared:
        """An overlay, with the bundle's root filesystem below."""
        return self._prepare(lambda directory: directory.prepare(scratch, user))

    def prepare_unprivileged(self, scratch: str) -> Prepared:
        """The bundle's root filesystem itself."""
        return self._prepare(lambda directory: directory.prepare_unprivileged(scratch))

    def _prepare(self, prepare: Callable[[Directory], Prepared]) -> Prepared:
        name = f"{self.path}/config.json"
        with open(name, "rb") as file:
            document = decode(file.read(), name)
        config = document if isinstance(document, dict) else {}
        root = (config.get("root") or {}).get("path") or "rootfs"
        process = config.get("process") or {}
        prepared = prepare(Directory(os.path.join(self.path, root)))
        prepared.env, prepared.cwd = process.get("env") or [], process.get("cwd") or ""
        return prepared


@dataclass(frozen=True)
class ImageSource(RootSource):
    """An image of a store, which is pulled if it is missing."""

    name: str
    store: ImageStore
    progress: Progress | None = None

    def prepare(self, scratch: str, user: tuple[int, int]) -> Prepared:
        """An overlay, with the image's layers below; a lease keeps them from the garbage collection."""
        with ExitStack() as held:
            held.enter_context(self.store.store.lease())
            try:
                image = self.store.find(self.name)
            except NoSuchImage:
                self.store.pull(self.name, progress=self.progress)
                image = self.store.find(self.name)
            layers = self.store.store.extract_layers(image.layers())
            config = image.config.config
            prepared = overlay(layers.directories, scratch)
            prepared.env, prepared.cwd = config.get("Env") or [], config.get("WorkingDir") or ""
            prepared.held, prepared.image, prepared.store = held.pop_all(), image, self.store
            return prepared

    def prepare_unprivileged(self, scratch: str) -> Prepared:
        """The image's files, unpacked once for all of the user's sandboxes; without progress of a pull."""
        from pyruntime.sandbox.user_images import unpacked  # lazy: only without root

        return BundleSource(unpacked(self.name, self.store)).prepare_unprivileged(scratch)


@dataclass(frozen=True)
class HostSource(RootSource):
    """The host's own system, read-only: nothing but these paths, and the links that the programs in them expect."""

    paths: Sequence[str] = HOST_PATHS

    def prepare(self, scratch: str, user: tuple[int, int]) -> Prepared:
        """An empty directory, with links and mounts."""
        return self.prepare_unprivileged(scratch)

    def prepare_unprivileged(self, scratch: str) -> Prepared:
        """The same."""
        rootfs = f"{scratch}/root"
        _directory(rootfs)
        _directory(f"{rootfs}/etc")
        for name, text in _ETC.items():
            replace(f"{rootfs}/etc/{name}", text.encode())
            os.chmod(f"{rootfs}/etc/{name}", 0o644)
        mounts = []
        for path in dict.fromkeys((*self.paths, *_LINKS)):
            if os.path.islink(path) and os.path.dirname(path) == "/":
                os.symlink(os.readlink(path), rootfs + path)
            elif os.path.exists(path):
                mounts.append(HostMount(path, path))
            elif path not in (*HOST_PATHS, *_LINKS):
                raise UsageError(f'"{path}" does not exist: leave it out of paths')
        return Prepared(rootfs, mounts=mounts)


def source_of(what: str | os.PathLike[str], store: ImageStore | None, progress: Progress | None) -> RootSource:
    """A text with a slash in front or a PathLike is a directory or a bundle; any other text is an image reference."""
    text = os.fspath(what)
    if not isinstance(what, str) or text.startswith(("/", "./", "../")):
        return BundleSource(text) if os.path.exists(f"{text}/config.json") else Directory(text)
    return ImageSource(text, store or ImageStore(), progress)


def _directory(path: str) -> None:
    os.mkdir(path)
    os.chmod(path, 0o755)   # for the sandbox's user, whatever our umask


@dataclass
class ForkSource(RootSource):
    """The present files of another sandbox, which are copied."""

    origin: RootSource   # of the first one
    prepared: Prepared
    namespace: int
    _old: int = -1

    def enter(self, scratch: str) -> None:
        """Keep the way to the other sandbox's files, at the same place."""
        self._old = os.open(scratch, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def prepare(self, scratch: str, user: tuple[int, int]) -> Prepared:
        """The same layers, and copies of everything above them."""
        from pyruntime.sandbox.trees import copy_tree  # lazy: few sandboxes are copies

        old = f"/proc/self/fd/{self._old}"
        before = self.prepared
        try:
            for name in ("t", "s") if before.work_before else ("w", "t", "s"):
                copy_tree(f"{old}/{name}", f"{scratch}/{name}")
            if before.layers:
                made = overlay([*before.layers, *before.uppers[:-1]], scratch, f"{old}/upper")
                made = replace_fields(before, rootfs=made.rootfs, held=lease_of(before))
            else:
                made = self.origin.prepare(scratch, user)
            if before.work_before:
                os.mkdir(f"{scratch}/above", 0o700)
                made.work, made.work_before = (overlay([before.work_before], f"{scratch}/above",
                                                       f"{old}/above/upper").rootfs, before.work_before)
            return made
        finally:
            self._forget()

    def _forget(self) -> None:
        if self._old >= 0:
            os.close(self._old)
            self._old = -1

    def __del__(self) -> None:
        self._forget()   # `prepare` was not reached


def lease_of(prepared: Prepared) -> ExitStack:
    """What keeps the layers of a root filesystem from the garbage collection, for another sandbox."""
    with ExitStack() as held:
        if prepared.image and prepared.store:
            held.enter_context(prepared.store.store.lease())
            prepared.store.store.extract_layers(prepared.image.layers())
        return held.pop_all()


def overlay(directories: Sequence[str], scratch: str, content: str = "") -> Prepared:
    """A root filesystem of these layers, bottom first, and SCRATCH/upper above them, with a copy of the content of the
    directory ``content``. Raises HostError."""
    for name in ("upper", "work", "root"):
        _directory(f"{scratch}/{name}")
    if content:
        from pyruntime.sandbox.trees import copy_tree, dress_like  # lazy: few sandboxes are copies

        copy_tree(content, f"{scratch}/upper")
        dress_like(content, f"{scratch}/upper")
    layers = list(directories) or [empty()]   # an image may have no layer, and overlayfs needs one
    mount_layers(layers, f"{scratch}/root", scratch, userxattr=False)
    return Prepared(f"{scratch}/root", layers=layers, uppers=[f"{scratch}/upper"])


def writable_directory(path: str, mode: int, user: tuple[int, int]) -> None:
    """Make a directory that belongs to the sandbox's user. Raises HostError."""
    try:
        os.mkdir(path)
        os.chmod(path, mode)   # whatever our umask
        os.chown(path, *user)
    except OSError as error:
        raise HostError(f"cannot make the sandbox's files: {error.strerror}") from None
