"""The members of a tar archive as named files, without unpacking it.

A module of its own, so that commands without archives need not load the archive reader.
"""

from __future__ import annotations

import os

from pyruntime.errors import ImageError, LayerError
from pyruntime.images.layers.stream import LayerStream
from pyruntime.images.layers.tar import FILE, LINK, SYMLINK, Reader
from pyruntime.images.transports.files import NamedFiles, Window

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

    from pyruntime.images.transports.base import Body

_LINKS = 8           # symbolic links that are followed from one member to the next
_MEMBERS = 200_000   # headers of an archive; an image has about one per layer


class _Headers(LayerStream):
    """A file for the archive reader; the content between the headers is skipped unread."""

    __slots__ = ("_file", "_size")

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(lambda: b"")
        self._file = file
        self._size = os.fstat(file.fileno()).st_size

    def block(self) -> bytes:
        """The next 512 bytes, or b"" at the end."""
        return self.take(512) if self._file.tell() < self._size else b""

    def take(self, size: int) -> bytes:
        """Exactly ``size`` bytes."""
        data = self._file.read(size)
        if len(data) < size:
            raise self.truncated()
        return data

    def skip(self, size: int) -> None:
        """Skip ``size`` bytes."""
        if self._file.seek(size, os.SEEK_CUR) > self._size:
            raise self.truncated()

    def truncated(self) -> LayerError:
        """The error for a file that ends too early."""
        return LayerError(f"truncated archive: it ends at byte {self._size}, within an entry")


class Archive(NamedFiles):
    """The members of a tar archive. A compressed one, or one from a pipe, is first decompressed into an unnamed file in
    ``scratch``."""

    def __init__(self, path: str, scratch: str) -> None:
        self.label = path if path != "-" else "standard input"
        try:
            self._file = self._plain(path, scratch)
        except OSError as error:
            raise ImageError(f"{self.label}: {error.strerror}") from None
        self._members: dict[str, tuple[int, int, int, str]] = {}   # type, offset, size, target of a link
        try:
            reader = Reader(_Headers(self._file), _MEMBERS)
            while (entry := reader.next()) is not None:
                kind = entry.type if entry.pieces is None else -1   # a sparse file has no contiguous range
                self._members[_normal(os.fsdecode(entry.name))] = (kind, self._file.tell(), entry.size,
                                                                   os.fsdecode(entry.link))
            if not self._members:
                raise LayerError("it is empty")
        except LayerError as error:
            self._file.close()
            raise ImageError(f"{self.label}: not a tar archive: {error}") from None

    def _plain(self, path: str, scratch: str) -> IO[bytes]:
        from pyruntime.images.layers.compression import kind_of  # lazy: only for compressed archives

        file = os.fdopen(os.dup(0), "rb") if path == "-" else open(path, "rb")   # noqa: SIM115  kept open
        try:
            if file.seekable():
                head = file.read(512)
                file.seek(0)   # the reader starts at the file's position
                if kind_of(head, archive=True) == "none":
                    return file
            with file:
                return self._inflated(file, scratch)
        except LayerError as error:   # its message lacks the archive's name
            file.close()
            raise ImageError(f"{self.label}: {error}") from None

    @staticmethod
    def _inflated(file: IO[bytes], scratch: str) -> IO[bytes]:
        import tempfile  # lazy: only for compressed archives

        from pyruntime.images.layers.compression import Inflater
        from pyruntime.images.layers.options import LayerLimits

        limits = LayerLimits()
        spool = tempfile.TemporaryFile(dir=scratch)   # noqa: SIM115  kept open
        try:
            inflater = Inflater(file.read, limits.bytes, limits.ratio, archive=True)
            while data := inflater.read():
                spool.write(data)
        except BaseException:
            spool.close()
            raise
        spool.seek(0)
        return spool

    def _find(self, name: str) -> tuple[int, int] | None:
        """The position of a member's content; archives of older `docker save` have links between members."""
        for _ in range(_LINKS):
            kind, offset, size, target = self._members.get(_normal(name), (-1, 0, 0, ""))
            if kind == FILE:
                return offset, size
            if kind not in (LINK, SYMLINK):
                return None
            name = os.path.join(os.path.dirname(name), target) if kind == SYMLINK else target
        return None

    def size(self, name: str) -> int:
        """The size of a member in bytes; -1 if it does not exist."""
        found = self._find(name)
        return found[1] if found else -1

    def open(self, name: str, offset: int = 0) -> Body:
        """The content of a member, starting at ``offset``."""
        found = self._find(name)
        if found is None:
            raise ImageError(f'{self.label}: it has no member "{name}"', name)
        return Window(self._file.fileno(), found[0] + offset, found[0] + found[1])

    def close(self) -> None:
        """Close the archive."""
        self._file.close()


def _normal(name: str) -> str:
    return os.path.normpath("/" + name).lstrip("/")
