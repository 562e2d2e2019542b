"""Where a sandbox's root filesystem comes from.

``prepare`` is called where the sandbox's own mounts are (private_mounts.py): it may mount, and nobody else sees it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from dataclasses import replace as replace_fields

from pyruntime.errors import NoSuchImage, UsageError
from pyruntime.images.api import ImageStore
from pyruntime.images.snapshots.overlay import mount_layers
from pyruntime.images.store.layers import candidates
from pyruntime.images.store.store import Store
from pyruntime.sandbox.commands import path_of
from pyruntime.sandbox.host_errors import refused
from pyruntime.sandbox.leftovers import empty
from pyruntime.system.files import replace
from pyruntime.system.json import decode
from pyruntime.system.user_namespace import privileged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack
    from typing import Any

    from pyruntime.images.progress import Progress
    from pyruntime.images.store.extract import Wanted
    from pyruntime.sandbox.commands import AnyPath
    from pyruntime.sandbox.restore import SavedProcesses

_LINKS = ("/bin", "/sbin", "/lib", "/lib64")
_ETC = {"passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/work:/bin/sh\n",
        "group": "root:x:0:\nnogroup:x:65534:\n", "hosts": "127.0.0.1 localhost\n::1 localhost\n"}
HOST_PATHS = ("/usr", "/etc/alternatives", "/etc/ld.so.cache")


@dataclass(frozen=True)
class HostMount:
    """A file or directory of the host in a sandbox, read-only unless ``writable``.

    ``source``  its path on the host
    ``target``  its absolute path in the sandbox, also below /work; it is made there if it is missing
    """

    source: AnyPath
    target: AnyPath
    writable: bool = False

    def __post_init__(self) -> None:
        """Raises UsageError for a target that is not absolute."""
        source, target = path_of("source", self.source), path_of("target", self.target)
        if not target.startswith("/") or not target.strip("/"):
            raise UsageError(f'target "{target}": write an absolute path in the sandbox, below "/"')
        object.__setattr__(self, "source", os.path.abspath(source))   # of config.json, it would be below the bundle
        object.__setattr__(self, "target", target)


@dataclass
class Prepared:
    """A root filesystem: its path, what it needs besides, and the program's defaults.

    ``layers``  the directories below ``uppers`` that an overlay consists of, bottom first; empty if it is no overlay
    ``uppers``  those of templates, and of the sandbox itself
    ``work``    the directory that is /work, instead of an empty one; ``work_before``: its content at the beginning, if
                it was not empty
    ``image``   the image that the layers are, or None
    """

    rootfs: str
    layers: Sequence[str] = ()
    uppers: Sequence[str] = ()
    work: str = ""
    work_before: str = ""
    image: StoredImage | None = None
    mounts: Sequence[HostMount] = ()
    env: Sequence[str] = ()
    cwd: str = ""


class RootSource:
    """The kinds of root filesystems. `prepare` may be called in another process: a source can be pickled when it is
    resolved.

    ``namespace``  a descriptor of the mount namespace in which `prepare` has to be called (a copy of it will do), or -1
    ``processes``  those of a checkpoint that are to be restored there, or None
    """

    namespace = -1
    processes: SavedProcesses | None = None

    def resolve(self, held: ExitStack) -> RootSource:
        """The source in which nothing is unknown any more; ``held`` keeps what it needs."""
        return self

    def enter(self, scratch: str) -> None:
        """Called where the sandbox's own mounts are, before anything is mounted at ``scratch``."""

    def prepare(self, scratch: str, user: tuple[int, int]) -> Prepared:
        """Make the root filesystem in ``scratch``, an empty directory on a bounded filesystem, for a ``user``."""
        raise NotImplementedError


@dataclass(frozen=True)
class Directory(RootSource):
    """A directory is the root filesystem; it is not changed."""

    path: str

    def prepare(self, scratch: str, user: tuple[int, int]) -> Prepared:
        """An overlay, with the directory below."""
        if not os.path.isdir(self.path):
            raise UsageError(f'"{self.path}" is not a directory: name a root filesystem, a bundle, or an image')
        return overlay([self.path], scratch)


