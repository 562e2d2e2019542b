"""A process that executes one step: it mounts, runs or copies, and creates a layer; a pipe leads to its parent.

It has its own mount namespace. If its parent ends, it ends its container and itself.
"""

from __future__ import annotations

import marshal
import os
import select
import time
from _thread import allocate_lock

from pyruntime import errors
from pyruntime.builder.ignore import Ignore
from pyruntime.builder.steps.copy import Copying
from pyruntime.builder.steps.mounts import Mounting, Secrets
from pyruntime.builder.steps.network import RunNetwork
from pyruntime.builder.steps.origins import is_url
from pyruntime.builder.steps.run import Extra, RunOptions, execute, failure
from pyruntime.builder.steps.tree import CopySource, Tree
from pyruntime.builder.steps.tree import select as select_sources
from pyruntime.builder.steps.workspace import Workspace, layers_of
from pyruntime.errors import HostError, PyruntimeError
from pyruntime.images.document import Descriptor
from pyruntime.images.snapshots.copy import CopyDriver
from pyruntime.images.snapshots.view import attach
from pyruntime.images.store import steps
from pyruntime.images.store.layers import Layers
from pyruntime.images.store.layout import write_all
from pyruntime.images.store.store import Store
from pyruntime.images.users import find_user
from pyruntime.system import kernel
from pyruntime.system.processes import start_time
from pyruntime.system.uapi import CLONE_NEWNS, MS_SLAVE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from pyruntime.builder.graph.plan import BuildStep
    from pyruntime.images.document import Descriptor
    from pyruntime.images.store.steps import Made

    Chain = list[tuple[str, str, Descriptor]]

_LONGEST = 1 << 16   # bytes of a line of output; longer ones are shown in pieces


class Work:
    """The input of a worker.

    ``keys``     the keys of the result
    ``chain``    the layers below
    ``trees``    sources of COPY, by name; ``origins``: of --mount=from, layers or a tree
    ``changed``  whether the files of the keys have changed meanwhile; None if they cannot change
    """

    __slots__ = (
        "cached",
        "chain",
        "changed",
        "driver",
        "epoch",
        "hosts",
        "keys",
        "options",
        "origins",
        "secrets",
        "step",
        "store_root",
        "trees",
    )

    def __init__(self, step: BuildStep, chain: Chain, keys: list[str], store_root: str, options: RunOptions) -> None:
        self.step = step
        self.chain = chain
        self.keys = keys
        self.store_root = store_root
        self.options = options
        self.cached = True
        self.changed: Callable[[], bool] | None = None
        self.epoch: int | None = None
        self.driver = ""
        self.hosts: list[str] = []
        self.secrets = Secrets({}, {})
        self.trees: dict[str, Tree] = {}
        self.origins: dict[str, Chain | Tree] = {}


class Worker:
    """A running worker in its parent: ``output`` and ``result`` are the ends of pipes to read. ``kept``: whether the
    result was recorded under its keys."""

    __slots__ = ("_heard", "_line", "kept", "made", "output", "pid", "result")

    def __init__(self, work: Work, life: tuple[int, int]) -> None:
        self.output, out = os.pipe2(os.O_CLOEXEC)
        self.result, end = os.pipe2(os.O_CLOEXEC)
        self._line = b""
        self._heard = b""
        self.made: Made | None = None
        self.kept = True
        self.pid = os.fork()
        if self.pid == 0:
            _in_worker(work, out, end, life)
        os.close(out)
        os.close(end)

    def lines(self) -> tuple[list[str], bool]:
        """The lines that the command has written meanwhile; whether there may be more."""
        data = os.read(self.output, 1 << 16)
        *whole, self._line = (self._line + data).replace(b"\r\n", b"\n").split(b"\n")
        if self._line and (not data or len(self._line) > _LONGEST):
            whole.append(self._line)
            self._line = b""
        return [line.decode("utf-8", "replace") for line in whole], bool(data)

    def hear(self, warn: Callable[[str], None]) -> bool:
        """Read the worker's message; whether there may be more. Raises the worker's error."""
        data = os.read(self.result, 1 << 16)
        self._heard += data
        while len(self._heard) >= 4 and len(self._heard) >= 4 + (
                size := int.from_bytes(self._heard[:4], "little")):
            kind, value = marshal.loads(self._heard[4:4 + size])
            self._heard = self._heard[4 + size:]
            if kind == "warn":
                warn(value)
            elif kind == "kept":
                self.kept = value
            elif kind == "made":
                self.made = steps.Made(Descriptor(*value[:3]), *value[3:])
            else:
                name, text = value
                raise errors.told(name, text)
        return bool(data)

    def end(self, *, kill: bool) -> None:
        """Close the pipes and wait for the process."""
        os.close(self.output)
        os.close(self.result)
        if kill:
            os.kill(self.pid, 15)   # the worker then ends its container
        os.waitpid(self.pid, 0)


