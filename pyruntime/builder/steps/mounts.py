"""Prepares RUN --mount: directories, files and links for the runtime to mount."""

from __future__ import annotations

import os
from stat import S_ISDIR

from pyruntime.builder.dockerfile.mounts import SHARING
from pyruntime.builder.steps.copy import Copying
from pyruntime.builder.steps.run import Extra
from pyruntime.builder.steps.ssh_agent import Relay
from pyruntime.builder.steps.tree import CopySource, Tree
from pyruntime.errors import BuildError
from pyruntime.images.digest import of
from pyruntime.images.snapshots.overlay import mount_layers
from pyruntime.images.store import trees
from pyruntime.system import kernel
from pyruntime.system.locks import hold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.builder.dockerfile.mounts import Mount
    from pyruntime.builder.steps.ssh_agent import Relay
    from pyruntime.images.store.store import Store


class Secrets:
    """The secrets and SSH agents of a build: contents by ID, paths of agents' sockets by ID."""

    __slots__ = ("agents", "contents")

    def __init__(self, contents: dict[str, bytes], agents: dict[str, str]) -> None:
        self.contents = contents
        self.agents = agents


class Mounting:
    """Prepares the mounts of one RUN; a context manager that releases its locks."""

    def __init__(self, store: Store, scratch: str, secrets: Secrets, tree: Callable[[str], Tree]) -> None:
        """``tree(origin)`` is the tree of --mount=from; "" is the build context."""
        self._store = store
        self._scratch = scratch
        self._secrets = secrets
        self._tree = tree
        self._open: list[int] = []
        self._relays: list[Relay] = []
        self._caches: dict[str, str] = {}   # paths of the locked directories
        self._count = 0

    def __enter__(self) -> Mounting:
        return self

    def __exit__(self, *_: object) -> None:
        for relay in self._relays:
            relay.end()
        for fd in self._open:
            os.close(fd)

    def lock(self, mounts: list[Mount]) -> None:
        """Lock the cache mounts of one RUN, each once, and all processes in the same order, which prevents deadlocks.
        OSError."""
        wanted: dict[str, str] = {}
        for mount in mounts:
            if mount.kind == "cache":
                name = _cache_name(mount)
                wanted[name] = max(wanted.get(name, SHARING[0]), mount.sharing, key=SHARING.index)
        for name in sorted(wanted):
            self._caches[name] = self._take(name, wanted[name])

    def add(self, mount: Mount, extra: Extra) -> None:
        """Add one mount; cache mounts must be locked. Raises BuildError, HostError, OSError."""
        {"bind": self._bind, "cache": self._cache, "secret": self._secret, "ssh": self._ssh,
         "tmpfs": self._tmpfs}[mount.kind](mount, extra)

    def _new(self, name: str) -> str:
        self._count += 1
        return f"{self._scratch}/{name}.{self._count}"

    # ---- bind -----------------------------------------------------------------------------------

    def _bind(self, mount: Mount, extra: Extra) -> None:
        tree = self._tree(mount.origin)
        try:
            fd = tree.open(os.fsencode(mount.source))
        except OSError as error:
            raise BuildError(f'"{mount.source}" is not in {tree.name}: {os.strerror(error.errno or 0)}') from None
        self._open.append(fd)
        # By its path: the descriptor may be of the previous mount namespace (mount(2), EINVAL).
        path = os.readlink(f"/proc/self/fd/{fd}")
        if not S_ISDIR(os.fstat(fd).st_mode):
            self._file(mount, fd, path, extra)
            return
        target = self._new("bind")
        os.mkdir(target, 0o755)
        real = tree.real(fd)
        hidden = _hidden(tree, real) if tree.ignore else []
        if mount.readonly and not hidden:
            _bind(path, target)
        else:
            self._overlay(path, target, hidden)
        extra.bind(target, mount.target, readonly=mount.readonly)

    def _file(self, mount: Mount, fd: int, path: str, extra: Extra) -> None:
        """A single file; a copy of it, if it is writable."""
        target = self._new("file")
        with open(target, "wb") as file:
            if not mount.readonly:
                with open(f"/proc/self/fd/{fd}", "rb") as source:
                    while data := source.read(1 << 20):
                        file.write(data)
        os.chmod(target, os.fstat(fd).st_mode & 0o7777)
        if mount.readonly:
            _bind(path, target)
        extra.bind(target, mount.target, readonly=mount.readonly)

    def _overlay(self, path: str, target: str, hidden: list[bytes]) -> None:
        """The directory without files that .dockerignore excludes; writes to it are discarded."""
        private = self._new("private")
        lower = self._new("lower")
        for name in (private, f"{private}/upper", f"{private}/work", lower):
            os.mkdir(name, 0o755)
        _bind(path, lower)
        found = os.stat(lower)
        os.chmod(f"{private}/upper", found.st_mode & 0o7777)
        os.chown(f"{private}/upper", found.st_uid, found.st_gid)
        mount_layers([lower], target, private, userxattr=self._store.layout.overlay == "user.")
        for path_below in hidden:
            trees.remove(os.path.join(target, os.fsdecode(path_below)))

    # ---- the others -----------------------------------------------------------------------------

    def _cache(self, mount: Mount, extra: Extra) -> None:
        path = self._caches[_cache_name(mount)]
        if not os.path.isdir(f"{path}/data"):
            # Two processes may share a new cache: rename(2) would replace the faster one's empty directory.
            with open(f"{path}/lock", "wb") as file:
                hold(file)
                if not os.path.isdir(f"{path}/data"):
                    self._seed(mount, path)
        extra.bind(f"{path}/data", mount.target, readonly=mount.readonly)

    def _take(self, name: str, sharing: str) -> str:
        """Lock the directory of a cache mount, or of another one for a busy private one; its path."""
        directory = f"{self._store.root}/cache/mounts"
        os.makedirs(directory, 0o700, exist_ok=True)
        number = 0
        while True:
            path = f"{directory}/{name}.{number}" if number else f"{directory}/{name}"
            os.makedirs(path, 0o700, exist_ok=True)
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                hold(fd, shared=sharing == "shared", wait=sharing != "private")
            except BlockingIOError:
                os.close(fd)
                number += 1
                continue
            break
        self._open.append(fd)
        os.utime(fd)   # the time of the last use, for prune
        return path

    def _seed(self, mount: Mount, path: str) -> None:
        """The initial content of a cache mount; a killed process leaves nothing valid."""
        made = f"{path}/new"
        trees.remove(made)
        os.mkdir(made, 0o755)
        if mount.origin:
            tree = self._tree(mount.origin)
            source = tree.open(os.fsencode(mount.source))
            fd = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                Copying(fd, self._scratch, warn=lambda _text: None).sources(
                    [CopySource(tree, tree.real(source), b"", os.fstat(source))], "/")
            finally:
                os.close(fd)
                os.close(source)
        os.chmod(made, mount.mode)
        os.chown(made, max(mount.uid, 0), max(mount.gid, 0))
        os.rename(made, f"{path}/data")

    def _secret(self, mount: Mount, extra: Extra) -> None:
        content = self._secrets.contents.get(mount.id)
        if content is None:
            if mount.required:
                raise BuildError(f'the secret "{mount.id}" is required: give --secret id={mount.id},src=FILE')
            return
        if mount.env:
            extra.env.append(f"{mount.env}={content.decode('utf-8', 'surrogateescape')}")
            extra.secret = True
        if not mount.target:
            return
        directory = self._new("secret")   # in memory: secrets must not reach the disk
        os.mkdir(directory, 0o700)
        kernel.mount("tmpfs", directory, "tmpfs", 0, "mode=0700,size=16m")
        with open(f"{directory}/content", "wb") as file:
            file.write(content)
        os.chmod(f"{directory}/content", mount.mode)
        os.chown(f"{directory}/content", max(mount.uid, 0), max(mount.gid, 0))
        extra.bind(f"{directory}/content", mount.target, readonly=True)

    def _ssh(self, mount: Mount, extra: Extra) -> None:
        socket = self._secrets.agents.get(mount.id)
        if socket is None:
            if mount.required:
                raise BuildError(f'the SSH agent "{mount.id}" is required: give --ssh {mount.id}')
            return
        number = sum(one.startswith("SSH_AUTH_SOCK=") for one in extra.env)
        target = mount.target or f"/run/buildkit/ssh_agent.{number}"
        path = self._new("agent")
        self._relays.append(Relay(path, socket, mode=mount.mode, owner=(max(mount.uid, 0), max(mount.gid, 0))))
        extra.bind(path, target, readonly=False)
        if not number:
            extra.env.append(f"SSH_AUTH_SOCK={target}")

    @staticmethod
    def _tmpfs(mount: Mount, extra: Extra) -> None:
        options = ["nosuid", "nodev", *([f"size={mount.size}"] if mount.size else []),
                   *(["ro"] if mount.readonly else [])]
        extra.mounts.append({"destination": mount.target, "type": "tmpfs", "source": "tmpfs", "options": options})


def _cache_name(mount: Mount) -> str:
    return of(f"{mount.id} {mount.origin} {mount.source}".encode()).partition(":")[2]


def _bind(source: str, target: str) -> None:
    kernel.mount(source, target, "", 4096, "")   # MS_BIND


def _hidden(tree: Tree, path: bytes) -> list[bytes]:
    """The files that .dockerignore excludes below a directory, the topmost of each."""
    there = {node.path for node in tree.walk(path)}
    hidden: list[bytes] = []
    for node in Tree(tree.fd, tree.name).walk(path):
        if node.path not in there and not any(node.path.startswith(one + b"/") for one in hidden[-1:]):
            hidden.append(node.path)
    return hidden
