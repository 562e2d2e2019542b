"""The pages of a snapshot that a command will write to: the front has the kernel copy them all at once.

A page that a restored process writes to is copied at the first write, which takes 2 us with the interruption, and a
command writes to 800. Copied on request (MADV_POPULATE_WRITE), a page takes less than half.
"""

from __future__ import annotations

import os
from struct import unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = 4096
PRESENT, OF_A_FILE, EXCLUSIVE = 1 << 63, 1 << 61, 1 << 56   # Documentation/admin-guide/mm/pagemap.rst
_SIZE = 8


def touched(action: Callable[[], object]) -> bytes:
    """What ``action`` writes to, found by performing it in a fork, whose memory is shared with us until it is written
    to. Returns pairs of an address and a size, 8 bytes each in the machine's order; nothing if the kernel does not
    tell, or if the fork fails."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            action()
            with open(write, "wb") as out:
                out.write(b"".join(address.to_bytes(_SIZE, "little") + size.to_bytes(_SIZE, "little")
                                   for address, size in _ranges(_own_pages())))
        finally:
            os._exit(1)   # the result is what was written, or nothing
    os.close(write)
    with open(read, "rb") as source:
        found = source.read()
    os.waitpid(child, 0)
    return found


def _own_pages() -> Iterator[int]:
    """The numbers of the writable pages that belong to this process alone, ascending."""
    with open("/proc/self/maps") as maps:
        areas = [line.split(" ", 2)[:2] for line in maps]
    pagemap = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    for area, mode in areas:
        if mode != "rw-p":
            continue
        begin, end = (int(address, 16) // PAGE for address in area.split("-"))
        entries = os.pread(pagemap, (end - begin) * _SIZE, begin * _SIZE)
        for number, entry in enumerate(unpack(f"<{len(entries) // _SIZE}Q", entries), begin):
            if entry & (PRESENT | OF_A_FILE | EXCLUSIVE) == PRESENT | EXCLUSIVE:
                yield number
    os.close(pagemap)


def _ranges(pages: Iterator[int]) -> Iterator[tuple[int, int]]:
    """Successive pages as an address and a size."""
    first = last = -2
    for page in pages:
        if page != last + 1:
            if first >= 0:
                yield first * PAGE, (last + 1 - first) * PAGE
            first = page
        last = page
    if first >= 0:
        yield first * PAGE, (last + 1 - first) * PAGE
