"""`create`: from a bundle to a container that waits for `start` (runtime.md#create)."""

from __future__ import annotations

import os

from pyruntime.errors import ConfigError, HookError, HostError, Problem, PyruntimeError, StepError, UsageError, words
from pyruntime.runtime.compiler.compile import Plan, compile_plan
from pyruntime.runtime.compiler.setup import Host, PlanOptions, Setup
from pyruntime.runtime.config.joining import kept_of
from pyruntime.runtime.config.load import Config, load_bundle
from pyruntime.runtime.config.rules import warnings
from pyruntime.runtime.lifecycle import channel
from pyruntime.runtime.lifecycle.descriptors import check_descriptors
from pyruntime.runtime.lifecycle.facts import read_host
from pyruntime.runtime.lifecycle.launch import Launch
from pyruntime.runtime.lifecycle.parent import THIS_PROCESS, Parent
from pyruntime.runtime.lifecycle.report import report_pid
from pyruntime.runtime.lifecycle.store import StateDirectory, StateRecord
from pyruntime.system import sockets
from pyruntime.system.json import encode
from pyruntime.system.processes import start_time
from pyruntime.system.times import timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from pyruntime.runtime.lifecycle.life import Life
    from pyruntime.runtime.plan.steps import Step


class Request:
    """The options of `create` and `run`, besides the ID and the bundle.

    ``console_socket``  path of a listening socket that receives the master end of the pseudoterminal; "" for none
    ``console``         the connected socket itself (a foreground `run` keeps the other end)
    ``rootless``        None: detected from the effective user ID and the user namespace
    ``cgroup_manager``  "cgroupfs", "systemd", or "disabled" (no cgroup)
    ``config_file``     the configuration, instead of the bundle's config.json
    ``notify``          the service manager's socket (sd_notify(3)) that the program may notify; "" for none
    ``namespaces``      descriptors of namespaces, which stay open here: "user", instead of opening the configuration's
                        path, and "mount", of which the container's is a copy
    ``streams``         the descriptors 0, 1 and 2 of init, instead of those of its parent
    ``parent``          the process that starts init and waits for it
    ``command``         this process does nothing else: `delete --force` may kill it to end the creation
    ``listen``          how many preserved descriptors are activated sockets; ``variables`` announces them
    ``debug``           called with a debug message for each operation
    """

    def __init__(self, *, console_socket: str = "", console: _socket.socket | None = None, pid_file: str = "",
                 pidfd_socket: str = "", pivot: bool = True, new_keyring: bool = True, preserve_fds: int = 0,
                 rootless: bool | None = None, detached: bool = True, cgroup_manager: str = "cgroupfs",
                 config_file: str = "", notify: str = "", listen: int = 0, variables: Sequence[str] = (),
                 streams: Sequence[int] = (), parent: Parent = THIS_PROCESS, command: bool = False,
                 namespaces: Mapping[str, int] | None = None,
                 warn: Callable[[str], None] = lambda text: None,
                 debug: Callable[[str], None] = lambda text: None) -> None:
        self.console_socket = os.path.abspath(console_socket) if console_socket else ""
        self.console = console
        self.pid_file = os.path.abspath(pid_file) if pid_file else ""
        self.pidfd_socket = os.path.abspath(pidfd_socket) if pidfd_socket else ""
        self.pivot = pivot
        self.new_keyring = new_keyring
        self.preserve_fds = preserve_fds + listen
        self.listen = listen
        self.variables = list(variables)
        self.notify = notify
        self.rootless = rootless
        self.detached = detached
        self.cgroup_manager = cgroup_manager
        self.config_file = config_file
        self.streams = streams
        self.parent = parent
        self.command = command
        self.namespaces = namespaces or {}
        self.warn = warn
        self.debug = debug


