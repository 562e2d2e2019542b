"""`run` in the foreground: signals and the terminal forwarded, the program's exit status returned."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal itself imports enum, which takes 5 ms
import os
import select
import sys
from _thread import get_native_id

from pyruntime.errors import PyruntimeError
from pyruntime.system.signals import SIGNALS
from pyruntime.system.streams import Inlet, Outlet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyruntime.runtime.lifecycle.notify import NotifyRelay
    from pyruntime.system.signals import Insistence

_KEPT = {SIGNALS[name] for name in ("CHLD", "KILL", "STOP", "URG", "WINCH", "TTIN", "TTOU", "TSTP")}
FORWARDED = {*range(1, 32), *range(34, 65)} - _KEPT   # 32 and 33 belong to the C library (nptl(7))
_REST = 1 << 20   # bytes that are still forwarded when the program has exited; a terminal buffers less
_HUNG_UP = 50     # milliseconds between checks of a terminal that no program has open


class Foreground:
    """Between ``begin`` and ``end``, signals do not act on the runtime but are queued for the container.

    ``insistence``  whether the third SIGINT or SIGTERM ends the runtime; None: only the program decides
    """

    def __init__(self, insistence: Insistence | None = None) -> None:
        self._insistence = insistence
        self._wake, self._signalled = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._old: dict[int, Any] = {}
        self._terminal: TerminalRelay | None = None
        self._relay: NotifyRelay | None = None
        self._warn: Callable[[str], None] = lambda text: None

    def begin(self) -> None:
        """Start to collect signals, before there is a container to send them to. In other threads than the main thread
        this does nothing: Python handles signals in the main thread only."""
        if os.getpid() != get_native_id():
            return
        _signal.set_wakeup_fd(self._signalled, warn_on_full_buffer=False)
        for number in (*FORWARDED, _signal.SIGCHLD, _signal.SIGWINCH):
            self._old[number] = _signal.signal(number, lambda number, frame: None)

    def terminal(self, master: int, *, stdin: bool = True) -> None:
        """Forward the caller's terminal to the container's, whose master end is passed; without ``stdin``, forward only
        output."""
        self._terminal = TerminalRelay(master, stdin=stdin)

    def relay(self, relay: NotifyRelay, warn: Callable[[str], None]) -> None:
        """Forward the program's notifications to the service manager; call ``warn`` if the manager cannot be
        reached."""
        self._relay, self._warn = relay, warn

    def leave_to_front(self, pid: int, container_id: str, before: int) -> None:
        """Become the front (native/front/watch.c), which forwards signals until init exits, deletes the container, and
        exits with init's status. It needs 0.1 MB of memory, an interpreter 12. ``before`` is the number of words of our
        command line before `run`. Returns if that is not possible: with a terminal or notifications to forward, or in a
        process that does not run the front."""
        program = os.readlink("/proc/self/exe")
        if (self._terminal or self._relay or not self._old or os.path.basename(program) != "pyruntime"
                or os.environ.get("PYRUNTIME_FRONT") == "off" or container_id.startswith("-")):
            return
        mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, {*FORWARDED, _signal.SIGCHLD})
        try:
            if self._wake in self._poll(-1, patience=0):   # what has come before
                self._forward(pid)
            os.execve(program, sys.argv, {**os.environ, "PYRUNTIME_WATCHED": f"{pid} {before} {container_id}"})
        except OSError:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)

    def wait(self, pid: int, pidfd: int) -> int:
        """Forward until init exits; return its exit status (128 + N when signal N killed it)."""
        terminal = self._terminal
        try:
            if terminal:
                terminal.begin()
            while True:
                ready = self._poll(pidfd)
                if self._wake in ready:
                    self._forward(pid)
                if self._relay and self._relay.fileno() in ready:
                    self._pass_on(self._relay)
                if terminal:
                    terminal.pump()
                if pidfd in ready:   # the exit comes last, after the remaining output of the program
                    self._last_words()
                    if terminal:
                        self._drain(terminal)
                    return _exit_status(pid)
        finally:
            if terminal:
                terminal.end()

    def _poll(self, pidfd: int, patience: int | None = None) -> set[int]:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        if pidfd >= 0:
            poll.register(pidfd, select.POLLIN)
            if self._relay:
                poll.register(self._relay, select.POLLIN)
        if self._terminal:
            patience = self._terminal.register(poll, reading=pidfd >= 0)
        return {fd for fd, _ in poll.poll(patience)}

    def _drain(self, terminal: TerminalRelay) -> None:
        """Forward the remaining output, as fast as it is read; a signal that would end the runtime stops this."""
        terminal.take_rest()
        while terminal.output.pending:
            if self._wake in self._poll(-1) and any(number not in _KEPT for number in os.read(self._wake, 4096)):
                return
            terminal.output.flush()
            terminal.take_rest()

    def _last_words(self) -> None:
        """Forward the remaining notifications, at most 64: processes that outlive the program may keep sending."""
        if self._relay is None:
            return
        poll = select.poll()
        poll.register(self._relay, select.POLLIN)
        for _ in range(64):
            if not poll.poll(0):
                return
            self._pass_on(self._relay)

    def _pass_on(self, relay: NotifyRelay) -> None:
        try:
            relay.pass_on(os.getpid())
        except PyruntimeError as error:
            self._warn(str(error))   # not a reason to end a service

    def _forward(self, pid: int) -> None:
        for number in os.read(self._wake, 4096):
            if number == _signal.SIGWINCH and self._terminal:
                self._terminal.resize()
            elif number not in _KEPT:
                if self._insistence:
                    self._insistence.add(number)
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    return

    def end(self) -> None:
        """Restore the signal handlers."""
        if self._relay:
            self._relay.close()
        if self._old:
            _signal.set_wakeup_fd(-1)
        for number, handler in self._old.items():
            _signal.signal(number, handler)
        os.close(self._wake)
        os.close(self._signalled)


def _exit_status(pid: int) -> int:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return 128 - code if code < 0 else code


class TerminalRelay:
    """The caller's terminal in raw mode on one side, the container's on the other; neither ever blocks the other."""

    def __init__(self, master: int, *, stdin: bool) -> None:
        self.master = master
        self._stdin = stdin
        self.tty = next((fd for fd in (0, 1, 2) if os.isatty(fd)), -1)
        self._saved: list[Any] | None = None
        self._typed = Outlet(master, own=True)
        self._written = Inlet(master, own=True)
        self._left = _REST
        self.input = Inlet(0)
        self.input.ended = not stdin
        self.output = Outlet(1)
        self.resize()   # before `start`: the program may query the size at once

    def begin(self) -> None:
        """Switch the caller's terminal to raw mode if input is forwarded."""
        if self._stdin and os.isatty(0):
            import termios  # lazy: only with a terminal
            import tty

            self._saved = termios.tcgetattr(0)
            tty.setraw(0, termios.TCSANOW)   # keep pending input for the program

    def resize(self) -> None:
        """Set the size of the container's terminal to that of the caller's."""
        if self.tty >= 0:
            import fcntl  # lazy: only with a terminal
            import termios

            size = fcntl.ioctl(self.tty, termios.TIOCGWINSZ, bytes(8))
            if size[:4] != bytes(4):
                fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)

    def register(self, poll: select.poll, *, reading: bool) -> int | None:
        """Register the descriptors to poll; return the timeout in milliseconds (None: no timeout)."""
        if self.output.pending:
            poll.register(self.output.fd, select.POLLOUT)
        if not reading:
            return None
        if not self.input.ended and not self._typed.full:
            poll.register(self.input.fd, select.POLLIN)
        events = (select.POLLOUT if self._typed.pending else 0) | (0 if self.output.full else select.POLLIN)
        if self._written.ended:   # no program has it open: poll(2) would return at once, again and again
            return _HUNG_UP
        if events:
            poll.register(self.master, events)
        return None

    def pump(self) -> None:
        """Forward in both directions as much as possible without blocking."""
        if not self.input.ended and not self._typed.full:
            self._typed.put(self.input.take())
            if self.input.ended:
                # End of input; on a terminal, a character at the beginning of a line reports that.
                self._typed.put(b"\x04")
        self._typed.flush()
        self.output.flush()
        if not self.output.full:
            self.output.put(self._written.take())

    def take_rest(self) -> None:
        """Read the remaining output as far as there is room; processes that outlive the program may keep writing."""
        while self._left > 0 and not self.output.full and (data := self._written.take()):
            self._left -= len(data)
            self.output.put(data)

    def end(self) -> None:
        """Restore the settings of the caller's terminal."""
        if self._saved is not None:
            import termios  # lazy: only with a terminal

            try:   # noqa: SIM105  # contextlib is too dear for commands
                termios.tcsetattr(0, termios.TCSANOW, self._saved)   # draining would wait for a reader
            except termios.error:
                pass   # the terminal was hung up
        self.input.close()
        self.output.close()
        os.close(self.master)
