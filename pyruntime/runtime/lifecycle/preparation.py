"""Containers that differ only in their IDs: their plans are compiled once (compiler/form.py).

A `Preparation` is what `create` finds out from a bundle; an `Entrance` is what `exec` finds out about a container. The
containers have no lists for the front (plan/life.py): the commands work on them, with Python.
"""

from __future__ import annotations

import os
from _signal import SIG_DFL, SIGCHLD, getsignal  # type: ignore[import-not-found]
from contextlib import AbstractContextManager, nullcontext
from threading import Lock

from pyruntime.errors import StateError, StepError, UsageError
from pyruntime.runtime.cgroups.subgroup import Subgroup
from pyruntime.runtime.compiler.compile import Plan
from pyruntime.runtime.compiler.form import ID_MARK, Form
from pyruntime.runtime.compiler.sections.process import search_path
from pyruntime.runtime.config.joining import asked_process, kept_of
from pyruntime.runtime.config.load import Config, load_bundle
from pyruntime.runtime.config.rules import warnings
from pyruntime.runtime.lifecycle.create import Request, carry_out, check_bundle, find_host, make_plan
from pyruntime.runtime.lifecycle.exec import ExecLaunch, ExecRequest, exec_plan, foreign_namespaces, open_init
from pyruntime.runtime.lifecycle.parent import THIS_PROCESS
from pyruntime.runtime.lifecycle.store import StateDirectory, StateRecord
from pyruntime.runtime.lifecycle.template import namespaces_of
from pyruntime.system.environment import last_of_each
from pyruntime.system.json import decode, encode
from pyruntime.system.processes import ended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable, Sequence

    from pyruntime.runtime.lifecycle.restore import RestoreRequest

_GROUP_MARK = "+pyruntime.group+"   # stands for the name of a sub-cgroup


class Preparation:
    """A bundle, for many containers. In its config.json, ID_MARK stands for the container's ID; ``request`` holds for
    all of them, except its streams and the numbers of its namespaces' descriptors."""

    def __init__(self, root: str, bundle: str, request: Request, controllers: Sequence[str]) -> None:
        """``controllers``: as for `Runtime.prepare`. Raises ConfigError, HostError, and UsageError for what a single
        container needs for itself."""
        self.root = root
        self.config = load_bundle(bundle)
        if "mount" not in request.namespaces:   # in other mounts, only the stub sees it
            check_bundle(self.config)
        if self.config.get("process.terminal", False) or request.notify or request.preserve_fds:
            raise UsageError("containers with a terminal, a service manager or preserved descriptors are not prepared")
        self._kept = kept_of(self.config, request.new_keyring)
        self._kept_text = encode(self._kept).encode()
        self._host = find_host(request)
        self._host.cgroup = self._host.cgroup.only(controllers)
        self.rootless = self._host.rootless
        self._cache = os.path.join(root, ".seccomp")
        plan = make_plan(self.config, ID_MARK, request, self._host, self._cache, os.path.join(root, ID_MARK),
                         waits=False)
        if "seccomp" in plan.slots:
            raise UsageError(f"{self.config.document}: linux.seccomp: containers whose filter asks an agent"
                             " (SCMP_ACT_NOTIFY) are not prepared: use another action")
        for problem in (*self.config.forgiven, *warnings(self.config)):
            request.warn(f"{self.config.document}: {problem}")
        for warning in plan.warnings:
            request.warn(warning)
        self._form = Form(plan, [ID_MARK])
        self._cgroup = plan.cgroup_paths
        self._entrances: dict[tuple[str, ...], Form] = {}

    def create(self, container_id: str, request: Request) -> StateRecord:
        """As create.create, for this bundle; and init executes its program at once."""
        container = StateDirectory(self.root, container_id)
        return carry_out(container, self.config, self._form.fill({ID_MARK: container_id}, {}), request, self._kept_text,
                         beside=lambda record: False, settle=container.write)

    def restore(self, container_id: str, request: RestoreRequest) -> StateRecord:
        """As restore.restore, for a container of this bundle, and detached."""
        from pyruntime.runtime.lifecycle.restore import revive  # lazy: few containers are restored

        document = self.config.document
        value = decode(encode(self.config.value).replace(ID_MARK, container_id).encode(), document)
        return revive(self.root, container_id, Config(value, document, self.config.bundle), request, self._host)

    def entrance(self, cgroup: Sequence[str], *, terminal: bool, waits: bool, adopted: bool, foreign: int) -> Form:
        """The plan of `exec` into one of the containers; ``cgroup`` is as in ExecRequest, with _GROUP_MARK. ``waits``:
        whether the process waits until the caller knows it; ``adopted``: whether init becomes its parent; ``foreign``:
        the namespaces (CLONE_NEW*) that init has and the runtime does not; 0: those of the configuration."""
        key = (*cgroup, str(terminal), str(waits), str(adopted), str(foreign))
        form = self._entrances.get(key)
        if form is None:
            process = asked_process(self._kept, ["/"], terminal=terminal)
            config = Config({**self._kept, "process": process}, "exec", self.config.bundle)
            plan = exec_plan(StateDirectory(self.root, ID_MARK), StateRecord(id=ID_MARK, cgroup=self._cgroup), config,
                             ExecRequest(cgroup=cgroup, adopted=adopted), self._host, foreign or namespaces_of(config))
            if not waits:
                plan.steps = [step for step in plan.steps if step.op.name != "report_process"]
            form = self._entrances[key] = Form(plan, [ID_MARK, _GROUP_MARK])
        return form


