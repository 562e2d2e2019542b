"""The standard streams of a process, as the client names them: FIFOs, ``file://``, ``binary://``, or nothing.

The scheme of standard output decides for both outputs. The process gets the client's FIFO itself, so nothing is copied
and nothing is lost when this server ends. The monitor opens FIFOs, and holds the other ends: a client may close its end
and open it again, and the process meets neither EPIPE nor the end of its input meanwhile. With a terminal, the monitor
copies.
"""

from __future__ import annotations

import fcntl
import os
import select
from signal import SIGPIPE, SIGXFSZ
from stat import S_ISFIFO
from urllib.parse import parse_qsl, unquote, urlsplit

from pyruntime.errors import HostError, UsageError
from pyruntime.system.processes import SIGKILL, SIGTERM, alive, ended, send_signal, start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE = 10.0        # seconds for a logger to be ready
_LOGGER_ENDS = 12.0     # seconds for a logger after SIGTERM, as with the reference shim
_NULL = "/dev/null"


class ProcessStreams:
    """Open streams of one process.

    ``child``         the descriptors 0, 1 and 2 of the process, -1 for a FIFO; with a terminal, where the monitor
                      copies from and to
    ``fifos``         the paths of FIFOs for 0, 1 and 2, which the monitor opens; ""
    ``held``          descriptors that the monitor holds for the process
    ``loggers``       pid and start time of each program of ``binary://``
    """

    def __init__(self) -> None:
        self.child: list[int] = []
        self.fifos = ["", "", ""]
        self.held: list[int] = []
        self.loggers: list[list[int]] = []

    def close(self) -> None:
        """Close our copies; the process and the monitor have theirs."""
        for fd in (*self.child, *self.held):
            if fd >= 0:
                os.close(fd)
        self.child, self.held = [], []


class StreamNames:
    """Where the streams lead, as a request says. ``terminal``: standard error is the same as standard output."""

    def __init__(self, stdin: str, stdout: str, stderr: str, *, terminal: bool, owner: tuple[int, int] = (0, 0)
                 ) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.terminal = terminal
        self.owner = owner


def open_streams(target: StreamNames, environment: dict[str, str]) -> ProcessStreams:
    """Open the streams, but for FIFOs; ``environment`` is that of a logger. Raises HostError, UsageError: then nothing
    is left open."""
    streams = ProcessStreams()
    try:
        _add(target.stdin, os.O_RDONLY, streams)
        scheme = _scheme(target.stdout)
        if scheme not in _SCHEMES:
            raise UsageError(f'unknown STDIO scheme "{scheme}": use fifo, file or binary')
        _SCHEMES[scheme](target, streams, environment)
        if any(target.owner):   # so that the root of a user namespace can open them
            _give_away(streams, target.owner)
    except OSError as error:
        _abandon(streams)
        raise HostError(f'cannot open the stream "{error.filename or target.stdout}": {error.strerror}') from None
    except BaseException:
        _abandon(streams)
        raise
    return streams


def _abandon(streams: ProcessStreams) -> None:
    streams.close()
    end_loggers(streams.loggers, patience=0)


def _scheme(uri: str) -> str:
    return "" if uri.startswith("/") else urlsplit(uri).scheme


def _path(uri: str) -> str:
    return unquote(urlsplit(uri).path) if _scheme(uri) else uri


def _give_away(streams: ProcessStreams, owner: tuple[int, int]) -> None:
    opened: list[int | str] = [fd for fd in streams.child if fd >= 0]
    for stream in opened + [path for path in streams.fifos if path]:
        if S_ISFIFO(os.stat(stream).st_mode):
            os.chown(stream, *owner)


def _add(uri: str, mode: int, streams: ProcessStreams) -> None:
    """The next stream: a FIFO, or nothing."""
    if uri:
        streams.fifos[len(streams.child)] = _path(uri)
    streams.child.append(-1 if uri else os.open(_NULL, mode | os.O_CLOEXEC))


def _fifos(target: StreamNames, streams: ProcessStreams, _environment: dict[str, str]) -> None:
    for uri in (target.stdout, "" if target.terminal else target.stderr):
        _add(uri, os.O_WRONLY, streams)


def _files(target: StreamNames, streams: ProcessStreams, _environment: dict[str, str]) -> None:
    path = _path(target.stdout)
    os.makedirs(os.path.dirname(path) or "/", 0o755, exist_ok=True)
    for _ in range(2):   # both outputs append to one file
        streams.child.append(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644))


def _binary(target: StreamNames, streams: ProcessStreams, environment: dict[str, str]) -> None:
    """A program of the client's reads the output: descriptor 3 standard output, 4 standard error; on 5 it says that it
    is ready, by a byte or (binary only) by closing it."""
    uri = urlsplit(target.stdout)
    program = unquote(uri.path)
    words = [program, *(word for pair in parse_qsl(uri.query, keep_blank_values=True) for word in pair)]
    pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(3)]
    readers, writers = [pipe[0] for pipe in pipes], [pipe[1] for pipe in pipes]
    streams.child += writers[:2]
    given = [readers[0], readers[1], writers[2]]
    try:
        above = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 16) for fd in given]   # they may be 3 to 5 themselves
        try:
            actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(above, 3)]
            pid = os.posix_spawn(program, words, environment, file_actions=actions, setsid=True,
                                 setsigdef=[SIGPIPE, SIGXFSZ])   # which Python ignores
        finally:
            for fd in above:
                os.close(fd)
        streams.loggers.append([pid, start_time(pid)])
        for fd in given:
            os.close(fd)
        given = []
        if not _is_ready(readers[2], needs_byte=uri.scheme == "binary-v2"):
            raise HostError(f'the logging program "{program}" did not become ready')
    finally:
        os.close(readers[2])
        for fd in given:
            os.close(fd)


def _is_ready(fd: int, *, needs_byte: bool) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(_PATIENCE * 1000)) and (bool(os.read(fd, 1)) or not needs_byte)


_SCHEMES: dict[str, Callable[[StreamNames, ProcessStreams, dict[str, str]], None]] = {
    "": _fifos, "fifo": _fifos, "file": _files, "binary": _binary, "binary-v2": _binary}


def end_loggers(loggers: list[list[int]], *, patience: float = 1.0) -> None:
    """Let the loggers read the rest, then end them: they have seen the end of their input."""
    for pid, started in loggers:
        for seconds, number in ((patience, SIGTERM), (_LOGGER_ENDS, SIGKILL)):
            if _has_ended(pid, started, seconds):
                break
            try:
                send_signal(pid, started, number)
            except ProcessLookupError:
                break
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            continue   # started by an earlier server


def _has_ended(pid: int, started: int, seconds: float) -> bool:
    if not alive(pid, started):
        return True
    pidfd = os.pidfd_open(pid)
    try:
        return ended(pidfd, seconds)
    finally:
        os.close(pidfd)
