"""A container: its directory and the files in it.

    container.json   the record: name, image, settings; changed only by rename, update, network connect
    run.json         the current or last run: its monitor, and the time of its start
    exit             the exit status of that run; written by the monitor when the program exits
    lock             flock'ed by processes that start, stop or remove the container
    config.json      the runtime's configuration, written at each start
    rootfs/          mount point of the root filesystem, in the monitor's mount namespace only
    .rootfs/         files of the storage driver: everything that the container has written
    log, log.1, ...  the output of the program (pyruntime.pocker.containers.logs)
    .pyimage         the store's record of the layers in use

Containers are created and removed by rename(2): until then, and after it, the directory is called ~ID.THREAD.PID.
"""

from __future__ import annotations

import os
from _thread import get_native_id

from pyruntime.errors import ContainerExists, NoSuchContainer, PyruntimeError, RecordError, UsageError
from pyruntime.pocker import events as history
from pyruntime.pocker.settings import ContainerSettings
from pyruntime.system.files import forget, write
from pyruntime.system.files import read as read_file
from pyruntime.system.locks import Lock
from pyruntime.system.names import check_name
from pyruntime.system.processes import alive
from pyruntime.system.records import Record
from pyruntime.system.times import timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, ClassVar, TypeVar

    from pyruntime.pocker.directories import Directories

    Kind = TypeVar("Kind", bound=Record)

UNCLAIMED = "~"
_HEX = frozenset("0123456789abcdef")
_ID = 64   # digits


class ContainerRecord(Record):
    """The record of a container: the content of container.json."""

    FIELDS = ("id", "name", "created", "image", "image_id", "manifest", "driver", "image_config", "settings")
    NEEDED = ("id", "name", "settings")
    READ: ClassVar[Mapping[str, Callable[[Any], Any]]] = {"settings": ContainerSettings.of}

    def __init__(self, **values: Any) -> None:
        self.id: str = ""
        self.name: str = ""
        self.created: str = timestamp()
        self.image: str = ""                     # the name given at creation
        self.image_id: str = ""                  # digest of its configuration
        self.manifest: str = ""
        self.driver: str = ""
        self.image_config: dict[str, Any] = {}   # of the image (config.md `config`)
        self.settings = ContainerSettings()
        self._set(values)

    def document(self) -> dict[str, Any]:
        """The form in the file."""
        return {**super().document(), "settings": self.settings.document()}


class ContainerRun(Record):
    """A run of a container, from its start to its exit.

    ``monitor``    process ID and start time of the monitor
    ``prepared``   the root filesystem is complete
    ``waiting``    the container has exited and will be restarted in a moment
    ``brief``      number of restarts after short runs
    ``stopping``   a command is stopping the container: the restart policy does not apply
    ``kept``       a command will start the container again: it is not removed at its exit
    ``over``       the run has been cleaned up
    """

    FIELDS = ("started", "monitor", "pid", "restarts", "brief", "prepared", "waiting", "stopping", "kept", "over")

    def __init__(self, **values: Any) -> None:
        self.started: str = ""
        self.monitor: list[int] = [0, 0]
        self.pid: int = 0
        self.restarts: int = 0
        self.brief: int = 0
        self.prepared: bool = False
        self.waiting: bool = False
        self.stopping: bool = False
        self.kept: bool = False
        self.over: bool = True
        self._set(values)

    def watched(self) -> bool:
        """Whether the monitor is alive."""
        return alive(*self.monitor)


class Exit(Record):
    """The end of a run. ``status`` is the exit status: 128 + N for signal N, and 255 if it is unknown."""

    FIELDS = ("status", "finished", "oom", "error")

    def __init__(self, **values: Any) -> None:
        self.status: int = 255
        self.finished: str = ""
        self.oom: bool = False
        self.error: str = ""
        self._set(values)


class _Lock(Lock):
    """A container's lock. Its last holder may have removed the container, and another one may have its name now."""

    __slots__ = ()

    def __enter__(self) -> Lock:
        """Raises NoSuchContainer, BlockingIOError."""
        try:
            super().__enter__()
            if os.stat(self.path).st_ino == os.fstat(self.fd).st_ino:
                return self
        except (FileNotFoundError, NotADirectoryError):
            pass   # removed before we opened the lock, or while we waited for it
        if self.fd >= 0:
            os.close(self.fd)
        raise NoSuchContainer(f'no such container: "{os.path.basename(os.path.dirname(self.path))}"')


