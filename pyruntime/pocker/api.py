"""The engine as a library: what `pocker` does, as typed calls.

    from pyruntime import Engine
    from pyruntime.pocker.settings import ContainerSettings, PublishedPort, Resources

    engine = Engine()
    web = engine.run("nginx", ContainerSettings(publish=[PublishedPort(container_port=80, host_port=8080)],
                                                resources=Resources(memory=64 << 20)), name="web")
    print(engine.exec(web, ["nginx", "-v"]).stderr.decode())
    for entry in engine.logs("web"):
        print(entry.when, entry.text)
    engine.stop("web")
    engine.remove("web")

A container is given by its name, its ID or the beginning of its ID. Nothing is printed; results are values, and every
error is one of pyruntime.errors: NoSuchContainer for a container that does not exist, UsageError for wrong arguments,
StateError for a state that does not allow the operation, HostError for a host that lacks something.

Calls are safe from several threads and processes. A container does not depend on the process that started it: a small
program, its monitor, keeps its output and its exit status. Needs root; without root the first call moves the process
into the user namespace of the caller's containers, which has to be done before the process has other threads.
"""

from __future__ import annotations

import os

from pyruntime.errors import NoSuchContainer, RecordError, StateError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any, TypeVar

    from pyruntime.networks.definitions import Network
    from pyruntime.pocker.containers.container import Container, ContainerRecord
    from pyruntime.pocker.containers.exec import ExecResult
    from pyruntime.pocker.containers.logs import LogEntry
    from pyruntime.pocker.containers.stats import ContainerUsage
    from pyruntime.pocker.containers.summary import ContainerSummary
    from pyruntime.pocker.directories import Directories
    from pyruntime.pocker.settings import ContainerSettings, NetworkAttachment, Resources, RestartPolicy
    from pyruntime.pocker.volumes import Volume

    Result = TypeVar("Result")

_KILL = ("KILL", "9")
_PATIENCE = 10.0   # seconds that a killed container may take to end


