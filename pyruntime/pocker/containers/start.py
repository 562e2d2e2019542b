"""The start of a container, and its monitor.

    pocker run                      fork                                    container
    record, lock ─────────────────▶ new session and mount namespace
                                    mount the root filesystem, config.json
                                    create ───────────────────────────────▶ init waits
                                    network
                                    start ────────────────────────────────▶ the program
    "started", or the error ◀────── become the monitor (execve)
    attach, or exit                 (pyruntime/native/monitor/monitor.c)

The monitor is the process that created the container, so that init is its child, whose exit status the kernel reports.
Mounts for the container are made in the monitor's mount namespace only: when both have ended, for whatever reason, no
mount is left.
"""

from __future__ import annotations

import os

from pyruntime.errors import HostError, PyruntimeError, StateError, words
from pyruntime.images.bundle import Bundle
from pyruntime.images.snapshots.choose import named
from pyruntime.networks.present import NONE
from pyruntime.pocker import events as history
from pyruntime.pocker.containers import etc_files, rootless
from pyruntime.pocker.containers import runtime_config as spec
from pyruntime.pocker.containers.container import ContainerRun, Exit
from pyruntime.pocker.containers.status import start_status
from pyruntime.system import kernel, sockets
from pyruntime.system.files import forget
from pyruntime.system.installed import native
from pyruntime.system.json import decode, encode
from pyruntime.system.processes import start_time
from pyruntime.system.times import timestamp
from pyruntime.system.uapi import CLONE_NEWNS, MS_SLAVE
from pyruntime.system.user_namespace import privileged

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import NoReturn, Protocol

    from pyruntime.networks.attach import Reservation
    from pyruntime.pocker.containers.container import Container, ContainerRecord
    from pyruntime.pocker.directories import Directories
    from pyruntime.pocker.settings import ContainerSettings
    from pyruntime.system.locks import Lock

    class Tracer(Protocol):
        """Called before the container is created."""

        fd: int

        def __call__(self, container: Container, record: ContainerRecord, root: int,
                     network: Reservation | None) -> None: ...

MONITOR = native("monitor")
_LONGEST = (1 << 31) - 1   # milliseconds, 24 days: what poll(2) can wait
_EXIT_SIZE = 192           # bytes: EXIT_SIZE of monitor.h


class StartOptions:
    """StartOptions of a start.

    ``client``   the monitor's end of a connection, for a client that is attached from the first byte
    ``owner``    the client cleans up when the container exits, if it is still connected then
    ``once``     the container's input ends with that of the client
    ``trace``    called before the container is created; its descriptor ``fd`` stays open until then
    """

    __slots__ = ("client", "once", "owner", "trace")

    def __init__(self, *, client: _socket.socket | None = None, owner: bool = False, once: bool = False,
                 trace: Tracer | None = None) -> None:
        self.client = client
        self.owner = owner
        self.once = once
        self.trace = trace


def launch(container: Container, record: ContainerRecord, lock: Lock, options: StartOptions) -> int:
    """Start a container; the process ID of its monitor, a child of this process. The program runs by then.

    ``lock`` is the container's. Raises StartError with the reason of a failure; nothing of the run is left then.
    """
    before = container.run()
    if not before.over and before.watched():   # another process has started it in the meantime
        raise StateError(f'container "{record.name}" is already running')
    # Loaded before the fork, so that they are loaded once: the child needs them at once, and this process later.
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
    # A program that has already exited is no failure; a child that was killed before it could report is one.
    if not start_time(child) and container.exit() is None and not container.run().over:
        from pyruntime.pocker.containers.stop import clear_run  # lazy: only after a failure

        clear_run(container, record)
        raise StateError(f'the process that was starting container "{container.id[:12]}" was killed')
    return child


class StartError(PyruntimeError):
    """A container could not be started; ``kind`` is the class of the error in the child."""

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


def _in_child(container: Container, record: ContainerRecord, lock: Lock, options: StartOptions,
              writer: int) -> NoReturn:
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


