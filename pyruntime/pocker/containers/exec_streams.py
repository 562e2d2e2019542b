"""A program of a container whose standard streams are pipes, and what goes through them: for `exec` without a terminal.

The program does not get our own streams. What is a file here it could open anew by /proc/self/fd, to read it or to
write over it whatever it was opened for; and what is a terminal here it could read from as long as it likes.
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

_REST = 1 << 20   # bytes of an output that are still passed on when the program has ended; a pipe holds no more


class Pipe:
    """What goes from one stream to another, no faster than it is taken."""

    def __init__(self, source: Inlet, target: Outlet) -> None:
        self.source = source
        self.target = target

    @property
    def over(self) -> bool:
        """Nothing more comes, or nobody wants it."""
        return self.target.gone or (self.source.ended and not self.target.pending)

    def register(self, poll: select.poll) -> None:
        """Wait for what it can go on with."""
        if self.target.pending:
            poll.register(self.target.fd, select.POLLOUT)
        if not self.source.ended and not self.target.full:
            poll.register(self.source.fd, select.POLLIN)

    def pump(self) -> None:
        """Pass on what can be passed on now."""
        self.target.flush()
        if not self.source.ended and not self.target.full:
            self.target.put(self.source.take())

    def close(self) -> None:
        """Close both."""
        self.source.close()
        self.target.close()


class Piped:
    """The pipes of one program. ``stdin``: whether it gets our input; otherwise it has none.

    From the beginning signals do not act on us, but are kept for the program.
    """

    def __init__(self, *, stdin: bool) -> None:
        self._ours: dict[int, int] = {}      # stream -> our end of it
        self._theirs: dict[int, int] = {}    # stream -> the program's end
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
        """Start the program by ``start``, which returns its pid, a child of ours; its streams are 0, 1 and 2 then."""
        kept = {stream: _duplicate(stream) for stream in self._theirs}
        try:
            for stream, end in self._theirs.items():
                os.dup2(end, stream)
            return start()
        finally:
            for stream, ours in kept.items():
                os.close(self._theirs[stream])
                if ours < 0:   # it was closed when we were called
                    os.close(stream)
                else:
                    os.dup2(ours, stream)
                    os.close(ours)

    def wait(self, pid: int) -> int:
        """Pass on what comes until the program ends; its status as a shell has it.

        What it leaves running may hold its streams, and is not waited for. Raises Interrupted where it ignores signals.
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
                    if pipe.over:   # the program reads an end of its input, or gets SIGPIPE by its output
                        os.close(self._ours[stream])
                        pipes.pop(stream).close()
                if pidfd in ready:
                    self._pass_on_rest([pipe for stream, pipe in pipes.items() if stream != 0])
                    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    return 128 - code if code < 0 else code
        finally:
            os.close(pidfd)
            for pipe in pipes.values():   # or the terminal of another user's shell would stay non-blocking
                pipe.close()

    def _poll(self, pidfd: int, pipes: dict[int, Pipe]) -> set[int]:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        for pipe in pipes.values():
            pipe.register(poll)
        return {fd for fd, _ in poll.poll()}

    def _pass_on_rest(self, pipes: list[Pipe]) -> None:
        """What it wrote before it ended, as fast as that is taken; a signal ends that."""
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
                    os.kill(pid, number)   # it is our child: nobody else has its number before we have waited for it
                except ProcessLookupError:
                    return


def _duplicate(fd: int) -> int:
    try:
        return os.dup(fd)
    except OSError:
        return -1