_speaking = allocate_lock()


def _say(fd: int, kind: str, value: Any) -> None:
    data = marshal.dumps((kind, value))
    with _speaking:
        write_all(fd, len(data).to_bytes(4, "little") + data)


def _in_worker(work: Work, out: int, end: int, life: tuple[int, int]) -> NoReturn:
    # lazy: the module signal would cost 5 ms
    import _signal  # type: ignore[import-not-found]

    code = 1
    try:
        os.close(life[1])
        _signal.signal(_signal.SIGINT, _signal.SIG_IGN)   # the parent ends the worker
        _signal.signal(_signal.SIGTERM, _terminated)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        for fd, target in ((null, 0), (out, 1), (out, 2)):
            os.dup2(fd, target)
        made = carry_out(work, life[0], lambda text: _say(end, "warn", text))
        _say(end, "kept", bool(work.keys))
        _say(end, "made", (made.descriptor.media_type, made.descriptor.digest, made.descriptor.size, made.diff_id,
                           made.chain_id, made.title, made.created))
        code = 0
    except BrokenPipeError:
        code = 1   # the parent has ended
    except PyruntimeError as error:
        _tell(end, type(error).__name__, str(error))
    except OSError as error:
        _tell(end, "BuildError", errors.words(error))
    except BaseException as error:
        _tell(end, "BuildError", f"{type(error).__name__}: {errors.words(error)}")
    finally:
        os._exit(code)


def _tell(end: int, name: str, text: str) -> None:
    try:
        _say(end, "error", (name, text))
    except BrokenPipeError:
        return   # the parent has ended


class _Terminated(Exception):
    pass


def _terminated(_number: int, _frame: object) -> None:
    raise _Terminated("the build was ended")


def carry_out(work: Work, life: int, warn: Callable[[str], None]) -> Made:
    """Execute the step, unless another process has done so meanwhile."""
    store = Store.open(work.store_root)
    with store.lease() as lease, steps.StepLock(store.layout, work.keys[-1]):
        if work.cached:
            for key in work.keys:
                found = steps.find(store.layout, key, lease)
                if found is not None:
                    return found
        mode, hosts = (work.step.data.network, work.hosts) if work.step.kind == "run" else ("none", [])
        with RunNetwork(work.options.site, mode, hosts) as network:
            kernel.unshare(CLONE_NEWNS)
            kernel.set_propagation(MS_SLAVE)
            made = _Step(work, store, network, life, warn).make()
        if work.changed is not None and work.changed():
            work.keys = []   # else the result would be found for the old files
            title = work.step.title.partition("\n")[0]
            warn(f'files changed while they were read: "{title}" is not cached')
        made.keys = work.keys
        for key in work.keys:
            steps.write(store.layout, key, made)
        return made