class Creation(Launch):
    """The launch of `create`; it is over when init waits for `start`, or (preparation.py) has executed its program."""

    def __init__(self, plan: Plan, config: Config, container: StateDirectory, record: StateRecord,
                 request: Request, beside: Callable[[StateRecord], bool]) -> None:
        """``beside`` is called with the record while init is being set up, as long as it returns true."""
        super().__init__(plan, _descriptors(container, config, plan, request), request.preserve_fds, request.debug,
                         request.streams, request.parent)
        self.config = config
        self.container = container
        self.record = record
        self.beside = beside
        self.waits = "start" in plan.slots

    def state(self, status: str) -> dict[str, Any]:
        """The current state document for a hook."""
        return Setup.state_of(self.config, self.record.id, status, self.process)

    def commit(self) -> None:
        """Write the record as far as it is known, for `state` and `delete` in other processes."""
        self.container.write(self.record)

    def ready(self) -> None:
        if own_unit(self.record, self.plan):
            self.commit()

    def started(self) -> None:
        self.record.pid = self.init
        try:
            self.record.started = start_time(self.init)
        except HostError:   # the stub is hidden by hidepid, and a program in the container's user namespace is not
            if self.waits:
                raise

    def meanwhile(self) -> bool:
        return self.beside(self.record)

    def over(self, report: channel.Report | None) -> bool:
        if not self.waits:
            if not self.taken_over(report):
                return False
            self.record.started = self.record.started or start_time(self.init)
        elif report is None or report.kind != channel.CREATED:
            return False
        self.debug("init: closing the pipe to signal completion")
        for step in self.plan.steps:
            if step.op.name == "device_source":
                os.unlink(step.args["path"])   # the node is mounted by now
        return True

    def cause_of_death(self) -> str:
        from pyruntime.runtime.cgroups.stats import killed_for_memory  # lazy: only for a create that fails

        limit = self.config["linux.resources.memory.limit"]
        peak = killed_for_memory(self.record.cgroup)
        if peak < 0 or not limit:
            return ""
        return (f"{self.config.document}: {limit.where}: unable to set memory limit to {limit.value} (peak usage:"
                f" {peak}): the kernel killed init, which could not be set up with so little")

    def left_behind(self) -> list[str]:
        from pyruntime.runtime.cgroups.group import Cgroup  # lazy: only for a create that fails

        made = {key: path for key, path in self.record.cgroup.items() if path in self.record.cgroup_made}
        if not made:
            return []
        # If the container has no own pid namespace, processes that a hook or init left behind survive in the cgroup.
        try:
            Cgroup(made).kill()
        except (OSError, PyruntimeError) as error:
            return [words(error)]
        return []

    def let_go(self) -> None:
        """The record is on disk: init may wait without the runtime."""
        if self.waits:
            channel.go(self._control, {})
            self._control.close()

    def abandon(self, error: BaseException) -> None:
        """Undo a container that was created but not handed over to the caller (for example: its pid file was
        refused)."""
        self._fail(error)


class Lists:
    """What `create` leaves for the front beside the record: the exec template and the life plan. Both are made while
    init works, when this costs no time, as far as that is possible."""

    def __init__(self, container: StateDirectory, kept: dict[str, Any], host: Host, *, notifies: bool) -> None:
        self._container = container
        self._kept = kept
        self._host = host
        self._notifies = notifies
        self._templated = False
        self._life: Life | None = None

    def beside(self, record: StateRecord) -> bool:
        """Do one part; returns whether there is another."""
        # lazy: while init works
        from pyruntime.runtime.lifecycle import life, template  # noqa: F401

        if not self._templated:
            template.leave(self._container, record, self._kept, self._host)
            self._templated = True
        elif record.pid:
            self._prepared(record)
            self._container.clear()
        return self._life is None

    def settle(self, record: StateRecord) -> None:
        """Write down the complete record, and the life plan."""
        from pyruntime.runtime.lifecycle.life import settle  # lazy: imported by beside

        settle(self._container, record, self._prepared(record))

    def _prepared(self, record: StateRecord) -> Life:
        if self._life is None:
            from pyruntime.runtime.lifecycle.life import prepare  # lazy: imported by beside

            self._life = prepare(self._container, record, notifies=self._notifies)
        return self._life


def find_host(request: Request) -> Host:
    """The host as it is now, with what the request needs to know."""
    return read_host(request.rootless, systemd=request.cgroup_manager == "systemd")


def make_plan(config: Config, container_id: str, request: Request, host: Host | None = None, cache: str = "",
              scratch: str = "", waits: bool = True) -> Plan:
    """Compile the plan for a host, by default for this one. ``cache`` is the directory of compiled filters, ``scratch``
    the container's directory; ``waits``: whether init waits for `start`."""
    options = PlanOptions(pivot=request.pivot, new_keyring=request.new_keyring, preserve_fds=request.preserve_fds,
                      console=bool(config.get("process.terminal", False)), filter_cache=cache, scratch=scratch,
                      cgroup_manager=request.cgroup_manager, given=tuple(request.namespaces), waits=waits)
    return compile_plan(config, host or find_host(request), options, container_id)


