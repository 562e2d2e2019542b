"""A command in a running container: `exec`."""

from __future__ import annotations

import os
import select

from pyruntime.errors import PyruntimeError, StateError, told, words
from pyruntime.images.users import find_group, find_user
from pyruntime.pocker.containers.status import PAUSED, RUNNING, status_of
from pyruntime.pocker.events import of_container
from pyruntime.runtime.api import Runtime
from pyruntime.system.json import decode, encode
from pyruntime.system.names import new_id
from pyruntime.system.user_namespace import setgroups_denied
from pyruntime.system.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

    from pyruntime.pocker.containers.container import Container, ContainerRecord
    from pyruntime.pocker.containers.status import Status

_CHUNK = 1 << 16


class ExecResult(Value):
    """The end of a command: its exit status (128 + N if signal N killed the command) and its output."""

    status: int
    stdout: bytes = b""
    stderr: bytes = b""


class ContainerExec:
    """A command of a running container. Raises StateError for a container that is not running, UsageError, ImageError
    for a user that the container does not have."""

    def __init__(self, container: Container, args: Sequence[str], *, env: Sequence[str] = (), user: str = "",
                 workdir: str = "", terminal: bool = False, privileged: bool = False) -> None:
        self._container = container
        self._record = container.read()
        self._args = list(args)
        status = status_of(container)
        name = self._record.name
        if status.word == PAUSED:
            raise StateError(f'container "{name}" is paused: `pocker unpause {name}`')
        if status.word != RUNNING:
            raise StateError(f'container "{name}" is not running: `pocker start {name}`')
        self._options: dict[str, Any] = {"env": env, "cwd": workdir, "terminal": terminal}
        if user:
            self._options |= _user(self._record, status, user)
        if privileged:
            from pyruntime.system.uapi import ALL_CAPABILITIES  # lazy: only with other capabilities

            self._options["capabilities"] = ALL_CAPABILITIES
        self._id = new_id()

    def announce(self) -> None:
        """Record the start of the command in the events."""
        for action in ("exec_create", "exec_start"):
            of_container(self._container.places, self._record, f"{action}: {' '.join(self._args)}", execID=self._id)

    def run(self, **how: Any) -> int:
        """Run the command: its exit status, or with ``detach`` its process ID. ``how`` are further arguments of
        Runtime.exec."""
        return Runtime(self._container.places.runtime).exec(self._container.id, self._args, **self._options, **how)

    def ended(self, status: int) -> None:
        """Record the end of the command in the events."""
        of_container(self._container.places, self._record, "exec_die", execID=self._id, exitCode=str(status))


def _user(record: ContainerRecord, status: Status, text: str) -> dict[str, Any]:
    """The user and its groups, with those of the container's settings; not those of the container's own user."""
    root = os.open(f"/proc/{status.pid}/root", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        user = find_user(text, root)
        added = [find_group(group, root) for group in record.settings.group_add]
    except PyruntimeError as error:
        error.exit_code = 126   # Docker's exit status for a command that cannot be executed
        raise
    finally:
        os.close(root)
    return {"user": f"{user.uid}:{user.gid}", "groups": added if setgroups_denied() else [*user.groups, *added]}


# --- with its output --------------------------------------------------------------------------------------------------


def capture(execution: ContainerExec, data: bytes) -> ExecResult:
    """Run the command with ``data`` as its standard input, and keep its output.

    In a child process, because the command gets the standard streams of the process that starts it: those of the caller
    stay as they are, whatever its other threads do. Processes that the command leaves behind are not waited for.
    """
    pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(4)]   # input, output, errors, report
    theirs = [pipes[0][0], pipes[1][1], pipes[2][1], pipes[3][1]]
    ours = [pipes[0][1], pipes[1][0], pipes[2][0], pipes[3][0]]
    execution.announce()
    child = os.fork()
    if child == 0:
        _in_child(execution, theirs)
    for fd in theirs:
        os.close(fd)
    try:
        out, err, said = _talk(ours, data)
    finally:
        for fd in ours:
            if fd >= 0:
                os.close(fd)
        os.waitpid(child, 0)
    report = decode(said, "report") if said else {"kind": "", "text": "the process that ran the command was killed"}
    assert isinstance(report, dict)
    if "status" not in report:
        raise told(report["kind"], report["text"])
    execution.ended(report["status"])
    return ExecResult(status=report["status"], stdout=out, stderr=err)


def _in_child(execution: ContainerExec, theirs: list[int]) -> NoReturn:
    """The forked process: never returns. Nothing else of the caller may stay open: the end of an input would not be
    seen as long as another child has its other side."""
    report: dict[str, Any]
    try:
        for number, fd in enumerate(theirs[:3]):
            os.dup2(fd, number)
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2 and int(name) != theirs[3]:
                try:
                    os.close(int(name))
                except OSError:
                    continue   # the descriptor of the listing itself
        pid = execution.run(detach=True)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        for number in range(3):
            os.dup2(null, number)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        report = {"status": 128 - code if code < 0 else code}
    except BaseException as error:
        report = {"kind": type(error).__name__,
                  "text": words(error) if isinstance(error, (PyruntimeError, OSError)) else repr(error)}
    try:
        os.write(theirs[3], encode(report).encode())
    finally:
        os._exit(0)


def _talk(ours: list[int], data: bytes) -> tuple[bytes, bytes, bytes]:
    """Write the input and read output, errors and report until the report is complete; then read the
    remaining output that is available. Finished descriptors are closed, and become -1 in ``ours``."""
    read = {fd: bytearray() for fd in ours[1:]}
    view = memoryview(data)
    for fd in ours:
        os.set_blocking(fd, False)
    while ours[3] >= 0:
        poll = select.poll()
        for fd in ours[1:]:
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        if ours[0] >= 0:
            poll.register(ours[0], select.POLLOUT)
        ready = {fd for fd, _ in poll.poll()}
        if ours[0] in ready:
            view = _feed(ours, view)
        for place in (1, 2, 3):
            if ours[place] in ready and not _drain(ours[place], read[ours[place]]):
                read[-place] = read.pop(ours[place])
                os.close(ours[place])
                ours[place] = -1
    for place in (1, 2):
        if ours[place] >= 0:
            _drain(ours[place], read[ours[place]])
            read[-place] = read.pop(ours[place])
    return bytes(read[-1]), bytes(read[-2]), bytes(read[-3])


def _feed(ours: list[int], view: memoryview) -> memoryview:
    """Write what the command takes now; close its input when all is written or the command reads no more."""
    try:
        view = view[os.write(ours[0], view[:_CHUNK]):] if view else view
    except BlockingIOError:
        return view
    except BrokenPipeError:
        view = view[:0]
    if not view:
        os.close(ours[0])
        ours[0] = -1
    return view


def _drain(fd: int, found: bytearray) -> bool:
    """Read the available data; False at the end."""
    while True:
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return True
        if not data:
            return False
        found += data