class _Step:
    def __init__(self, work: Work, store: Store, network: RunNetwork, life: int, warn: Callable[[str], None]) -> None:
        self.work = work
        self.step = work.step
        self.store = store
        self.network = network
        self.life = life
        self.warn = warn
        self._mounted: dict[str, Tree] = {}

    def make(self) -> Made:
        """Execute the step and create its layer."""
        alone = self.step.kind == "copy" and self.step.data.alone
        chain = [] if alone else self.work.chain
        layers = layers_of(self.store, chain, self.warn)
        with Workspace(self.store, layers, self.warn, latest=self.work.epoch, driver=self.work.driver) as workspace:
            getattr(self, f"_{self.step.kind}")(workspace)
            below = self.work.chain[-1][1] if self.work.chain else ""
            return workspace.commit(below, self.step.title)

    def _workdir(self, workspace: Workspace) -> None:
        user = find_user(self.step.user, workspace.fd)   # the owner of a new directory
        copying = Copying(workspace.fd, workspace.scratch, chown=f"{user.uid}:{user.gid}", warn=self.warn)
        fd, _ = copying.directory(self.step.cwd)
        os.close(fd)

    def _copy(self, workspace: Workspace) -> None:
        data = self.step.data
        exclude = exclusion(data.exclude)
        options: dict[str, Any] = {"chown": data.chown, "chmod": data.chmod, "exclude": exclude, "warn": self.warn}
        found: list[tuple[list[CopySource], bool]] = []
        for source in data.sources:
            tree = self.work.trees[source]
            remote = data.add and is_url(source)
            pattern = (tree.single or ".") if remote else source
            found.append((select_sources(tree, [pattern], exclude, parents=data.parents), remote))
        if not data.files and not any(sources for sources, _ in found):
            self.warn(f'"{self.step.title}": no files to copy')
        several = len(data.files) + sum(len(sources) for sources, _ in found) > 1
        for sources, remote in found:
            unpack = data.add and (not remote if data.unpack is None else data.unpack)
            Copying(workspace.fd, workspace.scratch, unpack=unpack, **options).sources(
                sources, data.target, parents=data.parents, several=several)
        copying = Copying(workspace.fd, workspace.scratch, **options)
        for name, content in data.files:
            copying.text(name, content, data.target, several=several, time=int(time.time()))

    def _run(self, workspace: Workspace) -> None:
        extra = Extra()
        container_id = f"pocker-build.{os.getpid()}.{start_time(os.getpid())}"
        with Mounting(self.store, workspace.scratch, self.work.secrets,
                      lambda origin: self._origin(origin, workspace)) as mounting:
            mounting.lock(self.step.data.mounts)
            for mount in self.step.data.mounts:
                mounting.add(mount, extra)
            status = execute(self.step, workspace, self.work.options, container_id, extra, self.network,
                             lambda pid: wait(pid, self.life))
        for tree in self._mounted.values():
            os.close(tree.fd)
        if status:
            raise failure(self.step, status)

    def _origin(self, name: str, workspace: Workspace) -> Tree:
        """The source of a mount; layers are mounted, because a bind mount needs a directory."""
        origin = self.work.origins[name]
        if isinstance(origin, Tree):
            return origin
        if name not in self._mounted:
            path = f"{workspace.scratch}/origin.{len(self._mounted)}"
            os.mkdir(path, 0o755)
            layers: Layers = layers_of(self.store, origin, self.warn)
            if layers.directories:
                try:
                    attach(self.store, layers, path)
                except HostError:   # a kernel without overlayfs: use a copy
                    CopyDriver(self.store).prepare(layers, path, "")
            self._mounted[name] = Tree(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), f'"{name}"')
        return self._mounted[name]


def exclusion(patterns: list[str]) -> Ignore | None:
    """The patterns of --exclude."""
    return Ignore("\n".join(patterns), "--exclude") if patterns else None


def wait(pid: int, life: int) -> int | None:
    """Wait for a child; its status as of waitpid, None if ``life`` ended before: the result is no longer wanted."""
    pidfd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.register(life, select.POLLIN | select.POLLHUP)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if pidfd in ready:
                return os.waitpid(pid, 0)[1]
            if life in ready:
                return None
    finally:
        os.close(pidfd)
