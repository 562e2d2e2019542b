"""A container's start, and the process that stands over it.

    pocker run                      fork                                    container
    record, lock ─────────────────▶ new session and mount namespace
                                    mount the root filesystem, config.json
                                    create ───────────────────────────────▶ init waits
                                    network
                                    start ────────────────────────────────▶ the program
    "started", or what went wrong ◀ become the monitor (execve)
    attach, or end                  (pyruntime/native/monitor/monitor.c)

The monitor is the process that made the container, so init is its child and its status is the kernel's word. What is
mounted for the container is mounted in the monitor's mount namespace alone: when both are gone, however they went,
nothing is mounted any more.
"""

from __future__ import annotations

import os
import sys

from pyruntime.errors import HostError, PyruntimeError, StateError, words
from pyruntime.images.bundle import Bundle
from pyruntime.images.snapshots.choose import named
from pyruntime.networks.present import NONE
from pyruntime.pocker import events as history
from pyruntime.pocker.containers import etc_files, rootless
from pyruntime.pocker.containers import runtime_config as spec
from pyruntime.pocker.containers.container import Exit, Run
from pyruntime.pocker.containers.status import start_status
from pyruntime.system import kernel, sockets
from pyruntime.system.files import forget
from pyruntime.system.installed import native
from pyruntime.system.json import decode, encode
from pyruntime.system.processes import interpreter, start_time
from pyruntime.system.times import timestamp
from pyruntime.system.user_namespace import privileged

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import NoReturn, Protocol

    from pyruntime.networks.attach import Reservation
    from pyruntime.pocker.containers.container import Container, Record
    from pyruntime.pocker.directories import Places
    from pyruntime.pocker.options.settings import Settings
    from pyruntime.system.locks import Lock

    class Trace(Protocol):
        """Who tells a person what is done."""

        fd: int

        def __call__(self, container: Container, record: Record, root: int, network: Reservation | None) -> None: ...

MONITOR = native("monitor")
_LONGEST = (1 << 31) - 1   # milliseconds, 24 days: what poll(2) can wait
_EXIT_SIZE = 192           # bytes: EXIT_SIZE of monitor.h
_CLONE_NEWNS, _MS_REC, _MS_SLAVE = 0x00020000, 16384, 1 << 19   # linux/sched.h, linux/mount.h


class Options:
    """How a container is started.

    ``client``   our end of a connection to the monitor, for who wants to be attached from the first byte
    ``owner``    the client sees to the end of the container, if it is still there then
    ``once``     the input ends with the client's
    ``trace``    is told of the container when it is about to be created, and keeps its descriptor ``fd`` until then
    """

    __slots__ = ("client", "once", "owner", "trace")

    def __init__(self, *, client: _socket.socket | None = None, owner: bool = False, once: bool = False,
                 trace: Trace | None = None) -> None:
        self.client = client
        self.owner = owner
        self.once = once
        self.trace = trace


def launch(container: Container, record: Record, lock: Lock, options: Options) -> int:
    """Start a container; returns the monitor's pid, a child of ours. Its program has taken over then.

    ``lock`` is the container's. Raises what went wrong; nothing of the run is left then.
    """
    before = container.run()
    if not before.over and before.watched():   # somebody has started it since it was made or looked at
        raise StateError(f'container "{record.name}" runs already')
    # The child needs these at once and we need them in the end: what is loaded before the fork is loaded once.
    kernel.load()
    named(record.driver, container.places.store)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        os.close(reader)
        _in_child(container, record, lock, options, writer)
    os.close(writer)
    try:
        told = b"".join(iter(lambda: os.read(reader, 65536), b""))
    finally:
        os.close(reader)
    if told:
        os.waitpid(child, 0)
        report = decode(told, "report")
        assert isinstance(report, dict)
        raise StartError(report["text"], report["kind"])
    # A program that has ended already is no failure; a child that was killed before it could say anything is.
    if not start_time(child) and container.exit() is None and not container.run().over:
        from pyruntime.pocker.containers.stop import clear_run

        clear_run(container, record)
        raise StateError(f'the process that was to start container "{container.id[:12]}" was killed')
    return child


class StartError(PyruntimeError):
    """A container could not be started; ``kind`` is the class of the error that the child met."""

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