@dataclass(frozen=True)
class BundleSource(RootSource):
    """The root filesystem, the environment and the working directory of a bundle; nothing else of its configuration."""

    path: str

    def prepare(self, scratch: str, user: tuple[int, int]) -> Prepared:
        """An overlay, with the bundle's root filesystem below. Raises ConfigError, UsageError."""
        name = f"{self.path}/config.json"
        with open(name, "rb") as file:
            document = decode(file.read(), name)
        root = os.path.join(self.path, _member(document, name, "root.path", "rootfs"))
        prepared = Directory(root).prepare(scratch, user)
        prepared.env, prepared.cwd = _member(document, name, "process.env", []), _member(
            document, name, "process.cwd", "")
        return prepared


def _member(document: Any, name: str, where: str, missing: Any) -> Any:
    value = document
    for part in where.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        return missing
    wanted = "a list of texts" if isinstance(missing, list) else "a text"
    if type(value) is not type(missing) or not all(isinstance(word, str) for word in value):
        raise UsageError(f'"{name}": {where}: {value!r} is not {wanted}')
    return value


@dataclass(frozen=True)
class ImageSource(RootSource):
    """An image of a store, which is pulled if it is missing."""

    name: str
    store: ImageStore
    progress: Progress | None = None

    def resolve(self, held: ExitStack) -> RootSource:
        """The image of this name now."""
        with self.store.store.lease():
            try:
                image = self.store.find(self.name)
            except NoSuchImage:
                # Without root, only the helper can extract layers: their files have several owners.
                self.store.pull(self.name, extract=os.geteuid() == 0, progress=self.progress)
                image = self.store.find(self.name)
            config = image.config.config
            stored = StoredImage(self.store.store.root, image.id, image.layers(), config.get("Env") or [],
                                 config.get("WorkingDir") or "")
            stored.keep(held, self.store.store)
            return stored


@dataclass(frozen=True)
class StoredImage(RootSource):
    """An image that is in a store: the store's directory, the image's ID, its layers, its environment and its working
    directory."""

    root: str
    id: str
    wanted: Sequence[Wanted]
    env: Sequence[str]
    cwd: str

    def prepare(self, scratch: str, user: tuple[int, int]) -> Prepared:
        """An overlay, with the image's layers below."""
        layers = Store.open(self.root).extract_layers(list(self.wanted))
        made = overlay(layers.directories, scratch)
        return replace_fields(made, image=self, env=self.env, cwd=self.cwd)

    def keep(self, held: ExitStack, store: Store | None = None) -> None:
        """Protect the layers from the garbage collection of the ``store`` that has them, until ``held`` is closed."""
        lease = held.enter_context((store or Store.open(self.root)).lease())
        for diff_id, chain_id, blob in self.wanted:
            lease.add(*candidates(diff_id, chain_id), blob.digest)


@dataclass(frozen=True)
class HostSource(RootSource):
    """The host's own system, read-only: nothing but these paths, and the links that the programs in them expect."""

    paths: Sequence[AnyPath] = HOST_PATHS

    def __post_init__(self) -> None:
        """Raises UsageError for a path that is not absolute, and for the whole filesystem."""
        if isinstance(self.paths, str):
            raise UsageError(f'paths "{self.paths}": give a list of paths, as ["{self.paths}"]')
        for given in self.paths:
            path = path_of("paths", given)
            if not path.startswith("/") or not path.strip("/"):
                raise UsageError(f'paths "{path}": write absolute paths, below "/"')

    def prepare(self, scratch: str, user: tuple[int, int]) -> Prepared:
        """An empty directory, with links and mounts."""
        rootfs = f"{scratch}/root"
        _directory(rootfs)
        _directory(f"{rootfs}/etc")
        for name, text in _ETC.items():
            replace(f"{rootfs}/etc/{name}", text.encode())
            os.chmod(f"{rootfs}/etc/{name}", 0o644)
        mounts = []
        for path in dict.fromkeys((*(os.fspath(path) for path in self.paths), *_LINKS)):
            if os.path.islink(path) and os.path.dirname(path) == "/":
                os.symlink(os.readlink(path), rootfs + path)
            elif os.path.exists(path):
                mounts.append(HostMount(path, path))
            elif path not in (*HOST_PATHS, *_LINKS):
                raise UsageError(f'"{path}" does not exist: leave it out of paths')
        return Prepared(rootfs, mounts=mounts)