def _not_started(error: BaseException, before: ContainerRun) -> Exit:
    said = error.sentence if isinstance(error, PyruntimeError) else words(error)
    return Exit(status=start_status(said), error=said, finished=timestamp() if before.started else "")


def _also(error: BaseException, step: Callable[[], None]) -> None:
    """Clean up after an error; a failure of the clean-up becomes a note of the error."""
    try:
        step()
    except PyruntimeError as second:
        if isinstance(error, PyruntimeError):
            error.notes.append(str(second))


def _reserve_exit(container: Container) -> None:
    """Reserve space for the exit status, which the monitor writes: the program may fill the disk."""
    fd = os.open(f"{container.directory}/exit.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, _EXIT_SIZE)
    finally:
        os.close(fd)


def become_monitor(container: Container, record: ContainerRecord, lock: Lock, options: StartOptions,
                   keep: set[int]) -> NoReturn:
    """Start the container and become its monitor. Raises the error of a failure; nothing of the run is left then."""
    from pyruntime.pocker.containers.stop import clear_run  # lazy: only after a failure

    client = options.client.fileno() if options.client else -1
    users = rootless.uses(container.places, handed_on=False)
    _leave_caller({lock.fd, client, *keep, *users, *([options.trace.fd] if options.trace else [])})
    before = container.run()
    run = ContainerRun(started=timestamp(), monitor=[os.getpid(), start_time(os.getpid())], over=False,
              prepared=before.prepared, restarts=before.restarts + 1 if before.waiting else 0,
              brief=before.brief + 1 if before.waiting else 0)
    container.write_run(run)
    forget(f"{container.directory}/exit")
    _reserve_exit(container)
    try:
        line = _start(container, record, run, options, client)
        for fd in users:
            os.set_inheritable(fd, True)
        os.execv(MONITOR, line)   # the lock is released: its descriptor is closed on execve
    except BaseException as error:
        end = _not_started(error, before)
        _also(error, lambda: container.write_exit(end))   # which may fail on a full disk
        _also(error, lambda: clear_run(container, record))
        run = container.run()
        run.started = before.started   # it did not run: its status is created or exited, as before
        container.write_run(run)
        raise


def _leave_caller(keep: set[int]) -> None:
    """Detach from the caller: the monitor must not hold its terminal, pipes or working directory."""
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


def _start(container: Container, record: ContainerRecord, run: ContainerRun, options: StartOptions,
           client: int) -> list[str]:
    """Create and start the container; the monitor's command line."""
    from pyruntime.runtime.api import Runtime  # lazy: loaded by the child alone

    settings = record.settings
    kernel.become_subreaper()
    cgroup = ""
    if os.path.exists("/run/systemd/system"):
        from pyruntime.pocker.containers import scope  # lazy: only with systemd

        cgroup = scope.enter(record)
    shared = own_mounts(settings)
    mount_rootfs(container, record, run)
    network = None
    if [entry.name for entry in settings.networks] == [NONE]:
        etc_files.write(container, record, None)   # without the modules of networks: 3 ms of imports
    else:
        # lazy: only with networks
        from pyruntime.networks import attach
        from pyruntime.pocker.containers.network import reserve

        network = reserve(container, record)
    if settings.ids:
        from pyruntime.pocker.containers.user_namespaces import own_files  # lazy: only with a user namespace

        own_files(container, settings.ids)
    root = os.open(container.rootfs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if settings.mounts:
            from pyruntime.pocker.containers import mounts  # lazy: only with mounts

            mounts.provide(container, record, root, shared)
        if settings.ipc.startswith("container:"):
            from pyruntime.pocker.containers import namespaces  # lazy: only with shared namespaces

            namespaces.provide(container, record)
        container.put("config.json", encode(spec.document(container, record, root, cgroup)).encode())
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
            raise HostError("limits without root need a delegated cgroup: log in by systemd (or"
                            f" `loginctl enable-linger`), or run pocker as root: {error}") from None
        raise
    streams.created()
    run.pid = state.pid
    container.write_run(run)
    oom = runtime.oom_file(container.id)
    if network is not None:
        attach.attach(network, state.pid)
    listening = _listen(container)
    runtime.start(container.id)
    history.of_container(container.places, record, "start")
    streams.started()
    words = {"dir": os.open(container.directory, os.O_RDONLY | os.O_DIRECTORY), "listen": listening, "init": state.pid,
             "oom": oom, **streams.ends()}
    if client >= 0:
        owner = options.owner and settings.restart.name == "no"
        words |= {"client": client, "owner": int(owner), "once": int(options.once)}
    if settings.health.test:
        words |= {word: min(int(getattr(settings.health, name) * 1000), _LONGEST) for word, name in (
            ("health", "interval"), ("begin", "start_period"), ("soon", "start_interval"))}
    if oom < 0:
        del words["oom"]
    for name in ("dir", "listen", "oom", "client", *streams.ends()):
        if name in words:
            os.set_inheritable(words[name], True)
    log: list[str] = []
    if settings.logging.driver != "none":
        log = [f"log-limit={settings.logging.max_size}", f"log-files={settings.logging.max_files}"]
    return ["pocker-monitor", *(f"{name}={value}" for name, value in words.items()), *log, "--",
            *monitor_command(container.places, container.id)]


def monitor_command(places: Directories, container_id: str) -> list[str]:
    """The command line that the monitor executes when there is something to decide; it replaces % by the event."""
    return [*places.decide, "%", container_id]


def own_mounts(settings: ContainerSettings) -> dict[int, int]:
    """Move this process into a mount namespace of its own, which receives the host's mounts and shows it none; the
    mounts that are shared with the host (pyruntime.pocker.containers.mounts.shared_trees)."""
    kernel.unshare(CLONE_NEWNS)
    shared: dict[int, int] = {}
    if settings.mounts:
        from pyruntime.pocker.containers import mounts  # lazy: only with mounts

        shared = mounts.shared_trees(settings)
    kernel.set_propagation(MS_SLAVE)
    return shared


def mount_rootfs(container: Container, record: ContainerRecord, run: ContainerRun) -> None:
    """Mount the root filesystem in this mount namespace; the first start makes it. The container is locked."""
    layers = Bundle(container.places.store, container.directory).layers
    driver = named(record.driver, container.places.store)
    if record.settings.ids:
        from pyruntime.images.snapshots.idmapped import Mapping  # lazy: only with a user namespace

        driver.mapping = Mapping(record.settings.ids.uids, record.settings.ids.gids)
        # The container's root user has no rights in these directories, and has to pass them on the way to its root
        # filesystem. 0711 lets it pass; to list the directories needs more.
        for directory in (container.places.root, f"{container.places.root}/containers", container.directory):
            os.chmod(directory, 0o711)
    if run.prepared:
        driver.mount(layers, container.rootfs, container.private)
        return
    driver.remove(container.rootfs, container.private)   # the remains of a start that was killed
    os.mkdir(container.rootfs, 0o755)
    driver.prepare(layers, container.rootfs, container.private)
    run.prepared = True
    container.write_run(run)


def _listen(container: Container) -> int:

    container.places.below_run("attach")
    forget(container.socket)
    return sockets.listen(container.socket).detach()


class Streams:
    """The program's standard streams: descriptors 0, 1 and 2 while it is created; and the monitor's ends."""

    def __init__(self, *, terminal: bool, stdin: bool) -> None:
        self._theirs: list[int] = []
        self._ends: dict[str, int] = {}
        self._ours: _socket.socket | None = None
        self.console: _socket.socket | None = None
        if terminal:
            import _socket  # lazy: only with a terminal

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
        """The container is created: receive its terminal."""
        if self._ours is not None:

            self._ends["tty"] = sockets.receive_fd(self._ours)
            self._ours.close()

    def started(self) -> None:
        """The program has its streams: close them here, where they would keep the pipes open."""
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.close(null)

    def ends(self) -> dict[str, int]:
        """The monitor's ends: in, out, err, or tty."""
        return self._ends
