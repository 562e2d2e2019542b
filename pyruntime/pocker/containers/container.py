"""A container: a directory, and what is written down there.

    container.json   the record: what it is; changes only by rename, update, network connect
    run.json         its present or last run: who stands over it, since when
    exit             how that ended; written by the monitor the moment it does
    lock             flock'ed by whoever starts, ends or removes it
    config.json      for the runtime, made anew for each start
    rootfs/          where the root filesystem is mounted, in the monitor's mount namespace alone
    .rootfs/         what the snapshot driver keeps: everything that the container has written
    log, log.1, ...  what its program wrote (pyruntime.pocker.containers.logs)
    .pyimage         the store's record of which layers it uses

A container comes into being, and ends, by rename(2): under ~ID.THREAD.PID it is being made or removed.
"""

from __future__ import annotations

import os
from _thread import get_native_id

from pyruntime.errors import ConfigError, ContainerExists, NoSuchContainer, PyruntimeError, UsageError
from pyruntime.pocker import events as history
from pyruntime.pocker.options.settings import Settings
from pyruntime.system.files import forget, write
from pyruntime.system.files import read as read_file
from pyruntime.system.json import decode, encode
from pyruntime.system.locks import Lock
from pyruntime.system.names import check_name
from pyruntime.system.processes import alive
from pyruntime.system.times import timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pyruntime.pocker.directories import Places

UNCLAIMED = "~"
LATEST = "--latest"   # instead of a container's name
_HEX = frozenset("0123456789abcdef")


class _Values:
    """Fields that are written to a file as JSON."""

    FIELDS: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """What is written."""
        return {name: getattr(self, name) for name in self.FIELDS}


class Record(_Values):
    """What a container is."""

    FIELDS = ("id", "name", "created", "image", "image_id", "manifest", "driver", "image_config", "settings")

    def __init__(self, **values: Any) -> None:
        self.id: str = ""
        self.name: str = ""
        self.created: str = timestamp()
        self.image: str = ""                     # as it was asked for
        self.image_id: str = ""                  # digest of its configuration
        self.manifest: str = ""
        self.driver: str = ""
        self.image_config: dict[str, Any] = {}   # what the image says of how to run it (config.md `config`)
        self.settings = Settings()
        for name, value in values.items():
            setattr(self, name, Settings(**value) if name == "settings" and isinstance(value, dict) else value)

    def document(self) -> dict[str, Any]:
        """What is written."""
        return {**super().document(), "settings": self.settings.document()}


class Run(_Values):
    """A run of a container, from its start to its end.

    ``monitor``    pid and start time of the process that stands over it
    ``prepared``   the root filesystem has been made whole
    ``waiting``    it has ended, and is to be started again in a moment
    ``brief``      how often it was started again after a run that did not last
    ``stopping``   somebody wants it to end, so it is not to be started again
    ``kept``       somebody starts it again when it has ended, so --rm does not remove it
    ``over``       all that belonged to the run has been taken away
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
        for name, value in values.items():
            setattr(self, name, value)

    def watched(self) -> bool:
        """Whether its monitor lives."""
        return alive(*self.monitor)


class Exit(_Values):
    """How a run ended. ``status`` is 128 + N for signal N, and 255 where nobody was there to see it."""

    FIELDS = ("status", "finished", "oom", "error")

    def __init__(self, **values: Any) -> None:
        self.status: int = 255
        self.finished: str = ""
        self.oom: bool = False
        self.error: str = ""
        for name, value in values.items():
            setattr(self, name, value)


class _Lock(Lock):
    """A container's lock. Whoever had it before us may have removed the container, and made its name another's."""

    __slots__ = ()

    def __enter__(self) -> Lock:
        """Raises NoSuchContainer, BlockingIOError."""
        try:
            super().__enter__()
            if os.stat(self.path).st_ino == os.fstat(self.fd).st_ino:
                return self
        except (FileNotFoundError, NotADirectoryError):
            pass   # it was removed before we looked, or while we waited
        if self.fd >= 0:
            os.close(self.fd)
        raise NoSuchContainer(f'no such container: "{os.path.basename(os.path.dirname(self.path))}"')


class Container:
    """One container's directory."""

    def __init__(self, places: Places, container_id: str) -> None:
        self.places = places
        self.id = container_id
        self.directory = f"{places.root}/containers/{container_id}"

    @property
    def rootfs(self) -> str:
        """Where its root filesystem is mounted."""
        return f"{self.directory}/rootfs"

    @property
    def private(self) -> str:
        """What the snapshot driver keeps."""
        return f"{self.directory}/.rootfs"

    @property
    def socket(self) -> str:
        """The monitor's attach socket."""
        return f"{self.places.run}/attach/{self.id}"

    def lock(self, *, wait: bool = True) -> Lock:
        """To be held by whoever starts, ends or removes it. Raises NoSuchContainer."""
        return _Lock(f"{self.directory}/lock", wait=wait)

    def read(self) -> Record:
        """The record; raises NoSuchContainer."""
        return Record(**self._read("container.json"))

    def write(self, record: Record) -> None:
        """Write the record, whole or not at all."""
        self.put("container.json", encode(record.document()))

    def run(self) -> Run:
        """The present or last run; one without a start where it was never started."""
        try:
            return Run(**self._read("run.json"))
        except NoSuchContainer:
            return Run()
        except ConfigError:   # a power failure has cut it off: nothing runs, and what is left is to be cleared
            return Run(over=False)

    def write_run(self, run: Run) -> None:
        """Write the run down."""
        self.put("run.json", encode(run.document()))

    def exit(self) -> Exit | None:
        """How the last run ended; None where it has not, or where nobody saw it."""
        try:
            return Exit(**self._read("exit"))
        except NoSuchContainer:
            return None

    def write_exit(self, end: Exit) -> None:
        """Write down how the run ended."""
        self.put("exit", encode(end.document()))

    def put(self, name: str, text: str) -> None:
        """Write one of its files, whole or not at all."""
        write(f"{self.directory}/{name}", text.encode())

    def _read(self, name: str) -> dict[str, Any]:
        path = f"{self.directory}/{name}"
        try:
            data = read_file(path, 64 << 20)
        except (FileNotFoundError, NotADirectoryError):
            raise NoSuchContainer(f'no such container: "{self.id}"') from None
        except OSError as error:
            raise PyruntimeError(f'cannot read "{path}": {error.strerror}') from None
        value = decode(data, path)
        return value if isinstance(value, dict) else {}


