"""Writes the content of a large or sparse file to disk; runs of zeros become holes.

Layers cannot record holes, but databases and disk images may consist mostly of zeros.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.layers.tar import Reader, TarEntry

BLOCK = 4096                                            # block size of filesystems, for estimates and holes
_ZEROS = [bytes(count * BLOCK) for count in range(5)]   # four blocks of zeros are worth a hole


def copy(reader: Reader, entry: TarEntry, fd: int) -> int:
    """Write the content of the reader's entry to an empty file; the bytes on disk."""
    usage = end = 0
    for offset, length in [(0, entry.stored)] if entry.pieces is None else entry.pieces:
        if length:
            used, end = _piece(reader, fd, offset, length)
            usage += used + -used % BLOCK
    if end < entry.size:
        os.ftruncate(fd, entry.size)
    return usage


def _piece(reader: Reader, fd: int, offset: int, length: int) -> tuple[int, int]:
    """Copy from the archive to an offset; the number of bytes written, and the end of the last of them."""
    usage = end = 0
    while length:
        start, stop = reader.some(length)
        length -= stop - start
        data = reader.stream.data
        while start < stop:
            look = _next_hole(data, start + -offset % BLOCK, stop)
            if look > start:
                write(fd, memoryview(data)[start:look], offset)
                usage += look - start
                offset += look - start
                start = look
                end = offset
            while start + BLOCK <= stop and data.startswith(_ZEROS[1], start):
                start += BLOCK
                offset += BLOCK
    return usage, end


def _next_hole(data: bytes, look: int, stop: int) -> int:
    """The start of the next run of zeros that is worth a hole, in steps of blocks from ``look``; ``stop`` if there is
    none.

    One block is enough at either end of the chunk: the run may continue in the neighbouring chunk.
    """
    wanted = 1
    while (need := min(wanted, (stop - look) // BLOCK)) > 0:
        if data.startswith(_ZEROS[need], look):
            return look
        look += BLOCK
        wanted = 4
    return stop


def write(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write all data at an offset."""
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, offset)
        offset += count
        view = view[count:]
