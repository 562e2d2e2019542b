"""Copy files between a container and the host, with the rules of `docker cp` for the destination.

    source           destination        what happens
    file             absent             becomes the file; an error if the destination ends with a slash
    file             file               is replaced
    file             directory          goes into it, under its own name
    directory        absent             becomes the directory, with the source's content
    directory        file               error
    directory        directory          goes into it, under its own name
    directory/.      directory          its content goes into it

The directory around the destination has to exist. Existing directories stay as they are; an existing file of the same
name is replaced, but a directory never replaces a file, nor a file a directory.
"""

from __future__ import annotations

import errno
import os
from stat import S_ISDIR, S_ISLNK

from pyruntime.errors import UsageError
from pyruntime.images.layers import content, names
from pyruntime.images.layers.compression import Inflater
from pyruntime.images.layers.stream import LayerStream
from pyruntime.images.layers.tar import FILE, LINK, Reader, TarEntry
from pyruntime.images.layers.tree import open_beneath
from pyruntime.images.layers.write import TarWriter
from pyruntime.pocker.containers import copy_tree as nodes
from pyruntime.pocker.containers.paths import ContainerFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.pocker.containers.container import Container, ContainerRecord

_MAX_LINKS = 40                    # path_resolution(7)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_O_PATH = os.O_PATH | os.O_CLOEXEC


def split(text: str) -> tuple[str, str]:
    """The container of an argument ("" for a path of the host) and the path."""
    name, colon, path = text.partition(":")
    if not colon or text.startswith("/") or name.startswith("."):
        return "", text
    return name, path


class Path:
    """A path of an argument. ``plain`` is the path without a "/" or "/." at its end, ``slash`` whether it must be a
    directory, ``content`` whether its content is meant."""

    __slots__ = ("content", "plain", "slash", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        plain = text or "."
        while len(plain) > 1 and plain.endswith(("/", "/.")):
            plain = plain[:-1] if plain.endswith("/") else plain[:-2] or "/"
        self.plain = plain
        self.slash = plain != text
        self.content = os.path.basename(text.rstrip("/")) == "." or plain in (".", "/")

    @property
    def name(self) -> str:
        """The last component."""
        return os.path.basename(self.plain)


def landing(source: Path, source_is_directory: bool, there: os.stat_result | None, target: Path) -> tuple[str, str]:
    """The directory that a source goes into, and its name there; "" if its content goes into the directory.

    ``there``: the status of the target; None if it is absent. Raises UsageError.
    """
    if there is not None and S_ISDIR(there.st_mode):
        return target.plain, "" if source.content and source_is_directory else source.name
    if there is not None:
        if source_is_directory:
            raise UsageError(f'cannot copy a directory to "{target.text}", which is a file')
        if target.slash:
            raise UsageError(f'"{target.text}" is not a directory')
    elif target.slash and not source_is_directory:
        raise UsageError(f'the directory "{target.text}" does not exist')
    return os.path.dirname(target.plain) or ("/" if target.plain.startswith("/") else "."), target.name


# --- out of a container -----------------------------------------------------------------------------------------------


def copy_out(container: Container, record: ContainerRecord, source: str, target: str, *, archive: bool = False,
             follow: bool = False, warn: Callable[[str], None]) -> int:
    """Copy a path of a container to a path of the host; the copied bytes.

    ``archive``: keep owners, set-user-ID bits, capabilities and devices; otherwise all files belong to the caller, and
    none gives the container's users privileges on the host. ``follow``: follow a symbolic link at the end of
    ``source``. Raises UsageError, HostError.
    """
    path = Path(_rooted(source))
    with ContainerFiles(container, record) as files:
        node = _open_source(files, path, follow=follow)
        try:
            into, name = landing(path, S_ISDIR(os.fstat(node).st_mode), _stat(target), Path(target))
            top = _open_local(into, target)
            try:
                sink = nodes.TreeWriter(
                    lambda path: open_beneath(top, path),
                    lambda entry: (files.uids.inside(entry.uid), files.gids.inside(entry.gid)) if archive
                    else (os.geteuid(), os.getegid()),
                    powers=archive, warn=warn)
                for entry, child in nodes.walk(node, os.fsencode(name), warn, files.kernel):
                    sink.put(entry, child)
                sink.finish()
                return sink.size
            finally:
                os.close(top)
        finally:
            os.close(node)


def archive_out(container: Container, record: ContainerRecord, source: str, write: Callable[[bytes], object], *,
                follow: bool = False, warn: Callable[[str], None]) -> int:
    """Write a path of a container as a tar archive; the bytes of the archive. Raises UsageError, HostError."""
    path = Path(_rooted(source))
    with ContainerFiles(container, record) as files:
        node = _open_source(files, path, follow=follow)
        try:
            writer = TarWriter(write)
            top = b"" if path.content else os.fsencode(path.name)
            for entry, child in nodes.walk(node, top, warn, files.kernel):
                entry.name = entry.name or b"./"
                entry.uid, entry.gid = files.uids.inside(entry.uid), files.gids.inside(entry.gid)
                if entry.type == FILE and entry.size:
                    fd = nodes.open_content(child)
                    try:
                        writer.add(entry, lambda size, fd=fd: os.read(fd, size))   # type: ignore[misc]
                    finally:
                        os.close(fd)
                else:
                    writer.add(entry)
            writer.close()
            return writer.size
        finally:
            os.close(node)


def _words(error: OSError) -> str:
    return os.strerror(error.errno or errno.EIO)   # without the path that Python adds


def _rooted(path: str) -> str:
    return path if path.startswith("/") else "/" + path


def _open_source(files: ContainerFiles, path: Path, *, follow: bool) -> int:
    """The source, opened by O_PATH."""
    follow = follow or path.slash
    try:
        node = files.open(os.fsencode(path.plain), os.O_PATH | (0 if follow else os.O_NOFOLLOW))
    except OSError as error:
        raise UsageError(f'"{path.text}" in the container: {_words(error)}') from None
    if path.slash and not S_ISDIR(os.fstat(node).st_mode):
        os.close(node)
        raise UsageError(f'"{path.text}" in the container is not a directory')
    return node


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f'"{path}": {error.strerror}') from None


