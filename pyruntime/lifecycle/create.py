"""`create`: from a bundle to a container that waits for `start` (runtime.md#create)."""

from __future__ import annotations

import os

from pyruntime.config.joining import kept_of
from pyruntime.config.load import Config, load_bundle
from pyruntime.config.rules import warnings
from pyruntime.errors import ConfigError, HookError, Problem, PyruntimeError, StepError, UsageError
from pyruntime.lifecycle import channel
from pyruntime.lifecycle.facts import read_host
from pyruntime.lifecycle.launch import Launch
from pyruntime.lifecycle.report import report_pid
from pyruntime.lifecycle.store import Container, Record, start_time, timestamp
from pyruntime.plan.compile import Plan, compile_plan
from pyruntime.plan.setup import Options, Setup

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import Any


class Request:
    """What `create` and `run` are asked for, besides the ID and the bundle.

    ``console_socket``  path of a listening AF_UNIX socket that gets the terminal's master side; "" for none
    ``console``         the connected socket itself (a foreground `run` keeps the other end)
    ``rootless``        None: as euid and user namespace say
    """

    def __init__(self, *, console_socket: str = "", console: _socket.socket | None = None, pid_file: str = "",
                 pidfd_socket: str = "", pivot: bool = True, new_keyring: bool = True, preserve_fds: int = 0,
                 rootless: bool | None = None, detached: bool = True,
                 warn: Callable[[str], None] = lambda text: None) -> None:
        self.console_socket = os.path.abspath(console_socket) if console_socket else ""
        self.console = console
        self.pid_file = os.path.abspath(pid_file) if pid_file else ""
        self.pidfd_socket = os.path.abspath(pidfd_socket) if pidfd_socket else ""
        self.pivot = pivot
        self.new_keyring = new_keyring
        self.preserve_fds = preserve_fds
        self.rootless = rootless
        self.detached = detached
        self.warn = warn


class Creation(Launch):
    """The plan of `create`: followed until init waits for `start`."""

    def __init__(self, plan: Plan, config: Config, container: Container, record: Record, request: Request) -> None:
        super().__init__(plan, _descriptors(container, config, plan, request), request.preserve_fds)
        self.config = config
        self.container = container
        self.record = record

    def state(self, status: str) -> dict[str, Any]:
        """The state document for a hook, as it is now."""
        return Setup.state_of(self.config, self.record.id, status, self.init)

    def commit(self) -> None:
        """Write down what is known, for `state` and `delete` of others."""
        self.container.write(self.record)

    ready = commit

    def started(self) -> None:
        self.record.pid, self.record.started = self.init, start_time(self.init)

    def over(self, report: channel.Report | None) -> bool:
        if report is None or report.kind != channel.CREATED:
            return False
        for step in self.plan.steps:
            if step.op.name == "device_source":
                os.unlink(step.args["path"])   # it is mounted by now
        return True

    def left_behind(self) -> list[str]:
        from pyruntime.cgroups.group import Group

        made = {key: path for key, path in self.record.cgroup.items() if path in self.record.cgroup_made}
        if not made:
            return []
        # Without a pid namespace of its own, what a hook or init left behind lives on in the cgroup.
        try:
            Group(made).kill()
        except (OSError, PyruntimeError) as error:
            return [str(error)]
        return []

    def let_go(self) -> None:
        """The record is on disk: init may wait without us."""
        channel.go(self._control, {})
        self._control.close()

    def abandon(self, error: BaseException) -> None:
        """Undo a container that was created but could not be handed over (for example: its pid file was refused)."""
        self._fail(error)


def make_plan(config: Config, container_id: str, request: Request, cache: str = "", scratch: str = "") -> Plan:
    """Compile the plan for this host. ``cache`` keeps compiled filters, ``scratch`` is the container's directory."""
    options = Options(pivot=request.pivot, new_keyring=request.new_keyring, preserve_fds=request.preserve_fds,
                      console=bool(config.get("process.terminal", False)), filter_cache=cache, scratch=scratch)
    return compile_plan(config, read_host(request.rootless), options, container_id)


