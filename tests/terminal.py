"""A command on a separate terminal, as for an interactive user."""

from __future__ import annotations

import os
import pty
import select
import signal
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


class Terminal:
    """A command that is started at once; as a context manager, it is killed at the end."""

    def __init__(self, words: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execve(words[0], [str(word) for word in words], dict(environment or os.environ))
        self.seen = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *unused: object) -> None:
        if self.master >= 0:
            os.kill(self.pid, signal.SIGKILL)
            os.kill(self.pid, signal.SIGCONT)
            self.status()

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def paste(self, text: bytes, seconds: float = 3) -> int:
        """Type while reading the screen, until all or no more input is accepted; return the amount."""
        os.set_blocking(self.master, False)
        deadline, typed = time.monotonic() + seconds, 0
        while typed < len(text) and time.monotonic() < deadline:
            self._read(0.02)
            try:
                typed += os.write(self.master, text[typed:typed + 2048])
            except BlockingIOError:
                continue
        os.set_blocking(self.master, True)
        return typed

    def expect(self, text: bytes, seconds: float = 60) -> bytes:
        """Read until the text appears; return the output up to it."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            assert self._read(0.1) or text in self.seen, self.seen
        before, _, self.seen = self.seen.partition(text)
        return before

    def _read(self, seconds: float) -> bool:
        """False if the command, and all its processes on the terminal, have exited."""
        if select.select([self.master], [], [], seconds)[0]:
            try:
                self.seen += os.read(self.master, 65536)
            except OSError:   # EIO
                return False
        return True

    def is_raw(self) -> bool:
        """Whether every key is passed to the program unchanged, including Ctrl-C."""
        return not termios.tcgetattr(self.master)[3] & termios.ISIG

    def ended(self, seconds: float = 60) -> bool:
        """Whether the command exits within the time, while its output is not read."""
        deadline = time.monotonic() + seconds
        while not os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def status(self) -> int:
        """Read to the end and wait for the command; return its exit status, or minus the signal that killed it."""
        while self._read(1):
            continue
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.master)
        self.master = -1
        return code
