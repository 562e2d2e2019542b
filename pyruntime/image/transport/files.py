"""Named files to read from: those of a directory, or the members of an archive without unpacking it."""

from __future__ import annotations

import os

from pyruntime.errors import ImageError, LayerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

    from pyruntime.image.transport.base import Body

_LINKS = 8   # symbolic links that are followed from one member to the next


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


class Files:
    """Files by name; names are relative, with slashes."""

    label = ""

    def size(self, name: str) -> int:
        """Bytes of a file; -1 when there is none of that name."""
        raise NotImplementedError

    def open(self, name: str, offset: int = 0) -> Body:
        """A file's bytes from ``offset`` on; raises ImageError when there is none of that name."""
        raise NotImplementedError

    def read(self, name: str, limit: int) -> bytes | None:
        """A whole file of at most ``limit`` bytes; None when there is none of that name."""
        size = self.size(name)
        if size < 0:
            return None
        if size > limit:
            raise ImageError(f'{self.label}: "{name}" has {size} bytes; no more than {limit} are read', name)
        body = self.open(name)
        try:
            data = b""
            while piece := body.read(size - len(data)):
                data += piece
            return data
        finally:
            body.close()

    def close(self) -> None:
        """Let go of what is behind it."""


class Directory(Files):
    """The files below a directory. It belongs to whoever made it: only names that we compose are opened."""

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
        """A file's bytes from ``offset`` on."""
        try:
            fd = os.open(os.path.join(self.path, name), os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise ImageError(f'{self.label}: "{name}": {error.strerror}', name) from None
        return Window(fd, offset, os.fstat(fd).st_size, owned=True)


class Archive(Files):
    """The members of a tar archive. A compressed one, or one that comes through a pipe, is first written, inflated,
    into a file without a name in ``scratch``."""

    def __init__(self, path: str, scratch: str) -> None:
        import tarfile

        self.label = path if path != "-" else "standard input"
        try:
            self._file = self._plain(path, scratch)
        except OSError as error:
            raise ImageError(f"{self.label}: {error.strerror}") from None
        try:
            with tarfile.open(fileobj=self._file, mode="r:") as archive:
                self._members = {_normal(member.name): member for member in archive}
        except (tarfile.TarError, ValueError, EOFError, OverflowError) as error:
            self._file.close()
            raise ImageError(f"{self.label}: not a tar archive that can be read: {error}") from None

    def _plain(self, path: str, scratch: str) -> IO[bytes]:
        import tempfile

        from pyruntime.image.layer.compression import GZIP, ZSTD, Inflater

        file = os.fdopen(os.dup(0), "rb") if path == "-" else open(path, "rb")   # noqa: SIM115  kept open
        if file.seekable():
            head = file.read(4)
            file.seek(0)   # tarfile begins where the file stands
            if not head.startswith((GZIP, ZSTD)):
                return file
        with file:
            spool = tempfile.TemporaryFile(dir=scratch)   # noqa: SIM115  kept open
            inflater = Inflater(file.read)
            try:
                while data := inflater.read():
                    spool.write(data)
            except LayerError as error:   # which archive it is, it cannot know
                spool.close()
                raise ImageError(f"{self.label}: {error}") from None
        spool.seek(0)
        return spool

    def _find(self, name: str) -> tuple[int, int] | None:
        """Where a member's content is; older `docker save` has links between members."""
        for _ in range(_LINKS):
            member = self._members.get(_normal(name))
            if member is None:
                return None
            if member.isreg():
                return member.offset_data, member.size
            if not (member.issym() or member.islnk()):
                return None
            name = os.path.join(os.path.dirname(name), member.linkname) if member.issym() else member.linkname
        return None

    def size(self, name: str) -> int:
        """Bytes of a member; -1 when there is none of that name."""
        found = self._find(name)
        return found[1] if found else -1

    def open(self, name: str, offset: int = 0) -> Body:
        """A member's bytes from ``offset`` on."""
        found = self._find(name)
        if found is None:
            raise ImageError(f'{self.label}: there is no "{name}" in it', name)
        return Window(self._file.fileno(), found[0] + offset, found[0] + found[1])

    def close(self) -> None:
        """Close the archive."""
        self._file.close()


def _normal(name: str) -> str:
    return os.path.normpath("/" + name).lstrip("/")
