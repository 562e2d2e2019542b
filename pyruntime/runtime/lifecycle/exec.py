"""`exec`: another process in an existing container.

The instruction set and the stub are those of `create`, but the plan is another:
pyruntime/runtime/compiler/sections/exec.py describes how the stub enters the container, and the other steps are those
of every process of the container. The process is a child of the runtime and is reparented when the runtime exits, as
containerd's shim and conmon expect.
"""

from __future__ import annotations

import _socket
import os
from _thread import get_native_id

from pyruntime.errors import PyruntimeError, StateError, UsageError
from pyruntime.runtime.compiler.compile import Plan, compile_exec
from pyruntime.runtime.compiler.setup import NAMESPACES, PROC_NAMES, Joined, PlanOptions
from pyruntime.runtime.config.joining import asked_process, given_process
from pyruntime.runtime.config.load import SIZE, Config
from pyruntime.runtime.lifecycle import channel
from pyruntime.runtime.lifecycle.descriptors import check_descriptors
from pyruntime.runtime.lifecycle.facts import read_host
from pyruntime.runtime.lifecycle.launch import Launch
from pyruntime.runtime.lifecycle.parent import THIS_PROCESS, Parent
from pyruntime.runtime.lifecycle.replay import keep
from pyruntime.runtime.lifecycle.report import report_pid
from pyruntime.runtime.lifecycle.status import CREATED, CREATING, PAUSED, RUNNING, status_of
from pyruntime.runtime.lifecycle.store import StateDirectory, StateRecord, refuse
from pyruntime.runtime.lifecycle.subgroups import chosen_cgroup
from pyruntime.system import sockets
from pyruntime.system.json import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from pyruntime.runtime.compiler.setup import Host
    from pyruntime.runtime.lifecycle.foreground import Foreground


class ExecPlans:
    """The last plans of a process that lives long: a program that is executed again and again in a container, such as a
    probe, is compiled once. What exec has to know of the host is what this process may do, and that is read once.
    Safe for several threads."""

    SIZE = 64

    def __init__(self) -> None:
        self._configs: dict[tuple[Any, ...], Config] = {}
        self._plans: dict[tuple[Any, ...], Plan] = {}
        self._hosts: dict[bool | None, Host] = {}

    def config(self, container: StateDirectory, record: StateRecord, request: ExecRequest) -> Config:
        """The configuration of a request whose process is given as text."""
        key = container.directory, record.pid, record.started, request.process
        found = self._configs.get(key)
        if found is None:
            found = _config(container, record, request)
            if len(self._configs) >= self.SIZE:
                self._configs.clear()
                self._plans.clear()
            self._configs[key] = found
        return found

    def plan(self, container: StateDirectory, record: StateRecord, config: Config, request: ExecRequest) -> Plan:
        """Its plan."""
        host = self._hosts.get(request.rootless)
        if host is None:
            host = self._hosts[request.rootless] = _host(request)
        foreign = foreign_namespaces(record.pid)   # init may have changed them
        key = container.directory, record.pid, record.started, request.process, foreign, request.rootless
        found = self._plans.get(key)
        if found is None:
            found = self._plans[key] = exec_plan(container, record, config, request, host, foreign)
        return found


