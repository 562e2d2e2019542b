"""Restores a sandbox from a directory that checkpoint.py has written: the source of its root filesystem, and its
processes.

CRIU does what the files of the directory say, with root's privileges. So the directory is opened once, has to be this
user's alone, and everything is read through its descriptor: whoever may rename directories above it cannot exchange it.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from stat import S_IMODE, S_ISREG

from pyruntime.errors import StateError, UsageError
from pyruntime.images.api import ImageStore
from pyruntime.images.store.store import Store
from pyruntime.sandbox.checkpoint_record import SandboxRecord, SavedProgram
from pyruntime.sandbox.host_errors import told
from pyruntime.sandbox.leftovers import place
from pyruntime.sandbox.sources import HostMount, Prepared, RootSource, StoredImage, copied
from pyruntime.sandbox.trees import opened
from pyruntime.system import kernel
from pyruntime.system.files import reopen
from pyruntime.system.processes import inner_pid
from pyruntime.system.uapi import MS_BIND

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pyruntime.runtime.cgroups.subgroup import Subgroup


@contextmanager
def opened_checkpoint(path: str | os.PathLike[str]) -> Iterator[tuple[SavedSource, dict[str, Any]]]:
    """The root filesystem with the processes of a checkpoint, for one sandbox, and the sandbox's options. Raises
    UsageError, RecordError."""
    path = os.path.abspath(path)
    with ExitStack() as held:
        try:
            top = held.enter_context(opened(path))
            _check_owner(os.fstat(top), path)
            if mode := S_IMODE(os.fstat(top).st_mode) & 0o077:
                raise UsageError(f'"{path}": others may read or change it (mode bits {mode:03o}), and CRIU does what'
                                 f" its files say, with root's privileges: if nobody has changed it, chmod 700 {path}")
            image = held.enter_context(opened("image", top))
            _check_owner(os.fstat(image), f"{path}/image")
            for name in os.listdir(image):
                _check_file(os.stat(name, dir_fd=image, follow_symlinks=False), f"{path}/image/{name}")
            _check_file(os.stat("sandbox.json", dir_fd=top, follow_symlinks=False), f"{path}/sandbox.json")
            with open(f"/proc/self/fd/{top}/sandbox.json", "rb") as file:
                data = file.read()
        except OSError as error:
            raise UsageError(f'"{path}" is not a checkpoint of a sandbox: {error.strerror}') from None
        record = SandboxRecord.parse(data, f"{path}/sandbox.json", "make another checkpoint")
        yield SavedSource(path, top, record), record.options


def _check_owner(found: os.stat_result, path: str) -> None:
    if found.st_uid != os.geteuid():
        raise UsageError(f'"{path}" belongs to user {found.st_uid}: only a checkpoint of user {os.geteuid()} can be'
                         " restored, because CRIU does what its files say, with root's privileges")


def _check_file(found: os.stat_result, path: str) -> None:
    _check_owner(found, path)
    if not S_ISREG(found.st_mode):
        raise UsageError(f'"{path}" is not a regular file, as all of a checkpoint are: make another checkpoint')


def _bound() -> str:
    """Where a checkpoint is, in the mount namespace of a sandbox that is restored from it."""
    return f"{place()}/saved"


class SavedSource(RootSource):
    """The files of a checkpoint, and its processes; for one sandbox.

    ``path``  as the user has named it; ``top``: an open descriptor of it
    """

    def __init__(self, path: str, top: int, record: SandboxRecord) -> None:
        self._path = path
        self._top = f"/proc/self/fd/{top}"
        self._record = record
        self._image: StoredImage | None = None
        self.processes = SavedProcesses(f"{self._top}/image", record)

    def resolve(self, held: ExitStack) -> RootSource:
        """Itself; the image is kept. Raises NoSuchImage."""
        if self._record.image:
            root, name = self._record.image
            image = ImageStore(root).find(name)
            self._image = StoredImage(root, image.id, image.layers(), self._record.env, self._record.cwd)
            self._image.keep(held)
        return self

    def enter(self, scratch: str) -> None:
        """Mount the directory where its name means the same for as long as the sandbox lives. Raises HostError."""
        os.makedirs(_bound(), 0o700, exist_ok=True)
        with told(f'open the checkpoint "{self._path}"'):
            top = reopen(self._top)   # layers have to be of this mount namespace
            try:
                kernel.mount(f"/proc/self/fd/{top}", _bound(), "none", MS_BIND, "")
            finally:
                os.close(top)

    def prepare(self, scratch: str, user: tuple[int, int]) -> Prepared:
        """The same layers, and copies of everything above them."""
        record = self._record
        layers = record.layers
        if self._image:
            layers = Store.open(self._image.root).extract_layers(list(self._image.wanted)).directories
        for layer in layers:
            if not os.path.isdir(layer):
                raise UsageError(f'the root filesystem "{layer}" of the checkpoint "{self._path}" is not there: put it'
                                 " back")
        files = f"{_bound()}/files"
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
                if inner_pid(pid) == program.pid:
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
