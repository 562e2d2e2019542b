"""The standard streams of a program in a sandbox, and the pump that serves its pipes: input is fed, output is read as
it comes."""

from __future__ import annotations

import os
from errno import EIO
from select import POLLERR, POLLHUP, POLLIN, POLLOUT, poll

from pyruntime.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import IO

    Stream = int | IO[bytes] | IO[str]

PIPE, STDOUT, DEVNULL = -1, -2, -3   # as in subprocess
CHUNK = 1 << 16
LONGEST = 1e6   # seconds of one poll(2), which takes no more than 2^31 ms


class ProgramStreams:
    """Both sides of a program's standard streams.

    ``theirs``  the three descriptors of the program
    ``ours``    the other ends of its pipes, -1 where there is none: they are not inherited by other programs, and
                belong to the caller
    """

    def __init__(self, stdin: Stream, stdout: Stream, stderr: Stream) -> None:
        """Each is PIPE, DEVNULL, a descriptor or a file; ``stderr`` may be STDOUT. Raises UsageError."""
        self.theirs: list[int] = []
        self.ours = [-1, -1, -1]
        try:
            for number, stream in enumerate((stdin, stdout, stderr)):
                if not isinstance(stream, int) and not hasattr(stream, "fileno"):
                    raise _not_a_stream(stream)
                self._add(number, stream if isinstance(stream, int) else stream.fileno())
        except BaseException:
            self.close()
            raise

    @classmethod
    def taken_over(cls, ours: Sequence[int]) -> ProgramStreams:
        """Those of a program that has its ends already."""
        streams = cls.__new__(cls)
        streams.theirs, streams.ours = [], list(ours)
        return streams

    def _add(self, number: int, stream: int) -> None:
        if stream == PIPE:
            ends = os.pipe2(os.O_CLOEXEC)
            theirs, self.ours[number] = ends if number == 0 else ends[::-1]
        elif stream == DEVNULL:
            theirs = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        elif stream == STDOUT and number == 2:
            theirs = os.dup(self.theirs[1])
        elif stream >= 0:
            theirs = os.dup(stream)
        else:
            raise _not_a_stream(stream)
        self.theirs.append(theirs)

    def started(self) -> None:
        """The program has its ends: close them here, so that the end of the program is the end of its output."""
        for fd in self.theirs:
            os.close(fd)
        self.theirs = []

    def taken(self) -> list[int]:
        """Our ends, which are the caller's to close from now on."""
        ours, self.ours = self.ours, [-1, -1, -1]
        return ours

    def close(self) -> None:
        """Close both sides."""
        self.started()
        for fd in self.ours:
            if fd >= 0:
                os.close(fd)
        self.ours = [-1, -1, -1]


def _not_a_stream(stream: object) -> UsageError:
    return UsageError(f"stream {stream!r}: give PIPE, DEVNULL, a descriptor or a file; for stderr also STDOUT")


class Pump:
    """Serves the pipes of one program, and watches other descriptors meanwhile. The pipes belong to the pump."""

    def __init__(self, ours: Sequence[int], data: bytes = b"") -> None:
        """``ours``: as of ProgramStreams; ``data``: the program's input."""
        self._sink = ours[0]
        self._numbers = {fd: number for number, fd in enumerate(ours[1:]) if fd >= 0}
        self._input = memoryview(data)
        self._waiting = poll()
        for fd in self._numbers:
            self.watch(fd)
        for fd in ours:
            if fd >= 0:
                os.set_blocking(fd, False)
        if self._sink >= 0:
            self._waiting.register(self._sink, POLLOUT)

    def watch(self, fd: int) -> None:
        """Wait for this descriptor, too; -1: no effect."""
        if fd >= 0:
            self._waiting.register(fd, POLLIN)

    @property
    def feeding(self) -> bool:
        """Whether there is input that the program has not taken."""
        return self._sink >= 0

    @property
    def outputs(self) -> int:
        """How many outputs have not ended."""
        return len(self._numbers)

    def turn(self, seconds: float) -> tuple[list[int], list[tuple[int, bytes]]]:
        """Wait for at most that time until something can be done, and do it. Returns the watched descriptors that are
        readable, and what was read: 0 (output) or 1 (error output) and the bytes."""
        ready, read = [], []
        for fd, event in self._waiting.poll(min(max(seconds, 0), LONGEST) * 1000 + 1):
            if fd == self._sink:
                if event & POLLERR or not self._feed():
                    self._waiting.unregister(fd)
                    self._close_input()
            elif fd not in self._numbers:
                ready.append(fd)
            elif event & (POLLIN | POLLHUP):
                number = self._numbers[fd]
                if data := self._read(fd):
                    read.append((number, data))
        return ready, read

    def rest(self) -> Iterator[tuple[int, bytes]]:
        """What the program wrote, when all its processes have ended: the rest is in the pipes."""
        for fd, number in list(self._numbers.items()):
            # A pipe holds at most 1 MiB (pipe(7)) unless root has it enlarged; another run may still write to it.
            for _ in range(1 << 10):
                data = self._read(fd)
                if not data:
                    break
                yield number, data

    def close(self) -> None:
        """Close the pipes."""
        self._close_input()
        for fd in self._numbers:
            os.close(fd)
        self._numbers = {}

    def _feed(self) -> bool:
        """Write some input; whether there is more."""
        try:
            self._input = self._input[os.write(self._sink, self._input[:CHUNK]):] if self._input else self._input
        except BlockingIOError:
            return True
        except BrokenPipeError:   # the program does not want it
            return False
        return bool(self._input)

    def _close_input(self) -> None:
        if self._sink >= 0:
            os.close(self._sink)
            self._sink = -1

    def _read(self, fd: int) -> bytes:
        """Read what is there; nothing at the end of the output, which is then closed."""
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return b""
        except OSError as error:
            if error.errno != EIO:   # a terminal that no process has open any more
                raise
            data = b""
        if not data:
            self._waiting.unregister(fd)
            os.close(fd)
            del self._numbers[fd]
        return data


class KeptOutput:
    """Output that is kept up to ``limit`` bytes of each stream. ``seen`` is called with all of it as it comes: 0
    (output) or 1 (error output), and the bytes."""

    def __init__(self, limit: int, seen: Callable[[int, bytes], object] | None = None) -> None:
        self.limit = limit
        self._seen = seen
        self.truncated = False
        self._parts = (bytearray(), bytearray())

    def add(self, number: int, data: bytes) -> None:
        """Keep what there is room for."""
        if self._seen:
            self._seen(number, data)
        part = self._parts[number]
        room = self.limit - len(part)
        part += data[:max(room, 0)]
        self.truncated |= len(data) > room

    def both(self) -> tuple[bytes, bytes]:
        """Output and error output."""
        return bytes(self._parts[0]), bytes(self._parts[1])
