"""Named files to read: of a directory here, of an archive in pyruntime.images.transports.members."""

from __future__ import annotations

import os
from stat import S_ISREG

from pyruntime.errors import ImageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.transports.base import Body


class Window:
    """A range of an open file, read by position, so that several can be read at once."""

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
        """Read into a buffer; the number of bytes read."""
        count = os.preadv(self._fd, [buffer[:max(0, self._end - self._at)]], self._at)
        self._at += count
        return count

    def close(self) -> None:
        """Close the file, if the window owns it."""
        if self._owned:
            os.close(self._fd)


class NamedFiles:
    """Files by name; names are relative, with slashes."""

    label = ""

    def size(self, name: str) -> int:
        """The size of a file in bytes; -1 if it does not exist."""
        raise NotImplementedError

    def open(self, name: str, offset: int = 0) -> Body:
        """The content of a file, starting at ``offset``; raises ImageError if it does not exist."""
        raise NotImplementedError

    def read(self, name: str, limit: int) -> bytes | None:
        """A whole file of at most ``limit`` bytes; None if it does not exist."""
        size = self.size(name)
        if size < 0:
            return None
        if size > limit:
            raise ImageError(f'{self.label}: "{name}" has {size} bytes; the limit is {limit}', name)
        body = self.open(name)
        try:
            data = b""
            while piece := body.read(size - len(data)):
                data += piece
            return data
        finally:
            body.close()

    def close(self) -> None:
        """Release its resources."""


class DirectoryFiles(NamedFiles):
    """The files of a directory, which is untrusted: only names composed here are opened, and only regular files."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.label = path

    def size(self, name: str) -> int:
        """Bytes of a file; -1 when there is none of that name."""
        try:
            return os.stat(os.path.join(self.path, name)).st_size
        except (FileNotFoundError, NotADirectoryError):
            return -1

    def open(self, name: str, offset: int = 0) -> Body:
        """The content of a file, starting at ``offset``."""
        try:
            fd = os.open(os.path.join(self.path, name), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)   # FIFOs block
        except OSError as error:
            raise ImageError(f'{self.label}: "{name}": {error.strerror}', name) from None
        if not S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise ImageError(f'{self.label}: "{name}" is not a regular file', name)
        return Window(fd, offset, os.fstat(fd).st_size, owned=True)