class Container:
    """The directory of one container."""

    def __init__(self, places: Directories, container_id: str) -> None:
        self.places = places
        self.id = container_id
        self.directory = f"{places.root}/containers/{container_id}"

    @property
    def rootfs(self) -> str:
        """The mount point of the root filesystem."""
        return f"{self.directory}/rootfs"

    @property
    def private(self) -> str:
        """The files of the storage driver."""
        return f"{self.directory}/.rootfs"

    @property
    def socket(self) -> str:
        """The monitor's attach socket."""
        return f"{self.places.run}/attach/{self.id}"

    def lock(self, *, wait: bool = True) -> Lock:
        """The lock that starting, stopping and removing need. Raises NoSuchContainer."""
        return _Lock(f"{self.directory}/lock", wait=wait)

    def read(self) -> ContainerRecord:
        """The record. Raises NoSuchContainer, RecordError."""
        return self._read("container.json", ContainerRecord, f'remove the container with "pocker rm -f {self.id[:12]}"')

    def write(self, record: ContainerRecord) -> None:
        """Write the record, atomically."""
        self.put("container.json", record.encoded())

    def run(self) -> ContainerRun:
        """The current or last run; a run without a start time if the container was never started. Raises RecordError
        for the run of a newer pyruntime, which may be going on."""
        try:
            return self._read("run.json", ContainerRun, "remove this file when the container's processes have ended")
        except NoSuchContainer:
            return ContainerRun()
        except RecordError as error:
            if error.unknown:
                raise
            return ContainerRun(over=False)   # truncated by a power failure: nothing runs, and the remains are left

    def write_run(self, run: ContainerRun) -> None:
        """Write the run."""
        self.put("run.json", run.encoded())

    def exit(self) -> Exit | None:
        """The end of the last run; None if the container is running, or if the exit status is unknown."""
        try:
            return self._read("exit", Exit, "start the container again")
        except NoSuchContainer:
            return None
        except RecordError as error:
            return Exit(error=f"exit status unknown: {error}")

    def write_exit(self, end: Exit) -> None:
        """Write the end of the run."""
        self.put("exit", end.encoded())

    def put(self, name: str, data: bytes) -> None:
        """Write a file of the container, atomically."""
        write(f"{self.directory}/{name}", data)

    def _read(self, name: str, kind: type[Kind], remedy: str) -> Kind:
        path = f"{self.directory}/{name}"
        try:
            data = read_file(path, 64 << 20)
        except (FileNotFoundError, NotADirectoryError):
            raise NoSuchContainer(f'no such container: "{self.id}"') from None
        except OSError as error:
            raise PyruntimeError(f'cannot read "{path}": {error.strerror}') from None
        return kind.parse(data, path, remedy)


# --- all containers ---------------------------------------------------------------------------------------------------


def identifiers(places: Directories) -> list[str]:
    """The IDs of all containers."""
    try:
        names = os.listdir(f"{places.root}/containers")
    except FileNotFoundError:
        return []
    return sorted(name for name in names if len(name) == _ID and _HEX.issuperset(name))


def every(places: Directories, warn: Callable[[str], None] | None = None
          ) -> Iterator[tuple[Container, ContainerRecord]]:
    """All containers with their records, the newest first. A record that cannot be read is a warning, or without
    ``warn`` a RecordError: what the container uses is unknown."""
    found = []
    for name in identifiers(places):
        container = Container(places, name)
        try:
            found.append((container, container.read()))
        except NoSuchContainer:
            continue   # removed in the meantime
        except RecordError as error:
            if warn is None:
                raise
            warn(f"container {name[:12]}: {error}")
    yield from sorted(found, key=lambda pair: pair[1].created, reverse=True)


def find(places: Directories, text: str) -> Container:
    """The container with this name or ID, or whose ID begins with the text. Raises NoSuchContainer, and UsageError
    for the beginning of several IDs."""
    if len(text) == _ID and os.path.isdir(f"{places.root}/containers/{text}") and _HEX.issuperset(text):
        return Container(places, text)
    try:
        container = Container(places, os.readlink(f"{places.root}/names/{check_name(text)}"))
        if os.path.isdir(container.directory):
            return container
    except (OSError, UsageError):
        pass   # not a name: perhaps an ID
    fitting = [name for name in identifiers(places) if name.startswith(text)] if text else []
    if len(fitting) > 1:
        raise UsageError(f'"{text}" is the beginning of {len(fitting)} IDs: give more digits')
    if not fitting:
        raise NoSuchContainer(f'no such container: "{text}"')
    return Container(places, fitting[0])


def newest(places: Directories) -> Container:
    """The container that was created last. Raises NoSuchContainer."""
    found = next(every(places, lambda _text: None), None)
    if found is None:
        raise NoSuchContainer("there is no container")
    return found[0]


def unclaimed(places: Directories, container_id: str) -> str:
    """The path of a directory of this thread alone, for a container that is being created or removed."""
    return f"{places.root}/containers/{UNCLAIMED}{container_id}.{get_native_id()}.{os.getpid()}"


def claim(places: Directories, record: ContainerRecord, made: str) -> Container:
    """Make the directory ``made`` the container of the record, under its name. Raises ContainerExists."""
    container = Container(places, record.id)
    with places.lock("names"):
        name_it(places, record)
        os.rename(made, container.directory)
    return container


def name_it(places: Directories, record: ContainerRecord) -> None:
    """Register the container's name; the names are locked. Raises ContainerExists if another container has it."""
    link = f"{places.root}/names/{check_name(record.name)}"
    try:
        owner = os.readlink(link)
        if owner != record.id and os.path.isdir(f"{places.root}/containers/{owner}"):
            raise ContainerExists(f'the name "{record.name}" is in use by container {owner[:12]}: remove or rename that'
                                  " container, or choose another name")
        os.unlink(link)   # of a removed container
    except FileNotFoundError:
        pass   # the name is free
    os.symlink(record.id, link)


def unname(places: Directories, record: ContainerRecord) -> None:
    """Free the container's name, unless another container has it by now."""
    with places.lock("names"):
        link = f"{places.root}/names/{record.name}"
        try:
            if os.readlink(link) == record.id:
                os.unlink(link)
        except FileNotFoundError:
            return   # the container never got its name


def forget_names(places: Directories) -> None:
    """Free the names of containers that do not exist: the process that created or removed them was killed."""
    with places.lock("names"):
        for name in os.listdir(places.below("names")):
            link = f"{places.root}/names/{name}"
            if os.path.islink(link) and not os.path.isdir(f"{places.root}/containers/{os.readlink(link)}"):
                forget(link)


def rename(container: Container, name: str) -> None:
    """Give a container another name. Raises ContainerExists, UsageError."""
    places = container.places
    with container.lock(), places.lock("names"):
        record = container.read()
        old, record.name = record.name, check_name(name)
        if old == name:
            return
        name_it(places, record)
        container.write(record)
        forget(f"{places.root}/names/{old}")
        history.of_container(places, record, "rename", oldName=old)