class Engine:
    """The containers, volumes and networks below one pair of directories.

    ``root``      the directory of data that survives a reboot; "": POCKER_ROOT, or the command's default
    ``run_root``  the directory of data that does not; "": POCKER_RUN, or the command's default
    ``store``     the local store of images, shared with `pyimage`; "": PYRUNTIME_STORE, or the command's default
    ``driver``    the storage driver of new containers: overlay, btrfs or copy; "" chooses the best usable driver
    ``decide``    the command line that a container's monitor executes when there is something to decide (whether to
                  restart the container, or a health check); by default `pocker` of this package, in this interpreter
    ``warn``      called with each warning
    """

    def __init__(self, root: str = "", run_root: str = "", store: str = "", *, driver: str = "",
                 decide: Sequence[str] = (), warn: Callable[[str], None] = lambda text: None) -> None:
        self._roots = root, run_root, os.path.abspath(store) if store else ""
        self._decide = decide
        self._places: Directories | None = None
        self._monitors: set[int] = set()   # children of ours
        self.driver = driver
        self.warn = warn

    @property
    def places(self) -> Directories:
        """The directories. Raises HostError for directories that cannot be used."""
        if self._places is None:
            # lazy: the face of the library loads each verb with its first call
            from pyruntime.pocker.directories import Directories

            places = Directories(*self._roots)
            places.decide = self._decide or _pocker(places, self._roots[2])
            if os.geteuid():
                from pyruntime.pocker.containers.rootless import enter  # lazy: only without root

                enter(places, self.warn)
            self._places = places
        return self._places

    def _open(self, container: str) -> tuple[Container, ContainerRecord]:
        from pyruntime.pocker.containers.container import find  # lazy: as in places

        found = find(self.places, container)
        return found, found.read()

    def _note(self, record: ContainerRecord, action: str, **attributes: str) -> None:
        from pyruntime.pocker.events import of_container  # lazy: as in places

        of_container(self.places, record, action, **attributes)

    def sweep(self) -> None:
        """Clean up after processes that were killed: the remains of containers, networks and volumes."""
        # lazy: as in places
        from pyruntime.pocker.containers.stop import sweep
        from pyruntime.pocker.volumes import sweep as sweep_volumes

        self._reap()
        sweep(self.places, self.warn)
        sweep_volumes(self.places)

    def _reap(self) -> None:
        """Reap monitors that have ended: they are children of this process, and would stay zombies."""
        for pid in list(self._monitors):
            try:
                if os.waitpid(pid, os.WNOHANG)[0]:
                    self._monitors.discard(pid)
            except ChildProcessError:   # another thread, or the caller, was faster
                self._monitors.discard(pid)

    # --- a container's life -------------------------------------------------------------------------------------------

    def create(self, image: str, settings: ContainerSettings | None = None, *, name: str = "") -> str:
        """Create a container from an image of the local store; its ID. ``name`` "": one is invented.

        Raises NoSuchImage, ImageError, ContainerExists, UsageError, HostError; nothing of it is left then.
        """
        # lazy: as in places
        from pyruntime.images.lookup import find
        from pyruntime.images.platform import Platform
        from pyruntime.pocker.containers.create import create
        from pyruntime.pocker.settings import ContainerSettings

        settings = settings or ContainerSettings()
        platform = Platform.parse(settings.platform) if settings.platform else None
        found = find(self.places.store, image, platform)
        return create(self.places, found, image, settings, name=name, driver=self.driver)[0].id

    def start(self, container: str) -> bool:
        """Start a container; False if it was running already. Raises StartError (a PyruntimeError) with the reason if
        it cannot be started; it is as before then."""
        # lazy: as in places
        from pyruntime.pocker.containers.start import StartOptions, launch
        from pyruntime.pocker.containers.status import CREATED, EXITED, status_of

        self._reap()
        found, record = self._open(container)
        with found.lock() as lock:
            if status_of(found).word not in (CREATED, EXITED):
                return False
            self._monitors.add(launch(found, record, lock, StartOptions()))
        return True

    def run(self, image: str, settings: ContainerSettings | None = None, *, name: str = "") -> str:
        """Create and start a container; its ID. The output goes to the log; `wait` returns the exit status. Raises what
        `create` and `start` raise; a container with ``settings.remove`` that cannot be started is removed."""
        container = self.create(image, settings, name=name)
        try:
            self.start(container)
        except BaseException:
            if settings is not None and settings.remove:
                self.remove(container, force=True, volumes=True)
            raise
        return container

    def exec(self, container: str, args: Sequence[str], *, env: Sequence[str] = (), user: str = "", workdir: str = "",
             privileged: bool = False, input: bytes = b"") -> ExecResult:
        """Run a command in a running container, wait for its end, and return its exit status and output.

        ``env``: NAME=VALUE, added to the container's; ``user``: USER[:GROUP]; ``privileged``: all capabilities;
        ``input``: the whole standard input. Raises StateError, UsageError, ImageError for an unknown user, StepError
        for a command that cannot be executed.
        """
        from pyruntime.pocker.containers.exec import ContainerExec, capture  # lazy: as in places

        if isinstance(args, str):
            raise UsageError(f'args "{args}": give a list of the program and its arguments')
        found, _ = self._open(container)
        return capture(ContainerExec(found, args, env=env, user=user, workdir=workdir, privileged=privileged), input)

    def stop(self, container: str, *, signal: str = "", timeout: float | None = None) -> bool:
        """Stop a container: ``signal`` ("": the container's or the image's), then SIGKILL after ``timeout`` seconds
        (None: the container's own, < 0: never). False if it was not running. It is not restarted by its policy."""
        return self._stop(container, signal, timeout, keep=False)

    def _stop(self, container: str, signal: str, timeout: float | None, *, keep: bool) -> bool:
        from pyruntime.pocker.containers.stop import stop  # lazy: as in places

        found, record = self._open(container)
        seconds = record.settings.stop_timeout if timeout is None else timeout
        stopped = stop(found, record, signal=signal, timeout=seconds, keep=keep)
        if stopped:
            self._note(record, "stop")
        self._reap()
        return stopped

    def restart(self, container: str, *, signal: str = "", timeout: float | None = None) -> None:
        """Stop a container as `stop` does, if it runs, and start it. It stays, even with ``settings.remove``."""
        found, record = self._open(container)
        self._stop(found.id, signal, timeout, keep=True)
        self.start(found.id)
        self._note(record, "restart")

    def kill(self, container: str, signal: str = "KILL") -> None:
        """Send a signal, by name or number, to the init process. After KILL the container is not restarted, and the
        call waits for its end. Raises StateError for a container that is not running."""
        # lazy: as in places
        from pyruntime.pocker.containers.status import PAUSED, RUNNING, status_of
        from pyruntime.pocker.containers.stop import send_signal, settle, stop

        found, record = self._open(container)
        status = status_of(found).word
        if status not in (RUNNING, PAUSED):
            raise StateError(f'container "{record.name}" is not running: it is {status}')
        if signal.upper().removeprefix("SIG") in _KILL:   # a stop without a wait: no restart by the policy
            stop(found, record, signal="KILL", timeout=_PATIENCE)
            settle(found, record)
            self._reap()
        else:
            send_signal(found, record, signal)

    def pause(self, container: str) -> None:
        """Pause all processes of a running container. Raises StateError."""
        from pyruntime.pocker.containers.status import RUNNING  # lazy: as in places

        self._freeze(container, RUNNING, "pause")

    def unpause(self, container: str) -> None:
        """Resume a paused container. Raises StateError."""
        from pyruntime.pocker.containers.status import PAUSED  # lazy: as in places

        self._freeze(container, PAUSED, "unpause")

    def _freeze(self, container: str, expected: str, action: str) -> None:
        # lazy: as in places
        from pyruntime.pocker.containers.status import status_of
        from pyruntime.runtime.api import Runtime

        found, record = self._open(container)
        if (word := status_of(found).word) != expected:
            raise StateError(f'container "{record.name}" is not {expected}: it is {word}')
        runtime = Runtime(self.places.runtime)
        (runtime.pause if action == "pause" else runtime.resume)(found.id)
        self._note(record, action)

    def wait(self, container: str) -> int:
        """Wait until a container has stopped for good; its exit status (128 + N if signal N killed it, 255 if the
        monitor was killed). Raises StateError for a container that was never started."""
        from pyruntime.pocker.containers.wait import wait  # lazy: as in places

        status = wait(self._open(container)[0])
        self._reap()
        return status

    def remove(self, container: str, *, force: bool = False, volumes: bool = False) -> str:
        """Remove a container; its name. ``force``: kill it first if it runs, and remove it even if its record is
        damaged; ``volumes``: remove its anonymous volumes too. Raises StateError for a running container."""
        # lazy: as in places
        from pyruntime.pocker.containers.container import ContainerRecord, find, forget_names
        from pyruntime.pocker.containers.stop import remove

        found = find(self.places, container)
        try:
            record = found.read()
        except RecordError:   # the directory and the name can still be removed
            if not force:
                raise
            record = ContainerRecord(id=found.id, name=found.id)
        remove(found, record, force=force, volumes=volumes)
        if record.name == found.id:
            forget_names(self.places)
        self._reap()
        return record.name

    def update(self, container: str, resources: Resources | None = None, restart: RestartPolicy | None = None) -> None:
        """Change the limits that are set in ``resources``, and the restart policy; at once for a running container. All
        or nothing. Raises UsageError, StateError, HostError."""
        # lazy: as in places
        from pyruntime.pocker.containers.update import update
        from pyruntime.pocker.settings import Resources

        update(self._open(container)[0], resources or Resources(), restart)

    def rename(self, container: str, name: str) -> None:
        """Give a container another name. Raises ContainerExists, UsageError."""
        # lazy: as in places
        from pyruntime.pocker.containers import network
        from pyruntime.pocker.containers.container import rename

        found, _ = self._open(container)
        rename(found, name)
        network.rename(self.places, found.read())

    def prune(self, wanted: Callable[[ContainerSettings], bool] = lambda settings: True) -> list[str]:
        """Remove the stopped containers whose settings are wanted; their IDs."""
        from pyruntime.pocker.containers.prune import prune  # lazy: as in places

        removed = prune(self.places, lambda record: wanted(record.settings), self.warn)[0]
        self._reap()
        return removed

    # --- what a container is and does ---------------------------------------------------------------------------------

    def list(self, *, all: bool = False) -> Sequence[ContainerSummary]:
        """The running containers, or all, the newest first."""
        # lazy: as in places
        from pyruntime.pocker.containers.container import every
        from pyruntime.pocker.containers.status import CREATED, EXITED, status_of
        from pyruntime.pocker.containers.summary import summary

        found = []
        for container, record in every(self.places, self.warn):
            try:
                status = status_of(container)
            except NoSuchContainer:
                continue   # it has been removed since
            if all or status.word not in (CREATED, EXITED):
                found.append(summary(container, record, status))
        return found

    def inspect(self, container: str, *, sizes: bool = False) -> dict[str, Any]:
        """The document of `docker inspect` about a container; ``sizes``: with SizeRw and SizeRootFs."""
        from pyruntime.pocker.containers.inspect import describe, sizes_of  # lazy: as in places

        found, record = self._open(container)
        return {**describe(found, record), **(sizes_of(found, record) if sizes else {})}

    def settings(self, container: str) -> ContainerSettings:
        """The settings of a container, completed with what its image declares."""
        return self._open(container)[1].settings

    def logs(self, container: str, *, since: str = "", until: str = "", tail: int = -1,
             follow: bool = False) -> Iterator[LogEntry]:
        """The log: pieces of output with their times. ``since`` and ``until``: times as in the log (RFC 3339, UTC);
        ``tail``: the last N lines alone; ``follow``: go on until the container has stopped. Raises StateError for a
        container without a log."""
        # lazy: as in places
        from pyruntime.pocker.containers.logs import entries
        from pyruntime.pocker.containers.status import CREATED, EXITED, status_of

        found, record = self._open(container)
        if record.settings.logging.driver == "none":
            raise StateError(f'container "{record.name}" keeps no log: it was created with log driver none')

        def runs() -> bool:
            return status_of(found).word not in (EXITED, CREATED)
        return entries(found, since=since, until=until, tail=tail, follow=runs if follow else None)

    def stats(self, container: str) -> ContainerUsage | None:
        """The resource usage at this moment; None if the container is not running."""
        from pyruntime.pocker.containers.stats import usage  # lazy: as in places

        return usage(self._open(container)[0])

    def top(self, container: str) -> Sequence[int]:
        """The process IDs of a running container on the host. Raises StateError."""
        from pyruntime.pocker.containers.top import pids  # lazy: as in places

        return pids(self._open(container)[0])

    def events(self, *, since: int | None = None, until: int | None = None,
               follow: bool = True) -> Iterator[dict[str, Any]]:
        """The events between two times (nanoseconds since 1970), in Docker's form; without ``since`` only new ones.
        ``follow``: wait for further ones until ``until``."""
        from pyruntime.pocker.events import events  # lazy: as in places

        return events(self.places, since=since, until=until, follow=follow)

    # --- a container's files ------------------------------------------------------------------------------------------

    def diff(self, container: str) -> Sequence[tuple[str, str]]:
        """The changes to the root filesystem since the container was created: "A", "C" or "D" and the path, sorted."""
        from pyruntime.pocker.containers.diff import changed  # lazy: as in places

        return changed(*self._open(container))

    def commit(self, container: str, *, name: str = "", author: str = "", message: str = "",
               changes: Sequence[str] = (), pause: bool = True) -> str:
        """Create an image from a container's changes; the image's ID. ``name``: NAME[:TAG], "" for a dangling image;
        ``changes``: Dockerfile instructions for its configuration; ``pause``: pause a running container meanwhile.
        Raises UsageError, DockerfileError, ImageError, HostError."""
        # lazy: as in places
        from pyruntime.images.lookup import key
        from pyruntime.images.reference import Reference
        from pyruntime.pocker.containers.commit import commit

        found, record = self._open(container)
        return commit(found, record, name=key(Reference.parse(name)) if name else "", author=author, message=message,
                      lines=list(changes), pause=pause, warn=self.warn)

    def copy_out(self, container: str, source: str, target: str, *, archive: bool = False, follow: bool = False) -> int:
        """Copy a path of a container, running or not, to a path of the host; the bytes of the files. ``archive``: keep
        owners; ``follow``: follow a symbolic link at the end of the source. Raises UsageError, HostError."""
        from pyruntime.pocker.containers.copy import copy_out  # lazy: as in places

        return self._copy(container, "archive-path", source, lambda found, record: copy_out(
            found, record, source, target, archive=archive, follow=follow, warn=self.warn))

    def copy_in(self, container: str, source: str, target: str, *, archive: bool = False, follow: bool = False) -> int:
        """Copy a path of the host to a path of a container, running or not; the bytes of the files. Without
        ``archive`` the files belong to the container's root user. Raises UsageError, HostError."""
        from pyruntime.pocker.containers.copy import copy_in  # lazy: as in places

        return self._copy(container, "extract-to-dir", target, lambda found, record: copy_in(
            found, record, source, target, archive=archive, follow=follow, warn=self.warn))

    def archive_out(self, container: str, source: str, write: Callable[[bytes], object], *,
                    follow: bool = False) -> int:
        """Write a path of a container as a tar archive, by calls of ``write``; the bytes of the files."""
        from pyruntime.pocker.containers.copy import archive_out  # lazy: as in places

        return self._copy(container, "archive-path", source, lambda found, record: archive_out(
            found, record, source, write, follow=follow, warn=self.warn))

    def archive_in(self, container: str, read: Callable[[int], bytes], target: str, *, archive: bool = False) -> int:
        """Extract a tar archive, compressed or not, into a directory of a container; the bytes of the files."""
        from pyruntime.pocker.containers.copy import archive_in  # lazy: as in places

        return self._copy(container, "extract-to-dir", target, lambda found, record: archive_in(
            found, record, read, target, archive=archive, warn=self.warn))

    def export(self, container: str, write: Callable[[bytes], object]) -> None:
        """Write the root filesystem as a tar archive, by calls of ``write``, without volumes and other mounts."""
        from pyruntime.pocker.containers.diff import export  # lazy: as in places

        found, record = self._open(container)
        _in_thread(lambda: export(found, record, write, self.warn))
        self._note(record, "export")

    def _copy(self, container: str, action: str, path: str, copy: Callable[[Container, ContainerRecord], int]) -> int:
        found, record = self._open(container)
        size = _in_thread(lambda: copy(found, record))
        self._note(record, action, path=path)
        return size

    # --- volumes and networks -----------------------------------------------------------------------------------------

    def volumes(self) -> Sequence[Volume]:
        """All volumes, by name."""
        from pyruntime.pocker.volumes import every  # lazy: as in places

        return list(every(self.places))

    def create_volume(self, name: str = "", *, options: Mapping[str, str] | None = None,
                      labels: Mapping[str, str] | None = None) -> Volume:
        """The volume of this name, which is created if it does not exist; without a name a new anonymous one.
        ``options``: type, o and device, as for mount(8). Raises UsageError, HostError."""
        # lazy: as in places
        from pyruntime.pocker.volume_names import problem
        from pyruntime.pocker.volumes import Volume, make
        from pyruntime.system.names import new_id

        if name and (what := problem(name)):
            raise UsageError(what)
        return make(self.places, Volume(name=name or new_id(), anonymous=not name,
                                        options=dict(options or {}), labels=dict(labels or {})))

    def remove_volume(self, name: str) -> None:
        """Remove a volume with its files. Raises NoSuchVolume, StateError if a container uses it."""
        from pyruntime.pocker.volumes import remove  # lazy: as in places

        remove(self.places, name)

    def networks(self) -> Sequence[Network]:
        """All networks, by name."""
        from pyruntime.networks.definitions import every, lock  # lazy: as in places

        with lock(self.places.networks):
            return list(every(self.places.networks))

    def create_network(self, name: str, *, subnets: Sequence[str] = (), gateways: Sequence[str] = (),
                       ranges: Sequence[str] = (), ipv6: bool = False, internal: bool = False,
                       labels: Mapping[str, str] | None = None, options: Mapping[str, str] | None = None) -> Network:
        """Create a bridge network; without ``subnets`` with a free one. Raises StateError for a name that is in use,
        UsageError, HostError without root."""
        # lazy: as in places
        from pyruntime.errors import HostError
        from pyruntime.networks.attach import NEED_ROOT
        from pyruntime.networks.definitions import lock, make
        from pyruntime.system.user_namespace import privileged

        site = self.places.networks   # without root, enters a user namespace, where this process is root
        with lock(site):
            if not privileged():
                raise HostError(f'network "{name}": {NEED_ROOT}')
            return make(site, name, subnets=subnets, gateways=gateways, ranges=ranges, ipv6=ipv6, internal=internal,
                        labels=dict(labels or {}), options=dict(options or {}))

    def remove_network(self, name: str) -> None:
        """Remove a network. Raises NoSuchNetwork, StateError if it has containers."""
        from pyruntime.pocker.containers.network import remove  # lazy: as in places

        remove(self.places, name)

    def connect(self, container: str, network: NetworkAttachment) -> None:
        """Connect a container to a network, at once if it runs, and at its next starts. Raises NoSuchNetwork,
        StateError, UsageError, HostError."""
        from pyruntime.pocker.containers.network import connect  # lazy: as in places

        found, _ = self._open(container)
        with found.lock():
            connect(found, found.read(), network)

    def disconnect(self, container: str, network: str) -> None:
        """Disconnect a container from a network, at once if it runs. Raises NoSuchNetwork, StateError."""
        from pyruntime.pocker.containers.network import disconnect  # lazy: as in places

        found, _ = self._open(container)
        with found.lock():
            disconnect(found, found.read(), network)


def _pocker(places: Directories, store: str) -> Sequence[str]:
    """The command line of `pocker monitor` for these directories."""
    from pyruntime.commandline.entry import command  # lazy: as in places

    return [*command("pocker"), "--root", places.root, "--run-root", places.run,
            *(["--store", store] if store else []), "monitor"]


def _in_thread(act: Callable[[], Result]) -> Result:
    """Call a function in a thread of its own: for the files of a stopped container a thread moves into a mount
    namespace, from which it does not come back."""
    from threading import Thread  # lazy: as in places

    results: list[Result] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(act())
        except BaseException as error:   # raised again by the caller's thread
            errors.append(error)
    thread = Thread(target=call)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
