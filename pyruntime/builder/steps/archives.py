"""Tar archives that ADD unpacks, or that are a build context: recognised by their content, in any compression."""

from __future__ import annotations

import os

from pyruntime.errors import BuildError, LayerError
from pyruntime.images.layers.apply import ExtractOptions, LayerLimits, extract
from pyruntime.images.layers.compression import Inflater
from pyruntime.system.user_namespace import privileged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_HEAD = 512


def is_archive(head: bytes) -> bool:
    """Whether a file with these first bytes is a tar archive, compressed or not; 64 KiB are enough."""
    waiting = [head]
    data = b""
    try:
        read = reader(lambda _count: waiting.pop() if waiting else b"")
        while len(data) < _HEAD and (more := read(1 << 16)):
            data += more
    except (LayerError, OSError, EOFError, ValueError):
        pass   # truncated, as expected: the output is enough, or it is not an archive
    return is_header(data[:_HEAD])


def is_header(block: bytes) -> bool:
    """Whether 512 bytes are a tar header: the checksum is right (pax(1))."""
    if len(block) < _HEAD or not block.strip(b"\0"):
        return False
    digits = block[148:156].strip(b" \0")
    try:
        wanted = int(digits, 8)
    except ValueError:
        return False
    return wanted == sum(block[:148]) + sum(block[156:]) + 8 * 32


def reader(read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """The decompressed stream of ``read(n)``: gzip, zstd, bzip2, xz, or uncompressed."""
    inflater = Inflater(read, archive=True)
    return lambda _count: inflater.read()


def unpack(read: Callable[[int], bytes], directory: int, *, owners: bool, warn: Callable[[str], None]) -> None:
    """Unpack an archive into an empty directory; without ``owners`` all files belong to this process. ``warn`` is
    called for everything that is skipped.

    Raises LayerError, BuildError.
    """
    options = ExtractOptions(privileged=privileged(), warn=warn)
    if not owners:
        mine = (os.geteuid(), os.getegid())
        options.uid, options.gid = (lambda _uid: mine[0]), (lambda _gid: mine[1])
    stream = reader(read)
    done = extract(stream, directory, options, LayerLimits(ratio=1 << 40))
    if done.whiteouts or done.hides_all:
        raise BuildError('the archive has names beginning with ".wh.", which are whiteouts in a layer')
    for path, target in done.lower_links:
        raise BuildError(f'"{os.fsdecode(path)}" in the archive is a link to "{os.fsdecode(target)}", which it'
                         " does not contain")