def create(root: str, container_id: str, bundle: str, request: Request) -> Record:
    """Create a container; on any failure nothing of it is left. Raises the tree of pyruntime.errors."""
    container = Container(root, container_id)
    config = load_bundle(bundle, process_needed=False)
    check_bundle(config)
    check_terminal(config, request)
    plan = make_plan(config, container_id, request, os.path.join(root, ".seccomp"), container.directory)
    for problem in warnings(config):
        request.warn(f"{config.document}: {problem}")
    for warning in plan.warnings:
        request.warn(warning)
    record = record_of(config, container_id, plan)
    container.claim(record)
    launch = None
    try:
        container.keep(kept_of(config, request.new_keyring))
        launch = Creation(plan, config, container, record, request)
        launch.run()
        report_pid(record.pid, request.pid_file, request.pidfd_socket)
        record.creator = [0, 0]
        container.write(record)
    except BaseException as error:
        if launch is not None and record.pid:
            launch.abandon(error)
            _poststop(record, error)
        container.remove()
        raise
    launch.let_go()
    return record


def check_bundle(config: Config) -> None:
    """Raise ConfigError where the root filesystem is not there."""
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
    """Raise UsageError for a terminal that would end nowhere."""
    terminal = config.get("process.terminal", False)
    if request.detached and terminal and not request.console_socket:
        raise UsageError("cannot allocate tty if runc will detach without setting console socket: give"
                         " --console-socket, or set process.terminal to false")
    if request.console_socket and not (terminal and request.detached):
        raise UsageError("cannot use console socket if runc will not detach or allocate tty")


def record_of(config: Config, container_id: str, plan: Plan) -> Record:
    """What is written down about a container that is about to be made by ``plan``."""
    # Past the end for a plan of `restore`: nothing is left for `start`.
    waiting = next((number for number, step in enumerate(plan.steps) if step.op.name == "await_start"),
                   len(plan.steps))
    return Record(
        id=container_id, ociVersion=config.get("ociVersion"), bundle=config.bundle,
        rootfs=os.path.normpath(os.path.join(config.bundle, config.get("root.path"))), created=timestamp(),
        annotations=config.get("annotations", {}), creator=[os.getpid(), start_time(os.getpid())],
        cgroup=plan.cgroup_paths,
        # Before they are made: a runtime that is killed half-way must not leave one that nobody knows of.
        cgroup_made=[path for group in plan.cgroup_paths.values() for path in _missing(group)],
        has_process=bool(config["process"]), total=len(plan.steps),
        own_pids=any(node.get("type") == "pid" and not node.get("path", "")
                     for node in config["linux.namespaces"].each()),
        hooks={kind: config.get(f"hooks.{kind}") for kind in ("poststart", "poststop") if config[f"hooks.{kind}"]},
        tail=[[number, step.phase, step.op.name, step.where, step.label]
              for number, step in enumerate(plan.steps) if number > waiting and step.op.actor == "stub"])


def _missing(path: str) -> list[str]:
    """The directories, outermost first, that have to be made for ``path``."""
    missing: list[str] = []
    while not os.path.isdir(path):
        missing.insert(0, path)
        path = os.path.dirname(path)
    return missing


def _descriptors(container: Container, config: Config, plan: Plan, request: Request) -> dict[str, int]:
    fds: dict[str, int] = {}
    try:
        for name in plan.slots:
            if name == "start":
                sock = channel.listen(os.path.join(container.directory, "start.sock"))
            elif name == "console":
                sock = request.console or channel.connect(request.console_socket, "--console-socket")
            else:
                sock = channel.connect(config.get("linux.seccomp.listenerPath"),
                                       "config.json: linux.seccomp.listenerPath")
            fds[name] = sock.detach()
    except BaseException:
        for fd in fds.values():
            os.close(fd)
        raise
    return fds


def _poststop(record: Record, error: BaseException) -> None:
    """A container whose hooks ran and that failed then is destroyed, and poststop hooks follow (runtime.md#lifecycle,
    steps 4, 5, 6 and 13)."""
    if record.hooks.get("poststop") and isinstance(error, (HookError, StepError)):
        from pyruntime.lifecycle.delete import poststop
        error.notes += [str(failure) for failure in poststop(record)]
