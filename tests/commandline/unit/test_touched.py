"""Which pages an action writes to."""

from __future__ import annotations

import ctypes
import mmap
import struct

from pyruntime.commandline.touched import PAGE, touched

COUNT = 64


def pages_of(found: bytes) -> set[int]:
    """The addresses of the pages that were found."""
    assert len(found) % 16 == 0
    return {address + offset for address, size in struct.iter_unpack("<QQ", found) for offset in range(0, size, PAGE)}


def test_the_pages_that_an_action_writes_to_are_found() -> None:
    with mmap.mmap(-1, COUNT * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as area:
        area.madvise(mmap.MADV_NOHUGEPAGE)   # one huge page would be copied as a whole
        begin = ctypes.addressof(ctypes.c_char.from_buffer(area))
        for number in range(COUNT):
            area[number * PAGE] = 1

        def action() -> None:
            for number in (3, 4, 5, 40):
                area[number * PAGE + 7] = 2

        found = pages_of(touched(action))
        assert {(page - begin) // PAGE for page in found if begin <= page < begin + COUNT * PAGE} == {3, 4, 5, 40}
        assert area[3 * PAGE + 7] == 0, "the action was not performed in a fork"


def test_successive_pages_are_one_range() -> None:
    ranges = list(struct.iter_unpack("<QQ", touched(lambda: [bytes(100) for _ in range(10_000)])))
    ends = {address + size for address, size in ranges}
    assert ranges == sorted(ranges)
    assert not ends & {address for address, _ in ranges}


def test_an_action_that_fails_has_no_pages() -> None:
    assert touched(lambda: 1 / 0) == b""