def create(root: str, container_id: str, bundle: str, request: Request) -> StateRecord:
    """Create a container; on any failure nothing of it is left. Raises PyruntimeError."""
    container = StateDirectory(root, container_id)
    config = load_bundle(bundle, process_needed=False, file=request.config_file)
    check_bundle(config)
    check_terminal(config, request)
    check_descriptors(request.preserve_fds, request.listen)
    kept = kept_of(config, request.new_keyring)   # without the activated sockets, which are only for init
    notifies = bool(request.notify) and _may_notify(config)
    if notifies or request.variables:
        config = _with_surroundings(config, request, container.directory if notifies else "")
    host = find_host(request)
    plan = make_plan(config, container_id, request, host, os.path.join(root, ".seccomp"), container.directory)
    if notifies:
        _name_notify_socket(plan, len(config.value["mounts"]) - 1)
    for problem in (*config.forgiven, *warnings(config)):
        request.warn(f"{config.document}: {problem}")
    for warning in plan.warnings:
        request.warn(warning)

    lists = Lists(container, kept, host, notifies=notifies)
    return carry_out(container, config, plan, request, encode(kept).encode(), beside=lists.beside,
                     settle=lists.settle, notifies=notifies)


def carry_out(container: StateDirectory, config: Config, plan: Plan, request: Request, kept: bytes, *,
              beside: Callable[[StateRecord], bool], settle: Callable[[StateRecord], None],
              notifies: bool = False) -> StateRecord:
    """Create a container by its plan; on any failure nothing of it is left. ``kept`` is the content of exec.json.
    ``beside`` is called with the record while init is being set up, as long as it returns true; ``settle`` when the
    record is complete, to write it down.
    """
    record = record_of(config, container.id, plan, command=request.command)
    container.claim(record)
    launch = None
    try:
        container.keep(kept)
        if notifies:
            from pyruntime.runtime.lifecycle import notify  # lazy: only with $NOTIFY_SOCKET
            notify.prepare(container.directory)
        launch = Creation(plan, config, container, record, request, beside)
        launch.run()
        report_pid(record.pid, request.pid_file, request.pidfd_socket)
        record.creator = [0, 0]
        settle(record)
    except BaseException as error:
        if launch is not None and record.pid:
            launch.abandon(error)
            _poststop(record, error)
        if not isinstance(error, Exception):
            # KeyboardInterrupt may have come between a step and the registration of its undo function. The record has
            # everything that was going to be created.
            from pyruntime.runtime.lifecycle.delete import destroy  # lazy: only for a create that fails
            destroy(container, record)
        container.remove()
        raise
    launch.let_go()
    return record


def _may_notify(config: Config) -> bool:
    # A joined mount namespace has no place for the socket.
    return bool(config["process"]) and any(node.get("type") == "mount" and not node.get("path", "")
                                           for node in config["linux.namespaces"].each())


def _name_notify_socket(plan: Plan, index: int) -> None:
    # config.json has no such mount: without this name a user would look for the mount there in vain.
    for step in plan.steps:
        if step.where.startswith(f"mounts[{index}]"):
            step.where = "NOTIFY_SOCKET"


def _with_surroundings(config: Config, request: Request, notify_directory: str) -> Config:
    """The configuration, with the activated sockets and the service manager's socket from the caller's environment
    added."""
    process = dict(config.get("process", {}))
    told = [f"{entry.partition('=')[0]}=" for entry in request.variables]
    if notify_directory:
        told.append("NOTIFY_SOCKET=")
    env = [entry for entry in process.get("env") or [] if not entry.startswith(tuple(told))]
    value = {**config.value, "process": process}
    if notify_directory:
        from pyruntime.runtime.lifecycle import notify  # lazy: only with $NOTIFY_SOCKET
        env.append(notify.VARIABLE)
        value["mounts"] = [*(value.get("mounts") or []), notify.mount(notify_directory)]
    process["env"] = [*env, *request.variables]
    return Config(value, config.document, config.bundle, config.forgiven)


def check_bundle(config: Config) -> None:
    """Raise ConfigError if the root filesystem does not exist."""
    root = config["root"]
    if not root:
        raise ConfigError(config.document, [Problem(
            "root", "root must be specified", 'add {"path": "rootfs"}', "config.md#root")])
    path = os.path.join(config.bundle, root.get("path", ""))
    if not os.path.isdir(path):
        raise ConfigError(config.document, [Problem(
            "root.path", f'invalid rootfs: "{path}" is not a directory',
            "unpack the image there, or write the path of the root filesystem", "config.md#root")])


