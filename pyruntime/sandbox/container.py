"""The container of a sandbox: its files, namespaces, cgroup and network, and an init that waits for this program.

Its mounts are made where nobody else sees them (private_mounts.py). Without root, everything is in the user namespace
of the helper process, and the container begins with a copy of the mounts that the helper has made for it.
"""

from __future__ import annotations

import os
import shutil
import socket
from contextlib import ExitStack, contextmanager, suppress
from errno import EACCES, EAGAIN, EINVAL, ENOMEM, ENOSPC, EPERM, ERANGE, EROFS
from functools import partial
from io import FileIO
from threading import Lock
from weakref import WeakSet

from pyruntime.errors import HostError, PyruntimeError, StateError, StepError, UsageError
from pyruntime.runtime.api import ID_MARK
from pyruntime.sandbox.apart import apart
from pyruntime.sandbox.configuration import WRITABLE, configuration, preparation
from pyruntime.sandbox.leftovers import files_of, place, runtime
from pyruntime.sandbox.limits import BY_CGROUPS, limits_of
from pyruntime.sandbox.private_mounts import (
    bounded_files,
    call_and_keep,
    in_private_mounts,
    namespace_of_this_thread,
)
from pyruntime.sandbox.settings import Settings
from pyruntime.sandbox.sources import HostMount, Prepared, RootSource, writable_directory
from pyruntime.system.files import replace
from pyruntime.system.restrictions import read_proc
from pyruntime.system.sockets import blocking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pyruntime.runtime.cgroups.subgroup import Subgroup
    from pyruntime.runtime.lifecycle.preparation import Entrance, Preparation
    from pyruntime.sandbox.helper import Helper
    from pyruntime.sandbox.network import SandboxNetwork
    from pyruntime.sandbox.restore import SavedProcesses

_ROOT = (0, 0)
_UNSUITABLE = (EINVAL, ERANGE, EAGAIN, ENOMEM, ENOSPC)
# The limits that were refused to this user, and whether there are cgroups nevertheless, by the program's cgroups: each
# attempt takes as long as half a sandbox.
_refused: dict[str, tuple[tuple[str, ...], bool]] = {}
_controls: WeakSet[socket.socket | FileIO] = WeakSet()   # also of sandboxes that are being made
_living: WeakSet[SandboxContainer] = WeakSet()


