"""The log of a container's output, which the monitor writes; pyruntime/native/monitor/log.c describes the form."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyruntime.pocker.containers.container import Container

_LOOK = 0.1   # seconds between two reads of a followed log
_BLOCK = 1 << 16
_ENDLESS = 1 << 62   # bytes


class LogEntry:
    """A piece of output: a whole line, or a part of a line that was written at once.

    ``when``: RFC 3339, UTC; ``stream``: stdout or stderr; ``text``: with the newline, if the line has ended.
    """

    __slots__ = ("stream", "text", "when")

    def __init__(self, line: bytes) -> None:
        when, stream, kind, text = line.split(b" ", 3)
        self.when = when.decode("ascii", "replace")
        self.stream = stream.decode("ascii", "replace")
        self.text = text + (b"\n" if kind == b"F" else b"")


def _files(container: Container) -> list[str]:
    """The log's files, the oldest first."""
    names: list[str] = []
    number = 1
    while os.path.exists(f"{container.directory}/log.{number}"):
        names.insert(0, f"{container.directory}/log.{number}")
        number += 1
    return [*names, f"{container.directory}/log"]


def entries(container: Container, *, since: str = "", until: str = "", tail: int = -1,
            follow: Callable[[], bool] | None = None) -> Iterator[LogEntry]:
    """The entries of the log between two times; ``tail``: only the last N lines.

    ``follow``: go on while the function returns true.
    """
    opened = _open_all(container)
    try:
        # The sizes at this moment: a program that writes faster than we read would never let us end.
        sizes = [os.fstat(fd).st_size for fd in opened]
        start = _tail_start(opened, sizes, tail) if tail >= 0 else (0, 0)
        for number, fd in enumerate(opened):
            if number < start[0]:
                continue
            last = number == len(opened) - 1
            lines = _lines(fd, start[1] if number == start[0] else 0, sizes[number] if follow is None else _ENDLESS)
            yield from _between(lines, since, until)
            if last and follow is not None:
                yield from _between(_followed(container, fd, follow), since, until)
    finally:
        for fd in opened:
            os.close(fd)


def _open_all(container: Container) -> list[int]:
    opened = []
    for path in _files(container):
        try:
            opened.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except FileNotFoundError:
            continue   # never started, or the log is being rotated
    return opened


def _between(lines: Iterator[bytes], since: str, until: str) -> Iterator[LogEntry]:
    for line in lines:
        try:
            entry = LogEntry(line)
        except ValueError:
            continue   # a line that was truncated by a full disk
        if until and entry.when > until:
            return
        if entry.when >= since:
            yield entry


def _lines(fd: int, offset: int, end: int = _ENDLESS) -> Iterator[bytes]:
    """The complete lines from ``offset`` on, up to ``end``; the descriptor is positioned after the last one then."""
    rest = b""
    while block := os.pread(fd, min(_BLOCK, end - offset), offset):
        offset += len(block)
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        yield from lines
    os.lseek(fd, offset - len(rest), os.SEEK_SET)


def _followed(container: Container, fd: int, running: Callable[[], bool]) -> Iterator[bytes]:
    """New lines, across rotations, until the container has stopped and everything is read."""
    mine = -1
    try:
        while True:
            alive = running()   # asked before the last read, so that no line between them is lost
            yield from _lines(fd, os.lseek(fd, 0, os.SEEK_CUR))
            try:
                there = os.stat(f"{container.directory}/log")
            except FileNotFoundError:
                if not os.path.isdir(container.directory):
                    return   # removed
                there = None
            here = os.fstat(fd)
            if there is not None and (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino):
                yield from _lines(fd, os.lseek(fd, 0, os.SEEK_CUR))   # what was written before it was rotated
                if mine >= 0:
                    os.close(mine)
                fd = mine = os.open(f"{container.directory}/log", os.O_RDONLY | os.O_CLOEXEC)
                continue
            if not alive:
                return
            time.sleep(_LOOK)
    finally:
        if mine >= 0:
            os.close(mine)


def _tail_start(opened: list[int], sizes: list[int], count: int) -> tuple[int, int]:
    """The file, and the place in it, where the last ``count`` lines begin."""
    for number in range(len(opened) - 1, -1, -1):
        found, place = _back(opened[number], sizes[number], count)
        if found == count:
            return number, place
        count -= found
    return 0, 0


def _back(fd: int, size: int, count: int) -> tuple[int, int]:
    """How many of the last ``count`` lines are in the first ``size`` bytes of the file, and where they begin. The parts
    of a line count as one line."""
    if not size:
        return 0, 0
    from mmap import PROT_READ, mmap  # lazy: only with a number of lines

    found = 0
    with mmap(fd, size, prot=PROT_READ) as data:
        end = whole = data.rfind(b"\n") + 1     # the last line may be on its way into the file
        while end > 0:
            begin = data.rfind(b"\n", 0, end - 1) + 1
            if end == whole or data[begin:begin + 64].split(b" ", 3)[2:3] == [b"F"]:
                if found == count:
                    return found, end
                found += 1
            end = begin
    return found, 0