class Entrance:
    """The way into a container of a Preparation, open until `close`.

    ``adopts``  whether init becomes the parent of the commands, so that a checkpoint has them; each needs a sub-cgroup
    ``changing``  with ``adopts``, a lock for whoever starts or kills commands: CRIU can save neither half of it
    """

    def __init__(self, preparation: Preparation, record: StateRecord, *, adopts: bool = False) -> None:
        """Raises StateError if the container has stopped."""
        self.adopts = adopts
        self.changing: AbstractContextManager[object] = Lock() if adopts else nullcontext()
        self._foreign = foreign_namespaces(record.pid) if adopts else 0   # CRIU restores into a new time namespace
        self._preparation = preparation
        self._id = record.id
        self.pid = record.pid   # of init
        self._env: list[str] = preparation.config.get("process.env", [])
        self._cwd: str = preparation.config.get("process.cwd", "/")
        self._cgroup = record.cgroup
        if preparation.rootless:   # hierarchies that are not writable have been left out (cgroups/resources.py)
            self._cgroup = {key: path for key, path in record.cgroup.items() if os.path.isdir(path)}
        self._init = open_init(record)

    @property
    def root(self) -> int:
        """A descriptor of the container's root directory."""
        return self._init["root"]

    @property
    def alive(self) -> bool:
        """Whether the container's init has not ended."""
        return not ended(self._init["init"], 0)

    @property
    def has_cgroup(self) -> bool:
        """Whether the container has a cgroup in any hierarchy."""
        return bool(self._cgroup)

    @property
    def has_freezer(self) -> bool:
        """Whether it has one by which processes can be frozen, and killed without any escaping."""
        return any(not key or "freezer" in key.split(",") for key in self._cgroup)

    def subgroup(self, name: str) -> Subgroup:
        """As Runtime.subgroup."""
        return Subgroup(self._cgroup, name)

    def subgroups(self) -> set[str]:
        """The names of the sub-cgroups that there are."""
        return {entry.name for path in self._cgroup.values() for entry in os.scandir(path) if entry.is_dir()}

    def close(self) -> None:
        """Close the descriptors."""
        for fd in self._init.values():
            os.close(fd)
        self._init = {}

    def exec(self, args: Sequence[str], *, env: Sequence[str] | None = None, cwd: str = "",
             group: Subgroup | None = None, streams: Sequence[int] = (), console: socket | None = None,
             on_pid: Callable[[int], None] = lambda pid: None) -> None:
        """Run a command, a child of this process or (``adopts``) of init. ``group``: the sub-cgroup it enters. With
        ``console``, a socket that receives its master end, the command has a terminal. The others are as for
        `Runtime.exec`. Raises StepError; then nothing of the process is left, or only in the sub-cgroup."""
        name = group.name if group else ""
        where = [f"{group.controllers}:{_GROUP_MARK}" if group.controllers else _GROUP_MARK] if group else []
        # The master end of a terminal is received before the command is executed. An ended process may be gone at once
        # if this program ignores SIGCHLD, or has a handler that waits for all children.
        waits = console is not None or self.adopts or getsignal(SIGCHLD) != SIG_DFL
        form = self._preparation.entrance(where, terminal=console is not None, waits=waits, adopted=self.adopts,
                                          foreign=self._foreign)
        variables = last_of_each(self._env if env is None else env)
        path = cwd or self._cwd
        plan = form.fill({ID_MARK: self._id, _GROUP_MARK: name}, {
            "chdir": {"path": path},
            "find_executable": {"name": args[0], "path": search_path(variables)},
            "prepare_exec": {"args": list(args), "env": variables},
            "execve": {}}, args[0])
        fds = self._descriptors(plan, console)

        def adopted(starter: int) -> None:
            assert group
            found = group.pids(but=starter)
            if len(found) != 1:
                raise StateError(f'"{args[0]}" ended before its start, or is not in its cgroup')
            on_pid(found[0])

        with self.changing:
            pid = ExecLaunch(plan, fds, ExecRequest(streams=streams, on_pid=adopted if self.adopts else on_pid)).run()
        if self.adopts:
            THIS_PROCESS.let_end(pid)

    def _descriptors(self, plan: Plan, console: socket | None) -> dict[str, int]:
        if not self._init:
            raise StepError(f'the way into "{self._id}" is closed')
        fds: dict[str, int] = {}
        try:
            for name in self._init.keys() & plan.slots:
                fds[name] = os.dup(self._init[name])
        except OSError:
            for fd in fds.values():
                os.close(fd)
            raise
        if console is not None:
            fds["console"] = console.detach()
        return fds