class SandboxContainer:
    """The container, from the call of the constructor until `remove`.

    ``entrance``    the way in
    ``prepared``    its root filesystem, in the mount namespace of the descriptor ``namespace``
    ``user``, ``cwd``  of its programs
    ``unenforced``  the limits that this host cannot enforce; ``grouped``: whether runs have cgroups
    ``addresses``   its IP addresses
    """

    entrance: Entrance
    prepared: Prepared

    def __init__(self, name: str, source: RootSource, settings: Settings) -> None:
        """Raises HostError, UsageError, ConfigError, ImageError, StepError; after an error nothing is left."""
        self.name = name
        self.source = source
        self.unenforced: tuple[str, ...] = ()
        self.grouped = self._cgroups = True
        self.addresses: tuple[str, ...] = ()
        self.namespace = -1
        self.paused = False
        self._settings = settings
        self._stilling = Lock()
        self._network: SandboxNetwork | None = None
        self._helper = _helper()
        self.user = _user(settings.user, self._helper)
        if settings.checkpointable:
            from pyruntime.sandbox.checkpoint import require_checkpoints  # lazy: few sandboxes are saved

            require_checkpoints(self.user, settings.network)
        self._control, theirs = _pipe() if settings.checkpointable else _connection()
        _controls.add(self._control)
        with ExitStack() as undo:
            undo.callback(self._control.close)
            silence = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
            with theirs, os.fdopen(silence):
                try:
                    self._make(undo, (theirs.fileno(), silence, silence))
                except BaseException:
                    if hasattr(self, "entrance"):   # the container exists
                        self._delete()
                    raise
            self._held = undo.pop_all()
        _living.add(self)

    # ---- the beginning --------------------------------------------------------------------------

    def _make(self, held: ExitStack, streams: Sequence[int]) -> None:
        settings = self._settings
        made = {}
        if settings.network:
            from pyruntime.sandbox.network import SandboxNetwork  # lazy: few sandboxes have a network

            self._network = SandboxNetwork(self.name, settings.network)
            held.callback(self._network.leave)
            self.addresses = self._network.addresses
            made["resolv.conf"] = self._network.resolv_conf.encode()
        source = self.source = self.source.resolve(held)
        if source.processes:
            held.callback(source.processes.close)
            source.processes.open()
        scratch = f"{place()}/mount"   # in every sandbox's own mount namespace
        held.callback(self.leave_namespace)
        of_place = (source, scratch, settings.limits.bytes_of_disk(), self.user, made)
        if self._helper is None:
            def work() -> None:
                self.prepared = make_place(*of_place)
                self.namespace = namespace_of_this_thread()
                self._create(scratch, scratch, streams)

            in_private_mounts(work, source.namespace)
            return
        self.prepared, self.namespace = call_and_keep(make_place, *of_place, base=source.namespace)
        own = files_of(self.name)

        def create() -> None:
            os.makedirs(own, 0o700)
            held.callback(shutil.rmtree, own)
            self._create(scratch, own, streams)

        apart(create)

    def _create(self, scratch: str, bundle: str, streams: Sequence[int]) -> None:
        """Create the container, without the limits that cannot be had; ``bundle``: a directory for config.json."""
        settings, helper = self._settings, self._helper
        namespaces = {"user": helper.held, "mount": self.namespace} if helper else {}
        self.cwd = settings.cwd or self.prepared.cwd or "/work"
        mounts = list(settings.mounts)
        if self._network:
            mounts.append(HostMount(f"{scratch}/resolv.conf", "/etc/resolv.conf"))
        swap, uncounted = _swap()
        if uncounted and settings.limits.memory is not None:
            if settings.require_limits:
                raise HostError("limits cannot be enforced: the host has swap, which its cgroups do not count: boot"
                                " with swapaccount=1, or leave out require_limits")
            self.unenforced = ("swap",)
        own = _membership() if helper and not settings.require_limits else ""
        self.unenforced, self._cgroups = _refused.get(own, (self.unenforced, True))
        while True:
            document = configuration(
                self.prepared, settings.limits, scratch=scratch, mounts=mounts, user=self.user,
                env=settings.env or {}, writable=settings.writable, swap=swap, seccomp=settings.seccomp,
                devices=settings.devices, without=self.unenforced,
                limited=self._cgroups, cgroup="" if helper else f"/{ID_MARK}",
                user_namespace=helper.namespace if helper else "", drop_groups=helper is None or helper.ranges)
            self._runtime = runtime(cgroups=self._cgroups)
            try:
                # CRIU saves and restores what is below a process's cgroup, in each hierarchy: also if it is the host's.
                prepared = preparation(self._runtime, document, bundle, given=list(namespaces),
                                       everywhere=settings.checkpointable)
                if self.source.processes:
                    self.entrance = self._restore(prepared, self.source.processes, streams)
                else:
                    self.entrance = self._runtime.create_prepared(
                        self.name, prepared, streams=streams, namespaces=namespaces, adopts=settings.checkpointable)
                break
            except (HostError, StepError) as error:
                self._do_without(error)
                if own and getattr(error, "errno", 0) in (EACCES, EPERM, EROFS):
                    _refused[own] = self.unenforced, self._cgroups
        self.grouped = self._cgroups and self.entrance.has_freezer
        if not self.entrance.has_cgroup:
            self.unenforced = BY_CGROUPS
        if settings.checkpointable and not self.grouped:
            raise HostError("a checkpointable sandbox needs cgroups with a freezer: mount them, or leave out"
                            " checkpointable")
        if self._network:
            self._network.enter(self.entrance.pid)

    def _restore(self, prepared: Preparation, processes: SavedProcesses, streams: Sequence[int]) -> Entrance:
        """Create the container with the processes of a checkpoint."""
        from pyruntime.sandbox.checkpoint import CRIU_OPTIONS, without_log  # lazy: few sandboxes are restored

        own = files_of(self.name)   # for CRIU's log
        os.makedirs(own, 0o700)
        try:
            with without_log():
                return self._runtime.restore_prepared(
                    self.name, prepared, processes.image, work_path=own, streams=streams,
                    inherited=processes.inherited,
                    restored=lambda pid: processes.find(partial(self._runtime.subgroup, self.name)), **CRIU_OPTIONS)
        finally:
            shutil.rmtree(own)

    def _do_without(self, error: HostError | StepError) -> None:
        """Give up the limits of a controller that the host lacks, or that is not delegated to this user, or all
        cgroups; raise any other error."""
        # A value that the kernel refuses, or cannot grant now, is not a host without cgroups.
        if not self._cgroups or "cgroup" not in f"{getattr(error, 'step', '')} {error.where} {error}" or (
                getattr(error, "errno", 0) in _UNSUITABLE):
            raise error
        if self._settings.require_limits:
            raise HostError(f"limits cannot be enforced: {error}: delegate a cgroup to this program, or leave out"
                            " require_limits") from None
        limits = limits_of(error.where)
        if limits and not set(limits) <= set(self.unenforced):
            self.unenforced = tuple(dict.fromkeys((*self.unenforced, *limits)))
        else:
            self.unenforced, self._cgroups = BY_CGROUPS, False

    # ---- use ------------------------------------------------------------------------------------

    def subgroup(self, name: str) -> Subgroup | None:
        """A sub-cgroup for a run; None without cgroups."""
        return self.entrance.subgroup(name) if self.grouped else None

    def kill_all(self) -> None:
        """Let init kill all processes but itself. Raises OSError if init has ended."""
        assert isinstance(self._control, socket.socket)   # a checkpointable sandbox has cgroups
        self._control.sendall(b"k")
        self._control.recv(1)

    def dump(self, image: str, devices: Sequence[str]) -> None:
        """Save the processes in the directory ``image``, within `still`. ``devices``: the sandbox's own filesystems.
        Raises HostError, CriuError."""
        from pyruntime.sandbox.checkpoint import CRIU_OPTIONS  # lazy: few sandboxes are saved

        self._runtime.checkpoint(self.name, image, leave_running=True, devices=devices,
                                 ghost_limit=self._settings.limits.bytes_of_disk(), **CRIU_OPTIONS)

    def pids(self) -> Sequence[int]:
        """The IDs of its processes on the host."""
        return self._runtime.pids(self.name)

    @contextmanager
    def still(self) -> Iterator[None]:
        """No process changes files meanwhile; without cgroups, nothing can keep them from it."""
        if not self.grouped:
            yield
            return
        with self._stilling:
            self.paused = True   # also if an exception of a signal's handler comes now
            try:
                self._runtime.pause(self.name)
            except PyruntimeError:   # nothing is frozen
                self.paused = False
                raise
            try:
                yield
            finally:
                if self.paused:
                    self._go_on()

    def _go_on(self) -> None:
        """Thaw the processes, unless they have ended meanwhile. Raises StateError."""
        self.paused = False
        try:
            self._runtime.resume(self.name)
        except StateError:
            if self.entrance.alive:
                raise

    def kill_still(self) -> None:
        """Within `still`: kill all processes, before any of them goes on."""
        self._runtime.kill(self.name, "KILL", everything=True)
        self.paused = False

    # ---- the end --------------------------------------------------------------------------------

    def end(self) -> None:
        """Init ends, and with it the pid namespace, when the processes of runs have been reaped."""
        self._control.close()

    def remove(self) -> None:
        """Remove everything, after `end`. Raises StateError if a process does not die."""
        with self._held:
            if self.paused:   # `still` has failed, and frozen processes do not die
                self._go_on()
            self._delete()

    def _delete(self) -> None:
        self._control.close()
        self.entrance.close()
        with suppress(ChildProcessError):   # another part of this program waits for all children
            os.waitpid(self.entrance.pid, 0)
        self._runtime.delete(self.name, force=True)

    def leave_namespace(self) -> None:
        """Close the descriptor of the mount namespace; may be called twice."""
        namespace, self.namespace = self.namespace, -1
        if namespace >= 0:
            os.close(namespace)