def _open_local(directory: str, target: str) -> int:
    try:
        return os.open(directory, _DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f'cannot copy to "{target}": "{directory}": {error.strerror}') from None


# --- into a container -------------------------------------------------------------------------------------------------


def copy_in(container: Container, record: ContainerRecord, source: str, target: str, *, archive: bool = False,
            follow: bool = False, warn: Callable[[str], None]) -> int:
    """Copy a path of the host to a path of a container; the copied bytes.

    ``archive``: keep owners; otherwise all files belong to the container's root user. Raises UsageError, HostError.
    """
    path = Path(source)
    try:
        node = os.open(source if path.slash else path.plain,
                       _O_PATH | (0 if follow or path.slash else os.O_NOFOLLOW))
    except OSError as error:
        raise UsageError(f'"{source}": {error.strerror}') from None
    if not path.name or path.name == "..":
        path.plain = os.path.realpath(source)
        path.content = path.content or path.plain == "/"
    try:
        with ContainerFiles(container, record) as files:
            into, name = _landing_inside(files, path, S_ISDIR(os.fstat(node).st_mode), target)
            sink = _inside(files, into, archive=archive, warn=warn)
            for entry, child in nodes.walk(node, os.fsencode(name), warn):
                sink.put(entry, child)
            sink.finish()
            return sink.size
    finally:
        os.close(node)


def archive_in(container: Container, record: ContainerRecord, read: Callable[[int], bytes], target: str, *,
               archive: bool = False, warn: Callable[[str], None]) -> int:
    """Extract a tar archive, compressed or not, into a directory of a container; the bytes of the files.

    Raises UsageError, LayerError for data that is not an archive, HostError.
    """
    with ContainerFiles(container, record) as files:
        path = Path(_rooted(target))
        into, there = _destination(files, path)
        if there is None or not S_ISDIR(there.st_mode):
            raise UsageError(f'"{target}" in the container is not a directory, which an archive needs')
        sink = _inside(files, into, archive=archive, warn=warn)
        inflater = Inflater(read)
        reader = Reader(LayerStream(inflater.read))
        while (entry := reader.next()) is not None:
            entry.name = names.clean(entry.name)
            if entry.type == LINK:
                entry.link = names.clean(entry.link)
            sink.put(entry, lambda fd, entry=entry: _take(reader, entry, fd))   # type: ignore[misc]
        sink.finish()
        return sink.size


def _take(reader: Reader, entry: TarEntry, fd: int) -> None:
    content.copy(reader, entry, fd)


def _inside(files: ContainerFiles, into: str, *, archive: bool, warn: Callable[[str], None]) -> nodes.TreeWriter:
    """A writer of entries below a directory of the container. Symbolic links in paths are resolved in the container."""
    base = os.fsencode(into)

    def owner(entry: TarEntry) -> tuple[int, int]:
        uid, gid = (entry.uid, entry.gid) if archive else (0, 0)
        return files.uids.outside(uid), files.gids.outside(gid)
    return nodes.TreeWriter(lambda path: files.open(base + b"/" + path, _DIRECTORY), owner, warn=warn)


def _landing_inside(files: ContainerFiles, source: Path, source_is_directory: bool, target: str) -> tuple[str, str]:
    path = Path(_rooted(target))
    plain, there = _destination(files, path)
    resolved = Path(target)
    resolved.plain = plain
    resolved.slash = path.slash and path.plain != "/"
    into, name = landing(source, source_is_directory, there, resolved)
    try:
        os.close(files.open(os.fsencode(into), os.O_PATH | os.O_DIRECTORY))
    except OSError as error:
        raise UsageError(f'cannot copy to "{target}" in the container: "{into}": {_words(error)}') from None
    return into, name


def _destination(files: ContainerFiles, path: Path) -> tuple[str, os.stat_result | None]:
    """The path with the symbolic links at its end followed, dangling ones included, and its status."""
    plain = path.plain
    for _ in range(_MAX_LINKS):
        try:
            node = files.open(os.fsencode(plain), nodes.NODE)
        except FileNotFoundError:
            return plain, None
        except OSError as error:
            raise UsageError(f'"{path.text}" in the container: {_words(error)}') from None
        try:
            found = os.fstat(node)
            if not S_ISLNK(found.st_mode):
                return plain, found
            plain = os.path.join(os.path.dirname(plain), os.fsdecode(os.readlink(b"", dir_fd=node)))
        finally:
            os.close(node)
    raise UsageError(f'"{path.text}" in the container: {os.strerror(errno.ELOOP)}')
