"""A part of an open file, to read from."""

from __future__ import annotations

import os


class Window:
    """A range of an open file, read by position: several can be read at once."""

    def __init__(self, fd: int, start: int, end: int, *, owned: bool = False) -> None:
        self._fd = fd
        self._at = start
        self._end = end
        self._owned = owned

    def read(self, count: int) -> bytes:
        """At most ``count`` bytes; none at the end."""
        data = os.pread(self._fd, min(count, self._end - self._at), self._at)
        self._at += len(data)
        return data

    def readinto(self, buffer: memoryview) -> int:
        """The same into a buffer; how many bytes came."""
        count = os.preadv(self._fd, [buffer[:max(0, self._end - self._at)]], self._at)
        self._at += count
        return count

    def close(self) -> None:
        """Close the file, if it is only ours."""
        if self._owned:
            os.close(self._fd)