# --- all of them ------------------------------------------------------------------------------------------------------


def identifiers(places: Places) -> list[str]:
    """The IDs of all containers."""
    try:
        names = os.listdir(f"{places.root}/containers")
    except FileNotFoundError:
        return []
    return sorted(name for name in names if len(name) == 64 and _HEX.issuperset(name))


def every(places: Places, warn: Callable[[str], None] | None = None) -> Iterator[tuple[Container, Record]]:
    """All containers with their records, the newest first. One whose record is damaged is told to ``warn``, or raised
    as ConfigError: what it uses is not known."""
    found = []
    for name in identifiers(places):
        container = Container(places, name)
        try:
            found.append((container, container.read()))
        except NoSuchContainer:
            continue   # removed meanwhile
        except ConfigError as error:
            if warn is None:
                raise
            warn(f"container {name[:12]}: its record is damaged: {str(error).partition(chr(10))[0]}; `pocker rm -f"
                 f" {name[:12]}` removes it")
    yield from sorted(found, key=lambda pair: pair[1].created, reverse=True)


def find(places: Places, text: str) -> Container:
    """The container that a person means: its name, its ID, or the beginning of it. Raises NoSuchContainer, UsageError
    where the beginning fits several. ``LATEST`` is the container that was created last."""
    if text == LATEST:
        newest = next(every(places, lambda _text: None), None)
        if newest is None:
            raise NoSuchContainer("there is no container yet")
        return newest[0]
    try:
        container = Container(places, os.readlink(f"{places.root}/names/{check_name(text)}"))
        if os.path.isdir(container.directory):
            return container
    except (OSError, UsageError):
        pass   # no name: the question is whether it is an ID
    fitting = [name for name in identifiers(places) if name.startswith(text)] if text else []
    if len(fitting) > 1:
        raise UsageError(f'"{text}" is the beginning of {len(fitting)} IDs: give more of it')
    if not fitting:
        raise NoSuchContainer(f'no such container: "{text}"')
    return Container(places, fitting[0])


def unclaimed(places: Places, container_id: str) -> str:
    """The name of a directory that only this thread has, for a container that is being made or removed."""
    return f"{places.root}/containers/{UNCLAIMED}{container_id}.{get_native_id()}.{os.getpid()}"


def claim(places: Places, record: Record, made: str) -> Container:
    """Make the directory ``made`` the container of the record, under its name. Raises ContainerExists."""
    container = Container(places, record.id)
    with places.lock("names"):
        name_it(places, record)
        os.rename(made, container.directory)
    return container


def name_it(places: Places, record: Record) -> None:
    """Give the container its name; the names are locked. Raises ContainerExists where another one has it."""
    link = f"{places.root}/names/{check_name(record.name)}"
    try:
        owner = os.readlink(link)
        if owner != record.id and os.path.isdir(f"{places.root}/containers/{owner}"):
            raise ContainerExists(f'the name "{record.name}" belongs to container {owner[:12]}: remove it, rename it,'
                                  " or take another name")
        os.unlink(link)   # of one that is gone
    except FileNotFoundError:
        pass   # nobody has it
    os.symlink(record.id, link)


def unname(places: Places, record: Record) -> None:
    """Take the name back, if it is still the container's."""
    with places.lock("names"):
        link = f"{places.root}/names/{record.name}"
        try:
            if os.readlink(link) == record.id:
                os.unlink(link)
        except FileNotFoundError:
            return   # it never had it


def forget_names(places: Places) -> None:
    """Take back the names of containers that are gone: whoever made or removed them was killed before he could."""
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
