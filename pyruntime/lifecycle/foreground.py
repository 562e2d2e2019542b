"""`run` in the foreground: signals and the terminal forwarded, the program's exit status returned."""

from __future__ import annotations

import os
import select
import signal

from pyruntime.errors import PyruntimeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyruntime.lifecycle.notify import Relay

_KEPT = {signal.SIGCHLD, signal.SIGKILL, signal.SIGSTOP, signal.SIGURG, signal.SIGWINCH, signal.SIGTTIN,
         signal.SIGTTOU, signal.SIGTSTP}


class Foreground:
    """Between ``begin`` and ``end`` signals do not act on us but are kept for the container."""

    def __init__(self) -> None:
        self._wake, self._signalled = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._old: dict[int, Any] = {}
        self._terminal: Terminal | None = None
        self._relay: Relay | None = None
        self._warn: Callable[[str], None] = lambda text: None

    def begin(self) -> None:
        """Start to collect signals, before there is a container to send them to."""
        signal.set_wakeup_fd(self._signalled, warn_on_full_buffer=False)
        for number in (*(set(signal.Signals) - _KEPT), signal.SIGCHLD, signal.SIGWINCH):
            self._old[number] = signal.signal(number, lambda number, frame: None)

    def terminal(self, master: int) -> None:
        """Forward our terminal to the container's, whose master side this is."""
        self._terminal = Terminal(master)

    def relay(self, relay: Relay, warn: Callable[[str], None]) -> None:
        """Pass on what the container's program tells the service manager; ``warn`` of a manager that cannot be told."""
        self._relay, self._warn = relay, warn

    def wait(self, pid: int, pidfd: int) -> int:
        """Forward until init ends; its status as a shell has it (128 + N when signal N killed it)."""
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        if self._terminal:
            self._terminal.begin(poll)
        if self._relay:
            poll.register(self._relay, select.POLLIN)
        try:
            while True:
                # What ended with the program comes after what it still said.
                for fd, events in sorted(poll.poll(), key=lambda item: item[0] == pidfd):
                    if fd == self._wake:
                        self._forward(pid)
                    elif self._relay and fd == self._relay.fileno():
                        self._pass_on(self._relay)
                    elif fd != pidfd and self._terminal:
                        self._terminal.pump(fd, events, poll)
                    elif fd == pidfd:
                        self._last_words()
                        if self._terminal:
                            self._terminal.drain()
                        return _exit_status(pid)
        finally:
            if self._terminal:
                self._terminal.end()

    def _last_words(self) -> None:
        """What the program told its service manager before it ended; others that live on may go on telling."""
        if self._relay is None:
            return
        poll = select.poll()
        poll.register(self._relay, select.POLLIN)
        for _ in range(64):
            if not poll.poll(0):
                return
            self._pass_on(self._relay)

    def _pass_on(self, relay: Relay) -> None:
        try:
            relay.pass_on(os.getpid())
        except PyruntimeError as error:
            self._warn(str(error))   # no reason to end a service

    def _forward(self, pid: int) -> None:
        for number in os.read(self._wake, 4096):
            if number == signal.SIGWINCH and self._terminal:
                self._terminal.resize()
            elif number not in _KEPT:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    return

    def end(self) -> None:
        """Give the signals back."""
        if self._relay:
            self._relay.close()
        signal.set_wakeup_fd(-1)
        for number, handler in self._old.items():
            signal.signal(number, handler)
        os.close(self._wake)
        os.close(self._signalled)


def _exit_status(pid: int) -> int:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return 128 - code if code < 0 else code


class Terminal:
    """Our own terminal in raw mode on one side, the container's on the other."""

    def __init__(self, master: int) -> None:
        self.master = master
        self.tty = next((fd for fd in (0, 1, 2) if os.isatty(fd)), -1)
        self._saved: list[Any] | None = None
        os.set_blocking(master, True)
        self.resize()   # before `start`: the program may ask at once

    def begin(self, poll: select.poll) -> None:
        """Go raw and start to pass bytes."""
        if self.tty >= 0:
            import termios
            import tty

            self._saved = termios.tcgetattr(self.tty)
            tty.setraw(self.tty, termios.TCSANOW)   # what was typed already is for the program
        poll.register(self.master, select.POLLIN)
        poll.register(0, select.POLLIN)

    def resize(self) -> None:
        """Give the container's terminal the size of ours."""
        if self.tty >= 0:
            import fcntl
            import termios

            size = fcntl.ioctl(self.tty, termios.TIOCGWINSZ, bytes(8))
            if size[:4] != bytes(4):
                fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)

    def pump(self, fd: int, events: int, poll: select.poll) -> None:
        """Pass on what can be read from one side."""
        source, target = (0, self.master) if fd == 0 else (self.master, 1)
        if not self._copy(source, target):
            poll.unregister(source)
            if source == 0:
                self._type_end_of_file()

    def _copy(self, source: int, target: int) -> bool:
        try:
            data = os.read(source, 65536)
        except OSError:   # EIO: the last program that had the terminal open is gone
            return False
        view = memoryview(data)
        while view:
            view = view[os.write(target, view):]
        return bool(data)

    def _type_end_of_file(self) -> None:
        # Our input has ended; a terminal says that by a character at the beginning of a line.
        try:
            os.write(self.master, b"\x04")
        except OSError:
            return   # nobody reads any more

    def drain(self) -> None:
        """Pass on what the program wrote before it ended."""
        os.set_blocking(self.master, False)
        while self._copy(self.master, 1):
            pass

    def end(self) -> None:
        """Give our terminal back as it was."""
        if self._saved is not None:
            import termios

            termios.tcsetattr(self.tty, termios.TCSADRAIN, self._saved)
        os.close(self.master)