class ExecRequest:
    """The options of `exec`, besides the ID.

    ``args``           the command and its arguments; empty if a process object is given
    ``process``        the process object (config.md#process), its JSON text (bytes), or the name of its file
    ``options``        keyword arguments of config.joining.asked_process
    ``cgroup``         ``[CONTROLLER,...:]PATH``: sub-cgroups to enter instead of the container's cgroup
    ``remember``       whether to keep the plan for later requests with the same process file (replay.py)
    ``console``        a connected socket that receives the master end of the pseudoterminal, instead of console_socket
    ``streams``        the process's descriptors 0, 1 and 2, instead of those of its parent
    ``parent``         the process that starts it and waits for it
    ``on_pid``         called with the process's pid, before the command is executed
    ``plans``          where plans are kept and looked for; only with a process object as text, and no other option
    ``keep``           called after that with the descriptor of the connection to the process: while another process has
                       it open, the process is not disturbed by the end of this one
    ``stdin``          whether to forward standard input to the terminal; if not, the third SIGINT or SIGTERM ends exec
    ``adopted``        let init become the process's parent; ``on_pid`` gets the pid of the child of ``parent`` that has
                       started it, and exits
    """

    def __init__(self, args: Sequence[str] = (), *, process: str | bytes | Mapping[str, Any] = "",
                 console_socket: str = "", pid_file: str = "", pidfd_socket: str = "", preserve_fds: int = 0,
                 cgroup: Sequence[str] = (),
                 ignore_paused: bool = False, detached: bool = False, rootless: bool | None = None,
                 stdin: bool = True, remember: bool = False, adopted: bool = False,
                 console: _socket.socket | None = None, streams: Sequence[int] = (),
                 parent: Parent = THIS_PROCESS, on_pid: Callable[[int], None] = lambda pid: None,
                 keep: Callable[[int], None] = lambda fd: None, plans: ExecPlans | None = None,
                 warn: Callable[[str], None] = lambda text: None, debug: Callable[[str], None] = lambda text: None,
                 **options: Any) -> None:
        self.args = args
        self.plans = plans
        self.process = process
        self.console_socket = os.path.abspath(console_socket) if console_socket else ""
        self.pid_file = os.path.abspath(pid_file) if pid_file else ""
        self.pidfd_socket = os.path.abspath(pidfd_socket) if pidfd_socket else ""
        self.preserve_fds = preserve_fds
        self.cgroup = cgroup
        self.ignore_paused = ignore_paused
        self.detached = detached
        self.rootless = rootless
        self.stdin = stdin
        self.remember = remember
        self.adopted = adopted
        self.content = b""   # of the process file
        self.console = console
        self.streams = streams
        self.parent = parent
        self.on_pid = on_pid
        self.keep = keep
        self._warn = warn
        self.debug = debug
        self.options = options

    def warn(self, message: str) -> None:
        """Warn the caller; the plan of a request with a warning is not kept: each `exec` repeats the warning."""
        self.remember = False
        self._warn(message)


def execute(root: str, container_id: str, request: ExecRequest) -> int:
    """Run a process in a created or running container. Returns its exit status (128 + N when signal N killed it), or if
    detached its pid once the command has been executed. After an error nothing of the process is left.

    Raises StateError, UsageError, ConfigError, HostError, StepError.
    """
    container = StateDirectory(root, container_id)
    record = container.read()
    _check_status(container, record, request)
    config = (request.plans.config if request.plans else _config)(container, record, request)
    terminal = bool(config.get("process.terminal", False))
    _check_terminal(terminal, request)
    check_descriptors(request.preserve_fds)
    if request.detached:
        return _launch(container, record, config, request, request.console).run()
    return _in_foreground(container, record, config, request, terminal)


def _check_status(container: StateDirectory, record: StateRecord, request: ExecRequest) -> None:
    status = status_of(container, record)
    if status == PAUSED and not request.ignore_paused:
        refuse("cannot exec in a paused container (use --ignore-paused to override)", record.id, status)
    if status not in (CREATED, RUNNING, PAUSED):
        what = "a container that is being created" if status == CREATING else "a stopped container"
        refuse(f"cannot exec in {what}", record.id, status)


def _check_terminal(terminal: bool, request: ExecRequest) -> None:
    if request.detached and terminal and not (request.console_socket or request.console):
        raise UsageError("cannot allocate tty if pyruntime will detach without setting console socket: give"
                         " --console-socket, or leave out --tty")
    if request.console_socket and not (terminal and request.detached):
        raise UsageError("cannot use console socket if pyruntime will not detach or allocate tty")


def _config(container: StateDirectory, record: StateRecord, request: ExecRequest) -> Config:
    kept = container.kept()
    if request.process:
        if request.args:
            raise UsageError(f'the program is given twice: "{request.args[0]}", and by --process')
        if isinstance(request.process, str):
            document, data = os.path.basename(request.process), _read(request.process)
            request.content = data
        elif isinstance(request.process, bytes):
            document, data = "exec", request.process
        else:
            document, data = "exec", encode(dict(request.process)).encode()
        process = given_process(kept, data, document, request.warn)
    else:
        document = "exec"
        process = asked_process(kept, request.args, **request.options)
    return Config({**kept, "process": process}, document, record.bundle)


