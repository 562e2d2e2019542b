"""A sandbox in a directory: its programs with their memory, and its files.

    PATH/sandbox.json   what the restored sandbox is made of: `SandboxRecord`
    PATH/image/         the processes (CRIU, pyruntime/runtime/lifecycle/checkpoint_image.py)
    PATH/files/         the directories of the sandbox's place, and (below/) the layers of a template

CRIU saves init and its descendants. The sandbox's mounts come from outside for it: the restored sandbox makes them as
a new one does, with the saved files in them. The other ends of the programs' pipes are outside, too: the restored
sandbox has new pipes, with what nobody had read from the old ones.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from select import POLLHUP, poll
from stat import S_ISDIR
from time import monotonic, sleep

from pyruntime.errors import CriuError, HostError, StateError, UsageError
from pyruntime.images.api import ImageStore
from pyruntime.images.store.store import Store
from pyruntime.sandbox.leftovers import place
from pyruntime.sandbox.limits import Limits
from pyruntime.sandbox.private_mounts import call
from pyruntime.sandbox.sources import HostMount, Prepared, RootSource, StoredImage, copied, written
from pyruntime.sandbox.trees import copy_tree, dress_like
from pyruntime.system import kernel
from pyruntime.system.records import Record
from pyruntime.system.restrictions import capable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from pyruntime.runtime.cgroups.subgroup import Subgroup
    from pyruntime.sandbox.container import SandboxContainer
    from pyruntime.sandbox.run import Run

# Of both requests to CRIU: connections within the sandbox, and locks of its files.
CRIU_OPTIONS: Mapping[str, Any] = {"tcp_established": True, "file_locks": True}
_LEAST = (6, 15)   # PIDFD_GET_INFO with PIDFD_INFO_EXIT
RESTORE_REMEDY = "\n  CRIU works within the sandbox's limits: it needs 4 processes and 8 MiB of them"
_PATIENCE = 10.0   # seconds for programs to execute others
_ROOM = "free some there, or name another directory"


@dataclass(frozen=True)
class SavedProgram:
    """A program of `popen` or `run`.

    ``number``   of its run; ``pid``: in the sandbox
    ``seconds``  until its time is over; None: never
    ``pipes``    the keys of its standard streams, "pipe:[N]"; "" for those that are empty
    """

    number: int
    pid: int
    args: Sequence[str]
    seconds: float | None
    text: bool
    pipes: Sequence[str]


@dataclass(frozen=True)
class SavedPipe:
    """A pipe from or to the outside.

    ``data``   what nobody had read; ``size``: how much it can hold, in bytes
    ``ended``  whether nobody could write to it any more
    """

    data: bytes
    size: int
    ended: bool

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> SavedPipe:
        """Of sandbox.json. Raises ValueError."""
        data = b64decode(value["data"], validate=True)
        if len(data) > value["size"]:
            raise ValueError(f"{len(data)} bytes in a pipe of {value['size']}")
        return cls(data, value["size"], bool(value["ended"]))

    def document(self) -> dict[str, Any]:
        """As in sandbox.json."""
        return {**asdict(self), "data": b64encode(self.data).decode()}


class SandboxRecord(Record):
    """sandbox.json.

    ``options``   of Sandbox
    ``layers``    directories, bottom first; ``image``: the store and the ID of the image that they are, or empty
    ``paths``     of a sandbox of the host's system, instead
    ``below``     how many layers of a template are above them, in the checkpoint; ``work``: whether /work has one, too
    ``env``, ``cwd``  the defaults of programs
    ``runs``      the number of the last run
    """

    FIELDS = ("options", "layers", "image", "paths", "below", "work", "env", "cwd", "runs", "programs", "pipes")
    NEEDED = FIELDS

    def __init__(self, **values: Any) -> None:
        self.options: dict[str, Any] = {}
        self.layers: list[str] = []
        self.image: list[str] = []
        self.paths: list[str] = []
        self.below = 0
        self.work = False
        self.env: list[str] = []
        self.cwd = ""
        self.runs = 0
        self.programs: list[SavedProgram] = []
        self.pipes: dict[str, SavedPipe] = {}
        self._set(values)

    def document(self) -> dict[str, Any]:
        """As of Record."""
        return {**super().document(), "programs": [asdict(program) for program in self.programs],
                "pipes": {key: pipe.document() for key, pipe in self.pipes.items()}}

    READ: Mapping[str, Callable[[Any], Any]] = {   # type: ignore[misc]
        "options": lambda value: _options_of(value),   # noqa: PLW0108 -- defined below
        "programs": lambda value: [SavedProgram(**program) for program in value],
        "pipes": lambda value: {key: SavedPipe.parse(pipe) for key, pipe in value.items()},
    }


def require_checkpoints(user: tuple[int, int], network: str | None) -> None:
    """Raise HostError or UsageError where a sandbox of this user and network could not be saved."""
    if os.geteuid():
        raise HostError("checkpointable sandboxes need root: CRIU saves processes with the rights of the host's root")
    release = os.uname().release
    if tuple(int(part) for part in re.findall(r"\d+", release)[:2]) < _LEAST:
        raise HostError(f"checkpointable sandboxes need Linux {_LEAST[0]}.{_LEAST[1]} or later, which tells the exit"
                        f" status of programs that are not children of this one: this is {release}")
    if user != (os.geteuid(), os.getegid()) and not capable("CAP_SYS_RESOURCE"):
        raise HostError(f"checkpointable sandboxes of user {user[0]}, group {user[1]} need CAP_SYS_RESOURCE, for CRIU"
                        " to read the limits of their programs: give it to this program, or give user=0")
    if network:
        raise UsageError(f'network "{network}": CRIU does not restore the interface of a network: leave out network, or'
                         " checkpointable")


# ---- save -----------------------------------------------------------------------------------------------------------

def save(container: SandboxContainer, path: str | os.PathLike[str], options: Mapping[str, Any], runs: Sequence[Run],
         *, number: int, last: bool) -> None:
    """Write a checkpoint, whole or not at all. ``number``: of the last run; ``last``: no process executes anything
    afterwards. Raises UsageError if the path exists, HostError, CriuError; then the processes go on, and nothing is
    left."""
    path = os.path.abspath(path)
    if os.path.lexists(path):
        raise UsageError(f'"{path}" exists: remove it, or name another directory for the checkpoint')
    part = tempfile.mkdtemp(prefix=f"{os.path.basename(path)}.", dir=os.path.dirname(path))   # mode 0700
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, part)
        os.mkdir(f"{part}/files")
        with container.entrance.starting, _settled(container):
            with without_log():
                container.dump(f"{part}/image", call(_devices, container.prepared, base=container.namespace))
            programs = list(_programs(runs))
            # CRIU itself makes the pipes again that lead from a program to another.
            keys = ({program.pipes[0] for program in programs}
                    ^ {key for program in programs for key in program.pipes[1:]}) - {""}
            record = _record(container.prepared, options=_written(options), runs=number, programs=programs,
                             pipes=_pipes(container.pids(), keys))
            with _opened(f"{part}/files") as fd:
                call(_save_files, container.prepared, fds=[fd], base=container.namespace)
            with open(f"{part}/sandbox.json", "xb") as file:
                file.write(record.encoded())
            os.rename(part, path)
            undo.pop_all()
            if last:
                container.kill_still()


@contextmanager
def _settled(container: SandboxContainer) -> Iterator[None]:
    """As SandboxContainer.still, at a moment when no program waits in vfork(2), where CRIU cannot stop it. Raises
    HostError if there is none."""
    end = monotonic() + _PATIENCE
    while monotonic() < end:
        with container.still():
            if not any(map(_vforks, container.pids())):
                yield
                return
        sleep(0.005)
    raise HostError(f"cannot save {container.name}: a program of it waits in vfork(2) for its child: try again later")


def _vforks(pid: int) -> bool:
    """Whether a thread of this frozen process waits until a child has executed a program: it is not frozen elsewhere,
    as all others are."""
    with suppress(FileNotFoundError, ProcessLookupError):   # it has ended
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/wchan", encoding="ascii") as file:
                if file.read() == "kernel_clone":
                    return True
    return False


def _devices(prepared: Prepared) -> list[str]:
    """The sandbox's own filesystems."""
    numbers = {os.stat(path).st_dev for path in (f"{place()}/mount", prepared.rootfs, prepared.work)}
    return [f"{os.major(number)}:{os.minor(number)}" for number in numbers]


