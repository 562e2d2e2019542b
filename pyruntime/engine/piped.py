"""A program of a container whose standard streams are pipes, and what goes through them: for `exec` without a terminal.

The program does not get our own streams. What is a file here it could open anew by /proc/self/fd, to read it or to
write over it whatever it was opened for; and what is a terminal here it could read from as long as it likes.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal itself imports enum, which takes 5 ms
import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_CHUNK = 1 << 16
# Not forwarded: what is about us, or what cannot be caught.
_OURS = {_signal.SIGCHLD, _signal.SIGKILL, _signal.SIGSTOP, _signal.SIGURG, _signal.SIGWINCH, _signal.SIGTTIN,
         _signal.SIGTTOU, _signal.SIGTSTP, _signal.SIGCONT, _signal.SIGPIPE}
_FORWARDED = {*range(1, 32), *range(_signal.SIGRTMIN, _signal.SIGRTMAX + 1)} - _OURS


class Piped:
    """The pipes of one program. ``stdin``: whether it gets our input; otherwise it has none.

    From the beginning signals do not act on us, but are kept for the program.
    """

    def __init__(self, *, stdin: bool) -> None:
        self._input = -1                     # our end of the program's input
        self._pending = b""                  # what it has not taken yet
        self._outputs: dict[int, int] = {}   # our end of an output -> our stream that it goes to
        self._theirs: dict[int, int] = {}    # stream -> the program's end
        if stdin:
            self._theirs[0], self._input = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self._input, False)
        else:
            self._theirs[0] = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        for stream in (1, 2):
            reader, self._theirs[stream] = os.pipe2(os.O_CLOEXEC)
            self._outputs[reader] = stream
        self._wake, signalled = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        _signal.set_wakeup_fd(signalled, warn_on_full_buffer=False)
        for number in _FORWARDED:
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

        What it leaves running may hold its streams, and is not waited for.
        """
        pidfd = os.pidfd_open(pid)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        for reader in self._outputs:
            poll.register(reader, select.POLLIN)
        if self._input >= 0:
            poll.register(0, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poll.poll()]
            for fd in ready:
                if fd == self._wake:
                    self._forward(pid)
                elif fd in self._outputs:
                    if not self._pass_on(fd):
                        self._close_output(fd, poll)
                elif fd in (0, self._input):
                    self._feed(fd, poll)
            if pidfd in ready:
                for reader in self._outputs:
                    os.set_blocking(reader, False)
                    while self._pass_on(reader):
                        pass
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                return 128 - code if code < 0 else code

    def _forward(self, pid: int) -> None:
        for number in os.read(self._wake, 4096):
            if number in _FORWARDED:
                try:
                    os.kill(pid, number)   # it is our child: nobody else has its number before we have waited for it
                except ProcessLookupError:
                    return

    def _pass_on(self, reader: int) -> bool:
        """One read of an output; False where there is nothing more, or nobody who wants it."""
        try:
            data = os.read(reader, _CHUNK)
            view = memoryview(data)
            while view:
                view = view[os.write(self._outputs[reader], view):]
        except OSError:   # nothing for now, at the end; or our own reader has gone (EPIPE), or our disk is full
            return False
        return bool(data)

    def _close_output(self, reader: int, poll: Any) -> None:
        """The program hears by SIGPIPE that nobody reads."""
        poll.unregister(reader)
        os.close(reader)
        del self._outputs[reader]

    def _feed(self, fd: int, poll: Any) -> None:
        """Our input is read when the program has taken what came before."""
        if fd == 0:
            try:
                self._pending = os.read(0, _CHUNK)
            except OSError:   # EIO: our terminal has been hung up
                self._pending = b""
            poll.unregister(0)
            if self._pending:
                poll.register(self._input, select.POLLOUT)
            else:
                self._end_input()
            return
        try:
            self._pending = self._pending[os.write(fd, self._pending):]
        except BlockingIOError:
            return
        except OSError:   # EPIPE: the program has closed its input
            poll.unregister(fd)
            self._end_input()
            return
        if not self._pending:
            poll.unregister(fd)
            poll.register(0, select.POLLIN)

    def _end_input(self) -> None:
        os.close(self._input)
        self._input = -1


def _duplicate(fd: int) -> int:
    try:
        return os.dup(fd)
    except OSError:
        return -1