def _read(path: str) -> bytes:
    # Not load.read_file: callers pass pipes, too (--process /dev/fd/63).
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            parts, size = [], 0
            while size <= SIZE and (part := os.read(fd, 1 << 16)):
                parts.append(part)
                size += len(part)
        finally:
            os.close(fd)
    except OSError as error:
        raise UsageError(f'--process: open {path}: {(error.strerror or "").lower()}') from None
    if size > SIZE:
        raise UsageError(f'--process "{path}": more than {SIZE} bytes')
    return b"".join(parts)


def _in_foreground(container: StateDirectory, record: StateRecord, config: Config, request: ExecRequest,
                   terminal: bool) -> int:
    foreground = None
    if os.getpid() == get_native_id():   # Python handles signals in the main thread only
        from pyruntime.runtime.lifecycle.foreground import Foreground  # lazy: only without --detach

        insistence = None
        if not request.stdin:
            from pyruntime.system.signals import Insistence  # lazy: only without --detach

            insistence = Insistence("the program")
        foreground = Foreground(insistence)
        foreground.begin()
    elif terminal:
        raise UsageError("only the main thread can forward a terminal: give a console socket")
    ends: tuple[_socket.socket, ...] = ()
    try:
        if terminal:
            ends = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM, 0)
            sockets.blocking(*ends)
        entry = _launch(container, record, config, request, ends[1] if ends else None)
        if foreground is not None and ends:
            entry.on_pid = lambda pid: foreground.terminal(sockets.receive_fd(ends[0]), stdin=request.stdin)
        return _wait(entry.run(), foreground)
    finally:
        for end in ends:
            end.close()
        if foreground is not None:
            foreground.end()


def _wait(pid: int, foreground: Foreground | None) -> int:
    if foreground is None:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return 128 - code if code < 0 else code
    pidfd = os.pidfd_open(pid)
    try:
        return foreground.wait(pid, pidfd)
    finally:
        os.close(pidfd)


def _launch(container: StateDirectory, record: StateRecord, config: Config, request: ExecRequest,
            console: _socket.socket | None) -> ExecLaunch:
    window = None if os.access(f"/proc/{record.pid}/root", os.X_OK) else _window(container)
    fds = {}
    try:
        fds = open_init(record)
        plan = request.plans.plan(container, record, config, request) if request.plans else exec_plan(
            container, record, config, request, _host(request), foreign_namespaces(record.pid))
        if "root" not in plan.slots:
            os.close(fds.pop("root"))
        for warning in plan.warnings:
            request.warn(warning)
        for name in plan.slots:
            if name == "console":
                sock = console or sockets.connect(request.console_socket, "--console-socket")
                fds[name] = sock.detach()
            elif name == "seccomp":
                fds[name] = sockets.connect(config.get("linux.seccomp.listenerPath"),
                                            "config.json: linux.seccomp.listenerPath").detach()
    except BaseException:
        for fd in fds.values():
            os.close(fd)
        if window is not None:
            window.close()
        raise

    def remember(encoded: bytes) -> None:
        if request.remember:
            keep(container, record, plan, encoded, request.content)
    return ExecLaunch(plan, fds, request, window, remember)


class ExecLaunch(Launch):
    """The launch of `exec`; it is over when the command has been executed."""

    def __init__(self, plan: Plan, fds: dict[str, int], request: ExecRequest, window: _socket.socket | None = None,
                 remember: Callable[[bytes], None] = lambda encoded: None) -> None:
        """``window``: what `_window` returned. ``remember`` is called with the encoded plan after its success."""
        super().__init__(plan, fds, request.preserve_fds, request.debug, request.streams, request.parent)
        self._window = window
        self._remember = remember
        self.on_pid = request.on_pid
        self._keep_connection = request.keep
        # Without this step the process is not stopped to be reported: the caller gets its pid when it exists.
        self._reported = any(step.op.name == "report_process" for step in plan.steps)

    def run(self) -> int:
        """Carry out the launch, and keep its plan if requested."""
        pid = super().run()
        self._remember(self.encoded)
        return pid

    def started(self) -> None:
        self._close_window()   # the namespaces are joined
        if not self._reported:
            self.on_pid(self.init)

    def left_behind(self) -> list[str]:
        self._close_window()
        return []

    def _close_window(self) -> None:
        if self._window is not None:
            self._window.close()
            self._window = None

    def over(self, report: channel.Report | None) -> bool:
        if report is not None and report.kind == channel.EXEC:
            self.debug("setns_init: about to exec")
        return self.taken_over(report)

    def report(self, pid_file: str, pidfd_socket: str) -> None:
        """Report the process to the caller."""
        self.on_pid(self.init)
        self._keep_connection(self._control.fileno())
        report_pid(self.init, pid_file, pidfd_socket, b"setns")