def make_place(source: RootSource, scratch: str, size: int, user: tuple[int, int], made: Mapping[str, bytes]
               ) -> Prepared:
    """Make the sandbox's files on one tmpfs of this size, in bytes, at ``scratch``; ``made``: files of its own there.
    Raises HostError, and what the source raises."""
    source.enter(scratch)
    bounded_files(scratch, size)
    for name, _, mode in WRITABLE:
        writable_directory(f"{scratch}/{name}", mode, user)
    for name, data in made.items():
        replace(f"{scratch}/{name}", data, mode=0o644)
    prepared = source.prepare(scratch, user)
    prepared.work = prepared.work or f"{scratch}/w"
    return prepared


def _connection() -> tuple[socket.socket | FileIO, socket.socket | FileIO]:
    """The owner's end, and init's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    blocking(ours, theirs)
    return ours, theirs


def _pipe() -> tuple[socket.socket | FileIO, socket.socket | FileIO]:
    """The same as a pipe, which CRIU can save."""
    theirs, ours = os.pipe2(os.O_CLOEXEC)
    return FileIO(ours, "w"), FileIO(theirs, "r")


def _helper() -> Helper | None:
    """The helper of this program; root needs none. Raises HostError."""
    if os.geteuid() == 0:
        return None
    from pyruntime.sandbox.helper import helper  # lazy: only without root

    return helper()


def _user(asked: int | tuple[int, int], helper: Helper | None) -> tuple[int, int]:
    """The uid and gid of programs; without subordinate IDs, there is none but root of the user namespace. Raises
    UsageError if this user has subordinate IDs, and too few."""
    user = (asked, asked) if isinstance(asked, int) else asked
    if helper is None or helper.maps(*user):
        return user
    if helper.ranges:   # root of the namespace is this program's user, from whom others are to be kept apart
        raise UsageError(f"user {user[0]}, group {user[1]}: this user's subordinate IDs do not reach so far: choose"
                         " lower ones with user=, or add some to /etc/subuid and /etc/subgid")
    return _ROOT


def _membership() -> str:
    """The cgroups of this program."""
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def _swap() -> tuple[bool, bool]:
    """Whether the swap of a cgroup can be limited (memory.memsw.* of v1, memory.swap.max of v2), and whether there is
    swap that cannot."""
    swap = len(read_proc("/proc/swaps").splitlines()) > 1
    if not os.path.isdir("/sys/fs/cgroup/memory"):
        return swap, False
    counted = os.path.exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")
    return counted, swap and not counted


def _after_fork() -> None:
    """In a child: the end of the parent must be the end of its sandboxes, and the memory of their files free then."""
    for control in list(_controls):
        control.close()
    for container in list(_living):
        container.entrance.close()
        container.leave_namespace()


os.register_at_fork(after_in_child=_after_fork)
