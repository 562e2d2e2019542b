"""The library: the commands of ``pyruntime`` as typed calls.

    from pyruntime import Runtime

    runtime = Runtime()
    runtime.create("web", "/containers/web")
    runtime.start("web")
    print(runtime.state("web").status)
    status = runtime.exec("web", ["sh", "-c", "echo hello"], user="1000")
    runtime.kill("web", "KILL")
    runtime.delete("web", force=True)

Every error is one of pyruntime.errors. Calls are safe from several threads and processes: the status of a container is
read from the kernel each time (runtime.md#operations).
"""

from __future__ import annotations

import os

from pyruntime.errors import NoSuchContainer, UsageError
from pyruntime.runtime.compiler.form import ID_MARK
from pyruntime.runtime.compiler.setup import CGROUP_MANAGERS
from pyruntime.runtime.lifecycle import status as _status
from pyruntime.runtime.lifecycle.create import Request, create
from pyruntime.runtime.lifecycle.delete import delete, kill
from pyruntime.runtime.lifecycle.parent import THIS_PROCESS, Parent
from pyruntime.runtime.lifecycle.start import start
from pyruntime.runtime.lifecycle.store import StateDirectory, default_root, identifiers

__all__ = ["ID_MARK", "Parent", "Runtime", "State"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from pyruntime.runtime.cgroups.subgroup import Subgroup
    from pyruntime.runtime.compiler.compile import Plan
    from pyruntime.runtime.lifecycle.events import OomCounter
    from pyruntime.runtime.lifecycle.exec import ExecPlans
    from pyruntime.runtime.lifecycle.preparation import Entrance, Preparation
    from pyruntime.runtime.lifecycle.store import StateRecord


class State:
    """A container's state at one moment (runtime.md#state).

    ``status``  creating, created, running, paused or stopped
    ``pid``     process ID of init on the host; 0 if the container has stopped
    ``own_pids``  whether the container has its own pid namespace, whose processes end with init
    """

    __slots__ = ("annotations", "bundle", "created", "id", "oci_version", "own_pids", "pid", "rootfs", "status")

    def __init__(self, root: str, container_id: str) -> None:
        container = StateDirectory(root, container_id)
        record = container.read()
        self.id: str = record.id
        self.status: str = _status.status_of(container, record)
        self.pid: int = 0 if self.status == _status.STOPPED else record.pid
        self.oci_version: str = record.ociVersion
        self.bundle: str = record.bundle
        self.rootfs: str = record.rootfs
        self.created: str = record.created
        self.own_pids: bool = record.own_pids
        self.annotations: dict[str, str] = dict(record.annotations)

    def __repr__(self) -> str:
        return f"State(id={self.id!r}, status={self.status!r}, pid={self.pid})"


class Runtime:
    """The containers below one state directory.

    ``root``      the state directory; defaults to that of the command
    ``rootless``  None: detected from the effective user ID and the user namespace
    ``cgroup_manager``  "cgroupfs", "systemd", or "disabled" (no cgroups)
    ``warn``      called with each warning that the specification requires
    """

    def __init__(self, root: str | os.PathLike[str] | None = None, *, rootless: bool | None = None,
                 cgroup_manager: str = "cgroupfs", warn: Callable[[str], None] = lambda text: None) -> None:
        if cgroup_manager not in CGROUP_MANAGERS:
            raise UsageError(f'invalid cgroup manager "{cgroup_manager}": use one of {", ".join(CGROUP_MANAGERS)}')
        self.root = os.path.abspath(os.fspath(root)) if root else default_root()
        self.rootless = rootless
        self.cgroup_manager = cgroup_manager
        self.warn = warn

    def _request(self, console_socket: str, pid_file: str, preserve_fds: int, *, detached: bool,
                 console: socket | None = None, **options: Any) -> Request:
        return Request(console_socket=console_socket, console=console, pid_file=pid_file, preserve_fds=preserve_fds,
                       rootless=self.rootless, detached=detached, cgroup_manager=self.cgroup_manager, warn=self.warn,
                       **options)

    def create(self, container_id: str, bundle: str | os.PathLike[str], *, console_socket: str = "",
               console: socket | None = None, pid_file: str = "", preserve_fds: int = 0, streams: Sequence[int] = (),
               parent: Parent = THIS_PROCESS, pivot: bool = True, new_keyring: bool = True) -> State:
        """Create a container that waits for `start`. ``console``: a connected socket that receives the master end of
        the pseudoterminal, instead of the socket that listens at ``console_socket``. ``streams``: the descriptors 0, 1
        and 2 of init, instead of those of its parent; they stay open here. ``parent``: the process that starts init and
        waits for it, instead of this one. Raises ConfigError, HostError, ContainerExists, StepError, HookError; after
        an error nothing of the container is left."""
        create(self.root, container_id, os.fspath(bundle), self._request(
            console_socket, pid_file, preserve_fds, detached=console is None, console=console, streams=streams,
            parent=parent, pivot=pivot, new_keyring=new_keyring))
        return self.state(container_id)

    def prepare(self, bundle: str | os.PathLike[str], *, given: Sequence[str] = (),
                controllers: Sequence[str] = ()) -> Preparation:
        """Compile the plan for containers of a bundle that differ only in their IDs; where its config.json has ID_MARK,
        each has its ID. ``given``: the kinds of namespaces whose descriptors `create_prepared` is given.
        ``controllers``: those whose hierarchies of cgroup v1 have a cgroup for each; none: all hierarchies. The front
        does not know these containers: the commands take an interpreter for them. Raises ConfigError, HostError,
        UsageError."""
        from pyruntime.runtime.lifecycle.preparation import Preparation  # lazy: as in run

        request = self._request("", "", 0, detached=True, namespaces=dict.fromkeys(given, -1))
        return Preparation(self.root, os.fspath(bundle), request, controllers)

    def create_prepared(self, container_id: str, preparation: Preparation, *, streams: Sequence[int] = (),
                        namespaces: Mapping[str, int] | None = None, adopts: bool = False) -> Entrance:
        """Create a container of `prepare`, and start it at once; returns the way into it. ``namespaces``: descriptors,
        which stay open here: "user", instead of opening the configuration's path, and "mount", of which the container's
        is a copy. ``adopts``: see Entrance. Raises what `create` and `start` raise."""
        return self._entrance(preparation, preparation.create(container_id, self._request(
            "", "", 0, detached=True, streams=streams, namespaces=namespaces)), adopts=adopts)

    def restore_prepared(self, container_id: str, preparation: Preparation, image_path: str, **options: Any
                         ) -> Entrance:
        """Restore a container of `prepare` whose commands are children of its init; returns the way into it. The others
        are as for `restore`."""
        from pyruntime.runtime.lifecycle.restore import RestoreRequest  # lazy: as in run

        return self._entrance(preparation, preparation.restore(container_id, RestoreRequest(
            image_path=image_path, rootless=self.rootless, cgroup_manager=self.cgroup_manager, warn=self.warn,
            **options)), adopts=True)

    def _entrance(self, preparation: Preparation, record: StateRecord, *, adopts: bool) -> Entrance:
        from pyruntime.runtime.lifecycle.preparation import Entrance  # lazy: as in run

        try:
            return Entrance(preparation, record, adopts=adopts)
        except BaseException:
            self.delete(record.id, force=True)
            raise

    def start(self, container_id: str, *, keep: Callable[[int], None] = lambda fd: None) -> None:
        """Start the program of a created container. ``keep`` is called with the descriptor of the connection to init:
        while another process has it open, init is not disturbed by the end of this one. Raises StateError, StepError,
        HookError."""
        start(self.root, container_id, keep=keep)

    def run(self, container_id: str, bundle: str | os.PathLike[str], *, detach: bool = False, keep: bool = False,
            preserve_fds: int = 0) -> int:
        """Create and start; unless ``detach``, wait for the program, delete the container (unless ``keep``) and return
        its exit status, 128 + N when signal N killed it. Signals are forwarded if the main thread waits."""
        # lazy: the face of the library loads each verb with its first call
        from pyruntime.runtime.lifecycle.run import run

        request = self._request("", "", preserve_fds, detached=detach)
        return run(self.root, container_id, os.fspath(bundle), request, keep=keep, subreaper=False)

    def exec(self, container_id: str, args: Sequence[str] = (), *, process: Mapping[str, Any] | bytes | None = None,
             cwd: str = "", env: Sequence[str] = (), user: str = "", gids: Sequence[int] = (),
             groups: Sequence[int] | None = None, terminal: bool = False,
             capabilities: Sequence[str] = (), no_new_privs: bool | None = None, cgroup: Sequence[str] = (),
             detach: bool = False, ignore_paused: bool = False, console_socket: str = "", pid_file: str = "",
             preserve_fds: int = 0, stdin: bool = True, console: socket | None = None, streams: Sequence[int] = (),
             parent: Parent = THIS_PROCESS, on_pid: Callable[[int], None] = lambda pid: None,
             keep: Callable[[int], None] = lambda fd: None, plans: ExecPlans | None = None) -> int:
        """Run a command in a created or running container, and return its exit status, 128 + N when signal N killed it.
        With ``detach``, return the pid: the process is a child of this process, which has to wait for it.

        ``args`` is the command and its arguments, and the options after it change what the container's own process has:
        ``gids`` are added to the container's supplementary groups, ``groups`` replaces them. Alternatively ``process``
        is a whole process object (config.md#process), or its JSON text. ``console``, ``streams`` and ``parent`` are as
        for `create`; ``on_pid`` is called with the pid before the command is executed, then ``keep`` as for `start`.
        ``plans`` keeps the plans of earlier calls, with ``process`` as text and without preserved descriptors, PID file
        and cgroup. Signals are forwarded if the main thread waits; without ``stdin`` the terminal gets no input, and
        the third SIGINT or SIGTERM raises Interrupted.
        Raises StateError, UsageError, ConfigError, HostError, StepError; after an error nothing of the process is left.
        """
        from pyruntime.runtime.lifecycle.exec import ExecRequest, execute  # lazy: as in run

        options: dict[str, Any] = {} if process is not None else {
            "cwd": cwd, "env": env, "user": user, "gids": gids, "groups": groups, "terminal": terminal,
            "capabilities": capabilities, "no_new_privs": no_new_privs}
        return execute(self.root, container_id, ExecRequest(
            args, process=process or "", cgroup=cgroup, detached=detach, ignore_paused=ignore_paused,
            console_socket=console_socket, pid_file=pid_file, preserve_fds=preserve_fds, rootless=self.rootless,
            stdin=stdin, console=console, streams=streams, parent=parent, on_pid=on_pid, keep=keep,
            plans=plans, warn=self.warn, **options))

    def checkpoint(self, container_id: str, image_path: str | os.PathLike[str], *, leave_running: bool = False,
                   **options: Any) -> None:
        """Checkpoint a running or paused container to a directory, then delete it unless it is left running.
        ``options`` are those of pyruntime.runtime.lifecycle.checkpoint.CheckpointRequest: tcp_established, file_locks,
        ... Raises StateError, UsageError, HostError, CriuError; after an error the container keeps running."""
        from pyruntime.runtime.lifecycle.checkpoint import CheckpointRequest, checkpoint  # lazy: as in run

        checkpoint(self.root, container_id, CheckpointRequest(
            image_path=os.fspath(image_path), leave_running=leave_running, rootless=self.rootless, warn=self.warn,
            **options))

    def restore(self, container_id: str, bundle: str | os.PathLike[str], image_path: str | os.PathLike[str], *,
                detach: bool = True, console_socket: str = "", pid_file: str = "", **options: Any) -> int:
        """Restore a container from a checkpoint. With ``detach``, return 0 when the container runs; its init is a child
        of this process (or of the option ``parent``), which has to wait for it. Otherwise wait, delete the container
        and return its exit status. ``options`` are those of pyruntime.runtime.lifecycle.restore.RestoreRequest. Raises
        ConfigError, UsageError, HostError, ContainerExists, StepError, HookError, CriuError; after an error nothing of
        the container is left."""
        from pyruntime.runtime.lifecycle.restore import RestoreRequest, restore  # lazy: as in run

        return restore(self.root, container_id, os.fspath(bundle), RestoreRequest(
            image_path=os.fspath(image_path), detached=detach, console_socket=console_socket, pid_file=pid_file,
            rootless=self.rootless, cgroup_manager=self.cgroup_manager, warn=self.warn, **options), subreaper=False)

    def state(self, container_id: str) -> State:
        """The container's state now. Raises NoSuchContainer."""
        return State(self.root, container_id)

    def kill(self, container_id: str, signal: int | str = "TERM", *, everything: bool = False) -> None:
        """Send a signal, by number or name, to init or to every process. Raises StateError, UsageError."""
        from pyruntime.system.signals import signal_number  # lazy: as in run

        number = signal if isinstance(signal, int) else signal_number(signal)
        kill(self.root, container_id, number, everything=everything)

    def pause(self, container_id: str) -> None:
        """Pause every process of a created or running container until `resume`. Raises StateError."""
        from pyruntime.runtime.lifecycle.pause import pause  # lazy: as in run

        pause(self.root, container_id)

    def resume(self, container_id: str) -> None:
        """Resume the processes of a paused container. Raises StateError."""
        from pyruntime.runtime.lifecycle.pause import resume  # lazy: as in run

        resume(self.root, container_id)

    def pids(self, container_id: str) -> Sequence[int]:
        """The IDs of the container's processes on the host. Raises NoSuchContainer."""
        from pyruntime.runtime.lifecycle.ps import pids  # lazy: as in run

        return pids(self.root, container_id)

    def delete(self, container_id: str, *, force: bool = False) -> None:
        """Delete a container; with ``force`` kill it first, and ignore a missing container. Raises StateError."""
        delete(self.root, container_id, force=force, warn=self.warn)

    def update(self, container_id: str, resources: dict[str, Any]) -> None:
        """Change limits: ``resources`` is a ``linux.resources`` object. Other limits and the devices stay as they are.

        All or nothing. Raises ConfigError, StateError, HostError, StepError."""
        from pyruntime.runtime.lifecycle.update import update  # lazy: as in run

        update(self.root, container_id, resources)

    @staticmethod
    def plans() -> ExecPlans:
        """A place for the plans of `exec`, for a process that lives long."""
        from pyruntime.runtime.lifecycle.exec import ExecPlans  # lazy: as in run

        return ExecPlans()

    def stats(self, container_id: str) -> dict[str, Any]:
        """The statistics of the container's cgroup, as `events --stats` prints them. Raises StateError."""
        from pyruntime.runtime.lifecycle.events import statistics  # lazy: as in run

        return statistics(self.root, container_id)

    def oom_file(self, container_id: str) -> int:
        """A descriptor of the file that `oom_counters` reads, for a caller that outlives the interpreter; -1 if nothing
        counts. Raises NoSuchContainer."""
        from pyruntime.runtime.cgroups.oom import counted  # lazy: as in run

        record = StateDirectory(self.root, container_id).read()
        try:
            return os.open(counted(record.cgroup), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return -1

    def oom_counters(self, container_id: str) -> dict[str, int]:
        """The numbers of memory.oom_control (cgroup v1) or memory.events (v2), by the kernel's names; empty if nothing
        counts. Raises NoSuchContainer."""
        from pyruntime.runtime.cgroups.oom import counters  # lazy: as in run

        record = StateDirectory(self.root, container_id).read()
        try:
            return counters(record.cgroup)
        except OSError:
            return {}

    def oom_counter(self, container_id: str) -> OomCounter:
        """A counter of the container's OOM kills from now on, for a caller that polls. Raises NoSuchContainer, OSError.
        """
        from pyruntime.runtime.lifecycle.events import OomCounter  # lazy: as in run

        return OomCounter(StateDirectory(self.root, container_id).read().cgroup)

    def parent_stats(self, container_id: str) -> dict[str, Any]:
        """As `stats`, of the parent of the container's cgroup, which the containers of a pod share. Raises StateError.
        """
        from pyruntime.runtime.lifecycle.events import statistics  # lazy: as in run

        return statistics(self.root, container_id, parent=True)

    def hidden_cgroup(self, container_id: str) -> str:
        """The path of a cgroup that `create` has made and that this process cannot see, because the cgroup's hierarchy
        is not mounted in its mount namespace; `delete` would believe that the cgroup is gone. "" if all can be seen.
        Raises NoSuchContainer."""
        from pyruntime.runtime.cgroups.tree import visible  # lazy: as in run

        made = StateDirectory(self.root, container_id).read().cgroup_made
        return next((path for path in made if not visible(path)), "")

    def subgroup(self, container_id: str, name: str) -> Subgroup:
        """A sub-cgroup of the container's cgroup, for ``exec(cgroup=subgroup.where)``; `Subgroup.create` makes it.
        Raises NoSuchContainer."""
        from pyruntime.runtime.cgroups.subgroup import Subgroup  # lazy: as in run

        return Subgroup(StateDirectory(self.root, container_id).read().cgroup, name)

    def plan(self, container_id: str, bundle: str | os.PathLike[str]) -> Plan:
        """The plan of `create` for a bundle; nothing is executed. Raises ConfigError, HostError."""
        # lazy: as in run
        from pyruntime.runtime.config.load import load_bundle
        from pyruntime.runtime.lifecycle.create import make_plan

        return make_plan(load_bundle(os.fspath(bundle)), container_id, self._request("", "", 0, detached=True))

    @staticmethod
    def features() -> dict[str, Any]:
        """The features document (features.md), as `features` prints it."""
        from pyruntime.runtime.lifecycle.features import document  # lazy: as in run

        return document()

    @staticmethod
    def process_table(pids: Sequence[int], options: Sequence[str] = ()) -> str:
        """The output of ps(1) with ``options`` (default: -ef) for these processes. Raises HostError, PyruntimeError."""
        from pyruntime.runtime.lifecycle.ps import DEFAULT, table  # lazy: as in run

        return table(pids, options or DEFAULT)

    def list(self) -> list[State]:
        """All containers, by ID."""
        states = []
        for name in identifiers(self.root):
            try:
                states.append(self.state(name))
            except NoSuchContainer:
                continue   # deleted meanwhile
        return states