def _record(prepared: Prepared, **values: Any) -> SandboxRecord:
    image = prepared.image
    return SandboxRecord(
        layers=list(prepared.layers), image=[image.root, image.id] if image else [],
        paths=[mount.source for mount in prepared.mounts], below=len(prepared.uppers[:-1]),
        work=bool(prepared.work_before), env=list(prepared.env), cwd=prepared.cwd, **values)


def _written(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of Sandbox, as JSON has them."""
    limits, env = options["limits"], options["env"]
    return {**options, "limits": asdict(limits) if limits else None, "env": dict(env) if env else None,
            "mounts": [asdict(mount) for mount in options["mounts"]], "devices": list(options["devices"])}


def _options_of(value: Mapping[str, Any]) -> dict[str, Any]:
    limits, user = value["limits"], value["user"]
    return {**value, "limits": Limits(**limits) if limits else None, "user": user if type(user) is int else tuple(user),
            "mounts": [HostMount(**mount) for mount in value["mounts"]]}


def _save_files(target: int, prepared: Prepared) -> None:
    own, to = f"{place()}/mount", f"/proc/self/fd/{target}"
    trees = [(f"{own}/{name}", name) for name in written(prepared)]
    trees.append((prepared.uppers[-1], "upper") if prepared.layers else (prepared.rootfs, "root"))
    trees += [(upper, f"below/{number}") for number, upper in enumerate(prepared.uppers[:-1])]
    if prepared.work_before:
        trees += [(prepared.work_before, "below/work"), (f"{own}/above/upper", "above/upper")]
    for source, name in trees:
        os.makedirs(f"{to}/{name}", 0o700)
        copy_tree(source, f"{to}/{name}", _ROOM)
        dress_like(source, f"{to}/{name}")


def _programs(runs: Sequence[Run]) -> Iterator[SavedProgram]:
    for run in runs:
        with suppress(FileNotFoundError, ProcessLookupError):   # it has ended
            yield SavedProgram(run.number, _inner_pid(run.pid), list(run.args), run.seconds_left(), run.text,
                               run.streams)


def _inner_pid(pid: int) -> int:
    """The process ID in the innermost pid namespace (NSpid of proc_pid_status(5))."""
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="surrogateescape") as file:
        line = next(line for line in file if line.startswith("NSpid:"))
    return int(line.split()[-1])


def _pipes(pids: Sequence[int], keys: set[str]) -> dict[str, SavedPipe]:
    """The pipes with these keys that processes have open."""
    found: dict[str, SavedPipe] = {}
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):   # it has ended
            for name in os.listdir(f"/proc/{pid}/fd"):
                path = f"/proc/{pid}/fd/{name}"
                key = os.readlink(path)
                if key in keys and key not in found:
                    found[key] = _saved_pipe(path)
    return found


def _saved_pipe(path: str) -> SavedPipe:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        waiting = poll()
        waiting.register(fd, 0)
        ended = any(event & POLLHUP for _, event in waiting.poll(0))
        size = fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)
        ends = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, size)
            try:
                data = os.read(ends[0], kernel.tee(fd, ends[1], size))
            except BlockingIOError:   # it is empty
                data = b""
        finally:
            os.close(ends[0])
            os.close(ends[1])
        return SavedPipe(data, size, ended)
    finally:
        os.close(fd)


@contextmanager
def _opened(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def without_log(remedy: str = "") -> Iterator[None]:
    """CRIU's log is removed with the rest: its errors are in the message, and the ``remedy``."""
    try:
        yield
    except CriuError as error:
        raise CriuError(str(error).partition("\n  log file: ")[0] + remedy) from None


# ---- restore --------------------------------------------------------------------------------------------------------

def read(path: str | os.PathLike[str]) -> tuple[SavedSource, dict[str, Any]]:
    """The root filesystem with the processes of a checkpoint, and the options of its sandbox. Raises UsageError,
    RecordError."""
    path = os.path.abspath(path)
    try:
        found = os.stat(path)
        # CRIU makes what the image says, with root's privileges.
        if not S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise UsageError(f'"{path}" is not a directory that belongs to user {os.geteuid()}, and that nobody else'
                             " may write to: only such a checkpoint can be restored")
        with open(f"{path}/sandbox.json", "rb") as file:
            data = file.read()
    except OSError as error:
        raise UsageError(f'"{path}" is not a checkpoint of a sandbox: {error.strerror}') from None
    record = SandboxRecord.parse(data, f"{path}/sandbox.json", "make another checkpoint")
    return SavedSource(path, record), record.options


class SavedSource(RootSource):
    """The files of a checkpoint, and its processes; for one sandbox."""

    def __init__(self, path: str, record: SandboxRecord) -> None:
        self._path = path
        self._record = record
        self._image: StoredImage | None = None
        self.processes = SavedProcesses(f"{path}/image", record)

    def resolve(self, held: ExitStack) -> RootSource:
        """Itself; the image is kept. Raises NoSuchImage."""
        if self._record.image:
            root, name = self._record.image
            image = ImageStore(root).find(name)
            self._image = StoredImage(root, image.id, image.layers(), self._record.env, self._record.cwd)
            self._image.keep(held)
        return self

    def prepare(self, scratch: str, user: tuple[int, int]) -> Prepared:
        """The same layers, and copies of everything above them."""
        record, files = self._record, f"{self._path}/files"
        layers = record.layers
        if self._image:
            layers = Store.open(self._image.root).extract_layers(list(self._image.wanted)).directories
        for layer in layers:
            if not os.path.isdir(layer):
                raise UsageError(f'the root filesystem "{layer}" of the checkpoint "{self._path}" is not there: put it'
                                 " back")
        below = [f"{files}/below/{number}" for number in range(record.below)]
        return copied(Prepared(
            "", layers, [*below, f"{scratch}/upper"] if layers else (),
            work_before=f"{files}/below/work" if record.work else "", image=self._image,
            mounts=[HostMount(path, path) for path in record.paths], env=record.env, cwd=record.cwd), files, scratch)


class SavedProcesses:
    """The processes of a checkpoint, for one sandbox: from `open` until `close`.

    ``image``      CRIU's directory
    ``runs``, ``programs``  as of the record
    ``inherited``  for each pipe the end of the sandbox's processes, by its key
    """

    def __init__(self, image: str, record: SandboxRecord) -> None:
        self.image = image
        self.runs, self.programs = record.runs, record.programs
        self.inherited: dict[str, int] = {}
        self._pipes = record.pipes
        self._ours: dict[str, int] = {}
        self._names: dict[str, str] = {}
        self._found: dict[int, tuple[int, int]] = {}

    def open(self) -> None:
        """Make the pipes, and fill them."""
        inputs = {program.pipes[0] for program in self.programs}
        for key, pipe in self._pipes.items():
            read, write = os.pipe2(os.O_CLOEXEC)
            self.inherited[key], self._ours[key] = (read, write) if key in inputs else (write, read)
            self._names[key] = os.readlink(f"/proc/self/fd/{read}")
            fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, pipe.size)
            os.write(write, pipe.data)

    def find(self, group: Callable[[str], Subgroup]) -> None:
        """Called when the processes exist and do not run yet; ``group`` finds the sub-cgroup of a run."""
        for program in self.programs:
            for pid in group(f"run-{program.number}").pids():
                if _inner_pid(pid) == program.pid:
                    self._found[program.number] = pid, os.pidfd_open(pid)

    def taken(self, program: SavedProgram) -> tuple[SavedProgram, int, int, list[int]]:
        """A program with the names of its new pipes, its process ID on the host, its pidfd, and our ends of the pipes,
        -1 where there is none; the descriptors belong to the caller. Raises StateError."""
        if program.number not in self._found:
            raise StateError(f'"{program.args[0]}", process {program.pid} of the checkpoint, has not been restored')
        pid, pidfd = self._found.pop(program.number)
        return (replace(program, pipes=[self._names.get(key, key) for key in program.pipes]), pid, pidfd,
                [self._take(key) for key in program.pipes])

    def _take(self, key: str) -> int:
        fd = self._ours.pop(key, -1)
        if fd >= 0 and self._pipes[key].ended:
            os.close(fd)
            return -1
        return fd

    def restored(self) -> None:
        """The processes have their ends of the pipes: close them here."""
        for fd in self.inherited.values():
            os.close(fd)
        self.inherited = {}

    def close(self) -> None:
        """Close what has not been taken."""
        self.restored()
        for fd in (*self._ours.values(), *(pidfd for _, pidfd in self._found.values())):
            os.close(fd)
        self._ours, self._found = {}, {}