def source_of(what: AnyPath, store: ImageStore | None, progress: Progress | None) -> RootSource:
    """A text with a slash in front or a PathLike is a directory or a bundle; any other text is an image reference."""
    if not isinstance(what, (str, os.PathLike)):
        raise UsageError(f"root {what!r}: name an image, or give the path of a bundle or a root filesystem")
    text = os.fspath(what)
    if not isinstance(what, str) or text.startswith(("/", "./", "../")):
        path = os.path.abspath(text)   # the helper process has another working directory
        return BundleSource(path) if os.path.exists(f"{path}/config.json") else Directory(path)
    return ImageSource(text, store or ImageStore(), progress)


def _directory(path: str) -> None:
    os.mkdir(path)
    os.chmod(path, 0o755)   # for the sandbox's user, whatever our umask


@dataclass
class ForkSource(RootSource):
    """The present files of another sandbox, which are copied."""

    prepared: Prepared
    namespace: int
    _old: int = -1

    def resolve(self, held: ExitStack) -> RootSource:
        """Itself; the image is kept for the copy, too."""
        keep_image(self.prepared, held)
        return self

    def enter(self, scratch: str) -> None:
        """Keep the way to the other sandbox's files, at the same place."""
        self._old = os.open(scratch, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def prepare(self, scratch: str, user: tuple[int, int]) -> Prepared:
        """The same layers, and copies of everything above them."""
        try:
            return copied(self.prepared, f"/proc/self/fd/{self._old}", scratch)
        finally:
            self._forget()

    def _forget(self) -> None:
        if self._old >= 0:
            os.close(self._old)
            self._old = -1

    def __del__(self) -> None:
        self._forget()   # `prepare` was not reached


def copied(before: Prepared, old: str, scratch: str) -> Prepared:
    """The layers of another root filesystem, and in ``scratch`` copies of everything above them, which is in ``old``.
    """
    from pyruntime.sandbox.trees import copy_tree, dress_like  # lazy: few sandboxes are copies

    made = replace_fields(before, rootfs=f"{scratch}/root", work="")
    for name in written(before):
        copy_tree(f"{old}/{name}", f"{scratch}/{name}")
    if before.layers:
        overlay([*before.layers, *before.uppers[:-1]], scratch, f"{old}/upper")
    else:
        _directory(made.rootfs)
        copy_tree(f"{old}/root", made.rootfs)
        dress_like(f"{old}/root", made.rootfs)
    if before.work_before:
        os.mkdir(f"{scratch}/above", 0o700)
        made.work = overlay([before.work_before], f"{scratch}/above", f"{old}/above/upper").rootfs
    return made


def written(prepared: Prepared) -> Sequence[str]:
    """The names in the sandbox's place of the directories that programs write to, besides those of overlays."""
    return ("t", "s") if prepared.work_before else ("w", "t", "s")


def keep_image(prepared: Prepared, held: ExitStack) -> None:
    """Keep the image of a root filesystem, if it has one, for another sandbox."""
    if prepared.image:
        prepared.image.keep(held)


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
    mount_layers(layers, f"{scratch}/root", scratch, userxattr=not privileged())
    return Prepared(f"{scratch}/root", layers=layers, uppers=[f"{scratch}/upper"])


def writable_directory(path: str, mode: int, user: tuple[int, int]) -> None:
    """Make a directory that belongs to the sandbox's user. Raises HostError."""
    try:
        os.mkdir(path)
        os.chmod(path, mode)   # whatever our umask
        os.chown(path, *user)
    except OSError as error:
        raise refused("make the sandbox's files", error) from None
