"""The pipes of one run: input is fed, output is kept up to a limit and read on beyond it, until the program ends."""

from __future__ import annotations

import os
from select import POLLERR, POLLHUP, POLLIN, POLLOUT, poll
from time import monotonic

from pyruntime.sandbox.result import CANCELLED, OUTPUT, TIMEOUT

_CHUNK = 1 << 16


class Pipes:
    """Descriptors 0, 1 and 2 of a program: ``theirs``; this process's ends are not inherited by other programs."""

    def __init__(self, data: bytes | None, limit: int) -> None:
        """``data``: the program's input; None: it has none. ``limit``: bytes that are kept of each output."""
        self.limit = limit
        self.truncated = False
        self._input = memoryview(data or b"")
        self._kept: dict[int, bytearray] = {}
        self._sink = -1
        self.theirs: list[int] = []
        if data is None:
            self.theirs.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
        else:
            read, self._sink = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self._sink, False)
            self.theirs.append(read)
        for _ in range(2):
            read, write = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(read, False)
            self._kept[read] = bytearray()
            self.theirs.append(write)
        self._outputs = list(self._kept)
        self._open = set(self._kept)

    def started(self) -> None:
        """The program has its ends: close them here, so that the end of the program is the end of its output."""
        for fd in self.theirs:
            os.close(fd)
        self.theirs = []

    def close(self) -> None:
        """Close everything."""
        self.started()
        self._close_input()
        for fd in self._open:
            os.close(fd)
        self._open = set()

    def follow(self, pidfd: int, deadline: float, *, stop: int = -1, enough: bool = False) -> str:
        """Serve the pipes until the program ends. Returns "", or the reason for which it has to be killed: the deadline
        (of the monotonic clock), ``stop`` (a descriptor) is readable, or, with ``enough``, there is too much output."""
        waiting = poll()
        waiting.register(pidfd, POLLIN)
        if stop >= 0:
            waiting.register(stop, POLLIN)
        for fd in self._open:
            waiting.register(fd, POLLIN)
        if self._sink >= 0:
            waiting.register(self._sink, POLLOUT)
        while True:
            left = deadline - monotonic()
            if left <= 0:
                return TIMEOUT
            for fd, event in waiting.poll(None if left == float("inf") else left * 1000 + 1):
                if fd == pidfd:
                    return ""
                if fd == stop:
                    return CANCELLED
                if fd == self._sink:
                    if event & POLLERR or not self._feed():
                        waiting.unregister(fd)
                        self._close_input()
                elif event & (POLLIN | POLLHUP) and not self._drain(fd, 1):
                    waiting.unregister(fd)
            if self.truncated and enough:
                return OUTPUT

    def finish(self) -> tuple[bytes, bytes]:
        """What the program wrote, when all its processes have ended: the rest is in the pipes."""
        for fd in list(self._open):
            # A pipe holds at most 1 MiB (pipe(7)) unless root has it enlarged; another run may still write to it.
            self._drain(fd, 1 << 10)
        first, second = (bytes(self._kept[fd]) for fd in self._outputs)
        return first, second

    def _feed(self) -> bool:
        """Write some input; whether there is more."""
        try:
            self._input = self._input[os.write(self._sink, self._input[:_CHUNK]):] if self._input else self._input
        except BlockingIOError:
            return True
        except BrokenPipeError:   # the program does not want it
            return False
        return bool(self._input)

    def _close_input(self) -> None:
        if self._sink >= 0:
            os.close(self._sink)
            self._sink = -1

    def _drain(self, fd: int, times: int) -> bool:
        """Read what is there, at most ``times`` chunks; False at the end of the stream, which is then closed."""
        kept = self._kept[fd]
        for _ in range(times):
            try:
                data = os.read(fd, _CHUNK)
            except BlockingIOError:
                return True
            if not data:
                os.close(fd)
                self._open.discard(fd)
                return False
            room = self.limit - len(kept)
            kept += data[:max(room, 0)]
            self.truncated |= len(data) > room
        return True
