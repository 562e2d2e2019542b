"""Saves a sandbox in a directory: its programs with their memory, and its files (checkpoint_record.py).

CRIU saves init and its descendants. The sandbox's mounts come from outside for it: the restored sandbox makes them as
a new one does, with the saved files in them. The other ends of the programs' pipes are outside, too: the restored
sandbox has new pipes, which hold what had not been read from the old ones.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from select import POLLHUP, poll
from time import monotonic, sleep

from pyruntime.errors import CriuError, HostError, StateError, UsageError
from pyruntime.images.store.trees import remove
from pyruntime.sandbox.checkpoint_record import SandboxRecord, SavedPipe, SavedProgram, written_options
from pyruntime.sandbox.host_files import open_for_writers
from pyruntime.sandbox.leftovers import place
from pyruntime.sandbox.private_mounts import call
from pyruntime.sandbox.sources import Prepared, written
from pyruntime.sandbox.trees import copy_tree, dress_like, opened
from pyruntime.system import kernel
from pyruntime.system.processes import ended, inner_pid
from pyruntime.system.restrictions import capable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from pyruntime.sandbox.container import SandboxContainer
    from pyruntime.sandbox.run import Run

# Of both requests to CRIU: connections within the sandbox, and locks of its files.
CRIU_OPTIONS: Mapping[str, Any] = {"tcp_established": True, "file_locks": True}
_LEAST = (6, 15)   # PIDFD_GET_INFO with PIDFD_INFO_EXIT
_PATIENCE = 10.0   # seconds for programs to execute others
_LIMITED = "\n  CRIU works within the sandbox's limits, which must leave room for 4 processes and 8 MiB of memory"
_ROOM = "free some there, or name another directory"


def require_checkpoints(user: tuple[int, int], network: str | None) -> None:
    """Raise HostError or UsageError where a sandbox of this user and network could not be saved."""
    if os.geteuid():
        raise HostError("checkpointable sandboxes need root: CRIU saves processes with the rights of the host's root")
    release = os.uname().release
    if tuple(int(part) for part in re.findall(r"\d+", release)[:2]) < _LEAST:
        raise HostError(f"checkpointable sandboxes need Linux {_LEAST[0]}.{_LEAST[1]} or later, which reports the"
                        f" exit status of programs that are not children of the calling program: this is {release}")
    if user != (os.geteuid(), os.getegid()) and not capable("CAP_SYS_RESOURCE"):
        raise HostError(f"checkpointable sandboxes of user {user[0]}, group {user[1]} need CAP_SYS_RESOURCE, for CRIU"
                        " to read the limits of their programs: give it to this program, or give user=0")
    if network:
        raise UsageError(f'network "{network}": CRIU does not restore the interface of a network: leave out network, or'
                         " checkpointable")


def save(container: SandboxContainer, path: str | os.PathLike[str], options: Mapping[str, Any], runs: Sequence[Run],
         *, number: int, last: bool) -> None:
    """Write a checkpoint, whole or not at all. ``number``: of the last run; ``last``: no process executes anything
    afterwards. Raises UsageError if the path exists or its directory does not, StateError, HostError, CriuError; then
    the processes go on, and nothing is left. Raises PyruntimeError if they do not die in the end; then the checkpoint
    is there."""
    path = os.path.abspath(path)
    directory, name = os.path.split(path)
    if os.path.lexists(path):
        raise UsageError(f'"{path}" exists: remove it, or name another directory for the checkpoint')
    with ExitStack() as held, ExitStack() as undo:
        try:
            above = held.enter_context(opened(directory))
        except OSError as error:
            raise UsageError(f'"{directory}": {error.strerror}: make it, or name another directory for the checkpoint'
                             ) from None
        # By descriptors, in case others may rename directories above this one.
        part = os.path.basename(tempfile.mkdtemp(prefix=f"{name}.", dir=f"/proc/self/fd/{above}"))   # mode 0700
        undo.callback(remove, f"/proc/self/fd/{above}/./{part}")   # "/.": it follows no link to the directory above
        top = held.enter_context(opened(part, above))
        here = f"/proc/self/fd/{top}"
        os.mkdir("files", dir_fd=top)
        with container.entrance.changing, _settled(container):
            if found := open_for_writers(container.pids(), container.entrance.pid, (
                    mount.source for mount in options["mounts"] if mount.writable)):
                raise StateError(f"cannot save {container.name}: {found}, in a writable mount of the host, where it may"
                                 " be another file at the restore: close it before, or mount it read-only")
            with without_log():
                container.dump(f"{here}/image", call(_devices, container.prepared, base=container.namespace))
            programs = list(_programs(runs))
            # CRIU itself makes the pipes again that lead from a program to another.
            keys = ({program.pipes[0] for program in programs}
                    ^ {key for program in programs for key in program.pipes[1:]}) - {""}
            record = _record(container.prepared, options=written_options(options), runs=number, programs=programs,
                             pipes=_pipes(container.pids(), keys))
            with opened("files", top) as fd:
                call(_save_files, container.prepared, fds=[fd], base=container.namespace)
            with open(f"{here}/sandbox.json", "xb") as file:
                file.write(record.encoded())
            os.rename(part, name, src_dir_fd=above, dst_dir_fd=above)
            undo.pop_all()
            if last:
                container.kill_still()


@contextmanager
def _settled(container: SandboxContainer) -> Iterator[None]:
    """As SandboxContainer.still, at a moment when no program waits in vfork(2), where CRIU cannot stop it. Raises
    HostError if no such moment comes."""
    end = monotonic() + _PATIENCE
    while monotonic() < end:
        with container.still():
            if not any(map(_vforks, container.pids())):
                yield
                return
        sleep(0.005)
    raise HostError(f"cannot save {container.name}: one of its programs waits in vfork(2) for its child: try again"
                    " later")


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
            pid = inner_pid(run.pid)
            if not ended(run.pidfd, 0):   # until here it was no other process's ID
                yield SavedProgram(run.number, pid, list(run.args), run.seconds_left(), run.text, run.streams)


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
        return SavedPipe(_unread(fd, size), size, ended)
    finally:
        os.close(fd)


def _unread(fd: int, size: int) -> bytes:
    """What is in a pipe of this size, and stays there."""
    read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, size)
        try:
            left = kernel.tee(fd, write, size)
        except BlockingIOError:   # it is empty
            return b""
        data = b""
        while len(data) < left:   # one packet at a time, if it has packets (pipe2(2), O_DIRECT)
            data += os.read(read, left)
        return data
    finally:
        os.close(read)
        os.close(write)


@contextmanager
def without_log() -> Iterator[None]:
    """CRIU's log is removed with the rest: its errors are in the message. If CRIU has died, so is the likely reason."""
    try:
        yield
    except CriuError as error:
        text = str(error).partition("\n  log file: ")[0]
        raise CriuError(text + _LIMITED * error.died) from None