def check_terminal(config: Config, request: Request) -> None:
    """Raise UsageError for a terminal whose master end has no receiver."""
    terminal = config.get("process.terminal", False)
    if request.detached and terminal and not (request.console_socket or request.console):
        raise UsageError("cannot allocate tty if pyruntime will detach without setting console socket: give"
                         " --console-socket, or set process.terminal to false")
    if request.console_socket and not (terminal and request.detached):
        raise UsageError("cannot use console socket if pyruntime will not detach or allocate tty")


def record_of(config: Config, container_id: str, plan: Plan, *, command: bool = False) -> StateRecord:
    """The record of a container that ``plan`` is about to create; ``command`` as in Request."""
    # Past the end for a plan of `restore`, which leaves no steps to `start`.
    waiting = next((number for number, step in enumerate(plan.steps) if step.op.name == "await_start"),
                   len(plan.steps))
    record = StateRecord(
        id=container_id, ociVersion=config.get("ociVersion"), bundle=config.bundle,
        rootfs=os.path.normpath(os.path.join(config.bundle, config.get("root.path"))), created=timestamp(),
        annotations=config.get("annotations", {}),
        creator=[os.getpid(), start_time(os.getpid()), int(command)], cgroup=plan.cgroup_paths,
        # Recorded before they are created: a runtime that is killed half-way must not leave unknown cgroups behind.
        cgroup_made=_to_be_made(plan), has_process=bool(config["process"]), total=len(plan.steps),
        own_pids=any(node.get("type") == "pid" and not node.get("path", "")
                     for node in config["linux.namespaces"].each()),
        hooks={kind: config.get(f"hooks.{kind}") for kind in ("poststart", "poststop") if config[f"hooks.{kind}"]},
        tail=[[number, step.phase, step.op.name, step.where, step.label]
              for number, step in enumerate(plan.steps) if number > waiting and step.op.actor == "stub"])
    if not any(os.path.isdir(path) for path in _managed(plan)):
        own_unit(record, plan)   # until systemd creates it, the unit may be another's
    return record


def own_unit(record: StateRecord, plan: Plan) -> bool:
    """Add the systemd unit of the plan, if any, to the container's record: `delete` stops the unit and all its
    processes. Returns whether the record has changed."""
    scope = _scope(plan)
    if not scope or record.unit:
        return False
    record.unit, record.user_unit = scope.args["unit"], bool(scope.args["user"])
    record.cgroup_made = [*record.cgroup_made, *_managed(plan)]
    return True


def _scope(plan: Plan) -> Step | None:
    return next((step for step in plan.steps if step.op.name == "cgroup_scope"), None)


def _to_be_made(plan: Plan) -> list[str]:
    """The cgroup directories, outermost first, that `delete` removes, except those that systemd creates."""
    by_systemd = _managed(plan)
    return [path for group in plan.cgroup_paths.values() if group not in by_systemd for path in _missing(group)]


def _managed(plan: Plan) -> list[str]:
    """The directories that systemd creates for the container. The slices above them belong to systemd."""
    if not _scope(plan):
        return []
    from pyruntime.runtime.cgroups.systemd import managed  # lazy: only for the systemd driver

    return [group for key, group in plan.cgroup_paths.items() if managed(key)]


def _missing(path: str) -> list[str]:
    """The missing directories of ``path``, outermost first."""
    missing: list[str] = []
    while not os.path.isdir(path):
        missing.insert(0, path)
        path = os.path.dirname(path)
    return missing


def _descriptors(container: StateDirectory, config: Config, plan: Plan, request: Request) -> dict[str, int]:
    fds: dict[str, int] = {}
    try:
        for name in plan.slots:
            if name == "start":
                sock = sockets.listen(os.path.join(container.directory, "start.sock"))
            elif name in request.namespaces:
                fds[name] = os.dup(request.namespaces[name])
                continue
            elif name == "console":
                sock = request.console or sockets.connect(request.console_socket, "--console-socket")
            else:
                sock = sockets.connect(config.get("linux.seccomp.listenerPath"),
                                       "config.json: linux.seccomp.listenerPath")
            fds[name] = sock.detach()
    except BaseException:
        for fd in fds.values():
            os.close(fd)
        raise
    return fds


def _poststop(record: StateRecord, error: BaseException) -> None:
    """Destroy a container that failed after its hooks ran, and run its poststop hooks (runtime.md#lifecycle, steps 4,
    5, 6 and 13)."""
    if record.hooks.get("poststop") and isinstance(error, (HookError, StepError)):
        from pyruntime.runtime.lifecycle.delete import poststop  # lazy: only for a create that fails
        error.notes += [str(failure) for failure in poststop(record)]