def plan_of(root: str, container_id: str, request: ExecRequest) -> Plan:
    """The plan that `execute` would carry out. Raises like `execute`."""
    container = StateDirectory(root, container_id)
    record = container.read()
    _check_status(container, record, request)
    config = _config(container, record, request)
    return exec_plan(container, record, config, request, _host(request), foreign_namespaces(record.pid))


def _window(container: StateDirectory) -> _socket.socket | None:
    """Make an init that waits for `start` dumpable until the connection is closed: without root, other processes cannot
    inspect a process that is not dumpable. None if init does not wait."""
    try:
        sock = sockets.connect(os.path.join(container.directory, "start.sock"), "exec", _socket.SOCK_SEQPACKET)
    except PyruntimeError:
        return None   # started or exited: the next call reports that
    try:
        sock.send(b"d")
        if sock.recv(1) == b"d":
            return sock
    except OSError:
        pass   # `start` came first: init has closed the socket, and can be inspected now
    sock.close()
    return None


def open_init(record: StateRecord) -> dict[str, int]:
    """Descriptors of init ("init") and of its root directory ("root"); unlike a pid, they cannot come to name another
    process. Raises StateError."""
    try:
        pidfd = os.pidfd_open(record.pid)
    except ProcessLookupError:
        refuse("cannot exec in a stopped container", record.id, "stopped")
    try:
        root = os.open(f"/proc/{record.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if not record.alive():
            os.close(root)
            refuse("cannot exec in a stopped container", record.id, "stopped")
    except OSError as error:
        os.close(pidfd)
        raise StateError(f'cannot inspect process {record.pid}, the init process of "{record.id}": {error.strerror}'
                         ) from None
    except StateError:
        os.close(pidfd)
        raise
    return {"init": pidfd, "root": root}


def _host(request: ExecRequest) -> Host:
    return read_host(request.rootless, cgroups=False)


def exec_plan(container: StateDirectory, record: StateRecord, config: Config, request: ExecRequest, host: Host,
              foreign: int) -> Plan:
    """Compile the plan for a host. ``foreign``: the namespaces (CLONE_NEW*) of init that the runtime does not have.
    Raises ConfigError, HostError, UsageError."""
    namespaces = {node.get("type"): node.get("path", "") for node in config["linux.namespaces"].each()}
    joined = Joined(
        pid=record.pid, flags=foreign,
        own_root=namespaces.get("mount") == "", cgroup=chosen_cgroup(record.cgroup, request.cgroup),
        cgroup_where="--cgroup" if request.cgroup else "", unit=record.unit, user=record.user_unit,
        pid_file=request.pid_file, pidfd_socket=request.pidfd_socket, adopted=request.adopted)
    options = PlanOptions(new_keyring=config.get("newKeyring", True), preserve_fds=request.preserve_fds,
                      console=bool(config.get("process.terminal", False)),
                      filter_cache=os.path.join(container.root, ".seccomp"))
    return compile_exec(config, host, options, record.id, joined)


def foreign_namespaces(pid: int) -> int:
    """The namespaces (CLONE_NEW*) that the process has and the runtime does not: joining one's own namespace would
    require needless privileges."""
    flags = 0
    for kind, flag in NAMESPACES.items():
        name = PROC_NAMES.get(kind, kind)
        try:
            theirs, ours = os.stat(f"/proc/{pid}/ns/{name}"), os.stat(f"/proc/self/ns/{name}")
        except FileNotFoundError:
            continue   # the kernel lacks this kind
        except OSError as error:
            raise PyruntimeError(f"cannot see the namespaces of process {pid}: {error.strerror}") from None
        if (theirs.st_dev, theirs.st_ino) != (ours.st_dev, ours.st_ino):
            flags |= flag
    return flags
