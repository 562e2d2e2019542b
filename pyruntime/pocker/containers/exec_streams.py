"""Pipes as the standard streams of a command in a container: `exec` without a terminal.

The command does not get the caller's own streams. It could open a file again by /proc/self/fd, and read or overwrite it
whatever it was opened for; and it could read from the caller's terminal for as long as it likes.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal itself imports enum, which takes 5 ms
import os
import select

from pyruntime.system.signals import FORWARDED, Insistence
from pyruntime.system.streams import Inlet, Outlet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_REST = 1 << 20   # bytes of an output that are passed on after the exit; a pipe holds no more


class Pipe:
    """Copies one stream to another, no faster than the target is read."""

    def __init__(self, source: Inlet, target: Outlet) -> None:
        self.source = source
        self.target = target

    @property
    def over(self) -> bool:
        """Whether the source has ended, or the target is closed."""
        return self.target.gone or (self.source.ended and not self.target.pending)

    def register(self, poll: select.poll) -> None:
        """Register the descriptors that can make progress."""
        if self.target.pending:
            poll.register(self.target.fd, select.POLLOUT)
        if not self.source.ended and not self.target.full:
            poll.register(self.source.fd, select.POLLIN)

    def pump(self) -> None:
        """Copy the available data."""
        self.target.flush()
        if not self.source.ended and not self.target.full:
            self.target.put(self.source.take())

    def close(self) -> None:
        """Close both."""
        self.source.close()
        self.target.close()


class Piped:
    """The pipes of one command. ``stdin``: pass on standard input; otherwise the command has none.

    From now on signals do not act on this process, but are kept for the command.
    """

    def __init__(self, *, stdin: bool) -> None:
        self._ours: dict[int, int] = {}      # stream -> this process's end
        self._theirs: dict[int, int] = {}    # stream -> the command's end
        self._insistence = Insistence("the program")
        if stdin:
            self._theirs[0], self._ours[0] = os.pipe2(os.O_CLOEXEC)
        else:
            self._theirs[0] = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        for stream in (1, 2):
            self._ours[stream], self._theirs[stream] = os.pipe2(os.O_CLOEXEC)
        self._wake, signalled = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        _signal.set_wakeup_fd(signalled, warn_on_full_buffer=False)
        for number in FORWARDED:
            _signal.signal(number, lambda number, frame: None)

    def start(self, start: Callable[[], int]) -> int:
        """Start the command by ``start``, which returns its process ID, a child of this process; descriptors 0, 1 and 2
        are its streams meanwhile."""
        kept = {stream: _duplicate(stream) for stream in self._theirs}
        try:
            for stream, end in self._theirs.items():
                os.dup2(end, stream)
            return start()
        finally:
            for stream, ours in kept.items():
                os.close(self._theirs[stream])
                if ours < 0:   # it was closed by the caller
                    os.close(stream)
                else:
                    os.dup2(ours, stream)
                    os.close(ours)

    def wait(self, pid: int) -> int:
        """Copy the streams until the command exits; its exit status.

        Processes that it leaves behind may hold its streams, and are not waited for. Raises Interrupted if the command
        ignores signals.
        """
        pidfd = os.pidfd_open(pid)
        pipes = {stream: Pipe(Inlet(0), Outlet(ours, own=True)) if stream == 0 else
                 Pipe(Inlet(ours, own=True), Outlet(stream)) for stream, ours in self._ours.items()}
        try:
            while True:
                ready = self._poll(pidfd, pipes)
                if self._wake in ready:
                    self._forward(pid)
                for stream, pipe in list(pipes.items()):
                    pipe.pump()
                    if pipe.over:   # the command reads an end of file, or gets SIGPIPE
                        os.close(self._ours[stream])
                        pipes.pop(stream).close()
                if pidfd in ready:
                    self._pass_on_rest([pipe for stream, pipe in pipes.items() if stream != 0])
                    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    return 128 - code if code < 0 else code
        finally:
            os.close(pidfd)
            for pipe in pipes.values():   # resets O_NONBLOCK, which the caller's shell shares
                pipe.close()

    def _poll(self, pidfd: int, pipes: dict[int, Pipe]) -> set[int]:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        for pipe in pipes.values():
            pipe.register(poll)
        return {fd for fd, _ in poll.poll()}

    def _pass_on_rest(self, pipes: list[Pipe]) -> None:
        """Copy the output that was written before the exit, as fast as it is read; a signal ends that."""
        for pipe in pipes:
            left = _REST
            while not pipe.target.gone:
                if left > 0 and not pipe.target.full and (data := pipe.source.take()):
                    left -= len(data)
                    pipe.target.put(data)
                elif pipe.target.pending:
                    poll = select.poll()
                    poll.register(self._wake, select.POLLIN)
                    poll.register(pipe.target.fd, select.POLLOUT)
                    if any(fd == self._wake for fd, _ in poll.poll()) and any(
                            number in FORWARDED for number in os.read(self._wake, 4096)):
                        return
                    pipe.target.flush()
                else:
                    break

    def _forward(self, pid: int) -> None:
        for number in os.read(self._wake, 4096):
            if number in FORWARDED:
                self._insistence.add(number)
                try:
                    os.kill(pid, number)   # a child of this process: its ID is not reused before we have waited for it
                except ProcessLookupError:
                    return


def _duplicate(fd: int) -> int:
    try:
        return os.dup(fd)
    except OSError:
        return -1
