"""A command on a terminal of its own, as a person has it."""

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
    """A command that runs from the beginning; as a context manager it is killed at the end."""

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
        """Type, reading the screen meanwhile, until all of it or nothing more is taken; how much that was."""
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
        """Read until the text comes; what came up to it."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            assert self._read(0.1) or text in self.seen, self.seen
        before, _, self.seen = self.seen.partition(text)
        return before

    def _read(self, seconds: float) -> bool:
        """False when the command, and what it has left on the terminal, has gone."""
        if select.select([self.master], [], [], seconds)[0]:
            try:
                self.seen += os.read(self.master, 65536)
            except OSError:   # EIO
                return False
        return True

    def is_raw(self) -> bool:
        """Whether each key comes to the program as it is, Ctrl-C too."""
        return not termios.tcgetattr(self.master)[3] & termios.ISIG

    def ended(self, seconds: float = 60) -> bool:
        """Whether the command ends within the time, though nobody reads what it prints."""
        deadline = time.monotonic() + seconds
        while not os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def status(self) -> int:
        """Read to the end, and wait for the command: its exit status, or minus the signal that killed it."""
        while self._read(1):
            continue
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.master)
        self.master = -1
        return code