def _in_child(container: Container, record: Record, lock: Lock, options: Options, writer: int) -> NoReturn:
    """The forked process: never returns."""
    text, kind = "", ""
    try:
        become_monitor(container, record, lock, options, {writer})
    except (PyruntimeError, OSError) as error:
        text, kind = words(error), type(error).__name__
    except BaseException as error:
        text, kind = f"{type(error).__name__}: {words(error)}", "defect"
    try:
        os.write(writer, encode({"text": text, "kind": kind}).encode())
    finally:
        os._exit(1)


def _not_started(error: BaseException, before: Run) -> Exit:
    said = error.sentence if isinstance(error, PyruntimeError) else words(error)
    return Exit(status=start_status(said), error=said, finished=timestamp() if before.started else "")


def _also(error: BaseException, step: Callable[[], None]) -> None:
    """Do what is due after an error; a failure of that is a note to it."""
    try:
        step()
    except PyruntimeError as second:
        if isinstance(error, PyruntimeError):
            error.notes.append(str(second))


def _reserve_exit(container: Container) -> None:
    """Take the place for the exit status, which the monitor writes: its program may fill the disk at once."""
    fd = os.open(f"{container.directory}/exit.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, _EXIT_SIZE)
    finally:
        os.close(fd)


def become_monitor(container: Container, record: Record, lock: Lock, options: Options, keep: set[int]) -> NoReturn:
    """Start the container and stand over it. Returns only by an error, after which nothing of the run is left."""
    from pyruntime.pocker.containers.stop import clear_run

    client = options.client.fileno() if options.client else -1
    users = rootless.uses(container.places, handed_on=False)
    _leave_caller({lock.fd, client, *keep, *users, *([options.trace.fd] if options.trace else [])})
    before = container.run()
    run = Run(started=timestamp(), monitor=[os.getpid(), start_time(os.getpid())], over=False,
              prepared=before.prepared, restarts=before.restarts + 1 if before.waiting else 0,
              brief=before.brief + 1 if before.waiting else 0)
    container.write_run(run)
    forget(f"{container.directory}/exit")
    _reserve_exit(container)
    try:
        line = _start(container, record, run, options, client)
        for fd in users:
            os.set_inheritable(fd, True)
        os.execv(MONITOR, line)   # the lock goes with it: it is closed
    except BaseException as error:
        end = _not_started(error, before)
        _also(error, lambda: container.write_exit(end))   # which may fail on a full disk
        _also(error, lambda: clear_run(container, record))
        run = container.run()
        run.started = before.started   # it did not run: it is created, or has exited, as before
        container.write_run(run)
        raise


def _leave_caller(keep: set[int]) -> None:
    """Nothing of who called us may be held by the monitor: not the terminal, no pipe, no directory."""
    if os.getpid() != os.getsid(0):
        os.setsid()
    os.chdir("/")
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd > 2 and fd not in keep:
            try:
                os.close(fd)
            except OSError:
                continue   # the descriptor of the listing itself
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


def _start(container: Container, record: Record, run: Run, options: Options, client: int) -> list[str]:
    """Create and start the container; the monitor's command line."""
    from pyruntime.runtime.api import Runtime

    settings = record.settings
    kernel.become_subreaper()
    cgroup = ""
    if os.path.exists("/run/systemd/system"):
        from pyruntime.pocker.containers import scope

        cgroup = scope.enter(record)
    shared = own_mounts(settings)
    mount_rootfs(container, record, run)
    network = None
    if [entry["name"] for entry in settings.networks] == [NONE]:
        etc_files.write(container, record, None)   # without what networks need: 3 ms of imports
    else:
        from pyruntime.networks import attach
        from pyruntime.pocker.containers.network import reserve

        network = reserve(container, record)
    if settings.ids:
        from pyruntime.pocker.options import namespaces

        namespaces.own_files(container, settings)
    root = os.open(container.rootfs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if settings.mounts:
            from pyruntime.pocker.options import mounts

            mounts.provide(container, record, root, shared)
        if settings.ipc.startswith("container:"):
            from pyruntime.pocker.options import namespaces

            namespaces.provide(container, record)
        container.put("config.json", encode(spec.document(container, record, root, cgroup)))
        if options.trace:
            options.trace(container, record, root, network)
            os.close(options.trace.fd)
    finally:
        os.close(root)
    runtime = Runtime(container.places.runtime)
    streams = Streams(terminal=settings.terminal, stdin=settings.stdin)
    try:
        state = runtime.create(container.id, container.directory, console=streams.console)
    except PyruntimeError as error:
        if error.where.startswith("linux.resources.") and not privileged():
            raise HostError("limits without root need a cgroup that is delegated to you: log in by systemd (or"
                            f" `loginctl enable-linger`), or run pocker as root: {error}") from None
        raise
    streams.created()
    run.pid = state.pid
    container.write_run(run)
    if network is not None:
        attach.attach(network, state.pid)
    listening = _listen(container)
    runtime.start(container.id)
    history.of_container(container.places, record, "start")
    streams.started()
    words = {"dir": os.open(container.directory, os.O_RDONLY | os.O_DIRECTORY), "listen": listening, "init": state.pid,
             **streams.ends()}
    if client >= 0:
        words |= {"client": client, "owner": int(options.owner and settings.restart == "no"), "once": int(options.once)}
    if settings.health.get("test"):
        words |= {word: min(int(settings.health[name] * 1000), _LONGEST) for word, name in (
            ("health", "interval"), ("begin", "start_period"), ("soon", "start_interval"))}
    for name in ("dir", "listen", "client", *streams.ends()):
        if name in words:
            os.set_inheritable(words[name], True)
    log = ([f"log-limit={settings.log_size}", f"log-files={settings.log_files}"] if settings.log_driver != "none"
           else [])
    return ["pocker-monitor", *(f"{name}={value}" for name, value in words.items()), *log, "--",
            *monitor_command(container.places, container.id)]


def monitor_command(places: Places, container_id: str) -> list[str]:
    """What the monitor calls when there is something to decide; % is what."""
    return [interpreter(), "-IS", "-c", f"import sys; sys.path[:0] = {sys.path!r}; from pyruntime.commandline.bytecode "
            "import run; run('pyruntime.pocker.cli.main')", "--root", places.root, "--run-root", places.run, "monitor",
            "%", container_id]


def own_mounts(settings: Settings) -> dict[int, int]:
    """Move this process into a mount namespace of its own, which sees what is mounted outside and is not seen there;
    what the container is to share with the outside (pyruntime.pocker.options.mounts.shared_trees)."""
    kernel.unshare(_CLONE_NEWNS)
    shared: dict[int, int] = {}
    if settings.mounts:
        from pyruntime.pocker.options import mounts

        shared = mounts.shared_trees(settings)
    kernel.mount("", "/", "", _MS_REC | _MS_SLAVE, "")
    return shared


def mount_rootfs(container: Container, record: Record, run: Run) -> None:
    """Mount the root filesystem, which is made at the first time, in our mount namespace; the container is locked."""
    layers = Bundle(container.places.store, container.directory).layers
    driver = named(record.driver, container.places.store)
    if record.settings.ids:
        from pyruntime.images.snapshots.idmapped import Mapping

        driver.mapping = Mapping(**record.settings.ids)
        # Its root is nobody to these directories, and has to pass through them to its root filesystem. Their names and
        # what is in them stay hidden: that needs more than to pass.
        for directory in (container.places.root, f"{container.places.root}/containers", container.directory):
            os.chmod(directory, 0o711)
    if run.prepared:
        driver.mount(layers, container.rootfs, container.private)
        return
    driver.remove(container.rootfs, container.private)   # what a start that was killed had made of it
    os.mkdir(container.rootfs, 0o755)
    driver.prepare(layers, container.rootfs, container.private)
    run.prepared = True
    container.write_run(run)


def _listen(container: Container) -> int:

    container.places.below_run("attach")
    forget(container.socket)
    return sockets.listen(container.socket).detach()


class Streams:
    """The program's standard streams: our descriptors 0, 1 and 2 while it is made; and our ends of them."""

    def __init__(self, *, terminal: bool, stdin: bool) -> None:
        self._theirs: list[int] = []
        self._ends: dict[str, int] = {}
        self._ours: _socket.socket | None = None
        self.console: _socket.socket | None = None
        if terminal:
            import _socket

            self._ours, self.console = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM, 0)
            return
        for name, fd in (("in", 0), ("out", 1), ("err", 2)):
            if name == "in" and not stdin:
                continue
            reader, writer = os.pipe2(os.O_CLOEXEC)
            theirs, ours = (reader, writer) if name == "in" else (writer, reader)
            os.dup2(theirs, fd)
            os.close(theirs)
            self._ends[name] = ours

    def created(self) -> None:
        """The container is there, and with it its terminal."""
        if self._ours is not None:

            self._ends["tty"] = sockets.receive_fd(self._ours)
            self._ours.close()

    def started(self) -> None:
        """The program has its streams: ours are of no use any more, and would keep pipes open."""
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.close(null)

    def ends(self) -> dict[str, int]:
        """Our ends: in, out, err, or tty."""
        return self._ends
