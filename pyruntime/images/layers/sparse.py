"""Sparse files in tar archives: GNU's old type S, and the PAX formats 0.0, 0.1 and 1.0.

Spec: the manual of GNU tar, "Storing Sparse Files". layer.md says that layers should not have them; some do.

A map is a list of (offset, length): where the archive's bytes belong in the file, whose other bytes are zero. Its
pieces ascend and do not overlap, and their lengths sum up to what the archive holds; anything else is a LayerError.
"""

from __future__ import annotations

from pyruntime.errors import LayerError
from pyruntime.images.layers.pax import MAX_NUMBER, decimal, number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.layers.stream import LayerStream

    Map = list[tuple[int, int]]

_MAX_DIGITS = 20     # of a number
_MAX_MAP = 8 << 20   # bytes of a 1.0 map, and of the extension blocks of an old one: half a million pieces


def old(header: bytes, stream: LayerStream) -> tuple[int, Map]:
    """Size and map of a file of type S: four pieces in the header, 21 in each block that follows."""
    flat: list[tuple[int, int]] = []
    size = number(header[483:495], "size of a sparse file")
    block, start, count, extended = header, 386, 4, header[482]
    read = 0
    while True:
        for index in range(count):
            piece = block[start + index * 24:start + index * 24 + 24]
            if not piece.strip(b"\0 "):
                break
            flat.append((number(piece[:12], "sparse offset"), number(piece[12:], "sparse length")))
        if not extended:
            return size, flat
        block, start, count = stream.take(512), 0, 21
        extended = block[504]
        read += 512
        if read > _MAX_MAP:
            raise LayerError(f"sparse file: a map of more than {_MAX_MAP} bytes")


def from_records(records: list[tuple[bytes, bytes]], keys: dict[bytes, bytes], stored: int) -> tuple[int, Map] | None:
    """Size and map by formats 0.0 and 0.1; None where the records do not describe a map."""
    if b"GNU.sparse.map" in keys:
        numbers = [decimal(part, "GNU.sparse.map") for part in keys[b"GNU.sparse.map"].split(b",") if part]
    elif b"GNU.sparse.numblocks" in keys:
        names = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
        pieces = [(key, value) for key, value in records if key in names]
        if any(key != names[index % 2] for index, (key, _) in enumerate(pieces)):
            raise LayerError("sparse file: offsets and lengths do not alternate")
        numbers = [decimal(value, "GNU.sparse") for _, value in pieces]
    elif b"GNU.sparse.size" in keys and not stored:
        numbers = []
    else:
        return None
    if len(numbers) % 2:
        raise LayerError("sparse file: the map ends with an offset that has no length")
    size = decimal(keys.get(b"GNU.sparse.size", b""), "GNU.sparse.size")
    return size, list(zip(numbers[::2], numbers[1::2], strict=True))


def from_content(stream: LayerStream, stored: int) -> tuple[int, Map]:
    """The map in format 1.0, which precedes the content, and the number of bytes of content after it."""
    text = b""
    read = 0
    numbers: list[int] = []
    while not numbers or len(numbers) < 1 + 2 * numbers[0]:
        if read + 512 > min(stored, _MAX_MAP) or len(text) > _MAX_DIGITS:   # limits the joined text
            raise LayerError("sparse file: the map does not end within the content")
        read += 512
        *lines, text = (text + stream.take(512)).split(b"\n")
        for line in lines:
            if not numbers or len(numbers) < 1 + 2 * numbers[0]:   # the rest is padding
                numbers.append(decimal(line, "sparse map"))
    flat = numbers[1:]
    return stored - read, list(zip(flat[::2], flat[1::2], strict=True))


def check(size: int, pieces: Map, stored: int) -> Map:
    """The map, verified: ascending, within the file, and of the stored length."""
    end = total = 0
    for offset, length in pieces:
        if offset < end or length < 0 or offset + length > min(size, MAX_NUMBER):
            raise LayerError(f"sparse file: the piece at {offset} of {length} bytes overlaps, or is outside")
        end = offset + length
        total += length
    if total != stored:
        raise LayerError(f"sparse file: the map has {total} bytes, the archive has {stored}")
    return pieces
