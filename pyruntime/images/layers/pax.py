"""Numbers and extended headers of tar archives: octal and base-256 fields, PAX records, times, extended attributes.

Spec: pax(1) "ustar Interchange Format" and "pax Extended Header", tar(5) of libarchive, the manual of GNU tar
"""

from __future__ import annotations

import binascii

from pyruntime.errors import LayerError

MAX_HEADER = 1 << 20    # bytes of an extended header: the limit of Go's archive/tar
MAX_NAME = 4095         # bytes of a path (PATH_MAX with its NUL)
MAX_COMPONENT = 255     # bytes of a component of it (NAME_MAX)
MAX_VALUE = 64 << 10    # bytes of an extended attribute (XATTR_SIZE_MAX)
MAX_NUMBER = (1 << 63) - 1
SECOND = 1_000_000_000
_SCHILY, _LIBARCHIVE = b"SCHILY.xattr.", b"LIBARCHIVE.xattr."


def shown(name: bytes) -> str:
    """A name for messages: control characters escaped, and of limited length."""
    text = name.decode("utf-8", "backslashreplace")
    text = text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return text if len(text) <= 200 else f"{text[:120]}...{text[-60:]}"


def about(error: LayerError, name: bytes) -> LayerError:
    """The error with the name of its entry, unless it has one."""
    if not error.where:
        error.where = shown(name.partition(b"\0")[0])
        error.args = (f'"{error.where}": {error.args[0]}',)
    return error


def number(field: bytes, what: str) -> int:
    """The number in a header field: octal digits, or base-256 if the first bit is set, which may be negative."""
    if field[0] & 0x80:
        first = field[0] & 0x7F | (0x80 if field[0] & 0x40 else 0)
        value = int.from_bytes(bytes((first,)) + field[1:], "big", signed=True)
        if not -MAX_NUMBER <= value <= MAX_NUMBER:
            raise LayerError(f"{what}: a base-256 number of more than 63 bits")
        return value
    text = field.partition(b"\0")[0].strip(b" ")
    if not text:
        return 0
    try:
        if text.isdigit():   # int() also accepts signs and underscores
            return int(text, 8)
    except ValueError:   # the digits 8 and 9: reported below
        pass
    raise LayerError(f'{what}: "{shown(field)}" is not an octal number')


def decimal(text: bytes, what: str, limit: int = MAX_NUMBER) -> int:
    """The decimal number of a PAX record, 0 to ``limit``."""
    if not text.isdigit() or len(text) > 20 or int(text) > limit:
        raise LayerError(f'{what}: "{shown(text)}" is not a number from 0 to {limit}')
    return int(text)


def time(text: bytes, what: str) -> int:
    """Nanoseconds of a PAX time: seconds since 1970, possibly negative, with a fraction of any length."""
    sign = -1 if text[:1] == b"-" else 1
    whole, dot, fraction = text.lstrip(b"-").partition(b".")
    if len(text) - len(text.lstrip(b"-")) > 1 or not (whole + fraction).isdigit() or (dot and not whole):
        raise LayerError(f'{what}: "{shown(text)}" is not a time')
    seconds = decimal(whole, what, 1 << 55)
    return sign * (seconds * SECOND + int((fraction + b"000000000")[:9]))


def records(data: bytes) -> list[tuple[bytes, bytes]]:
    """The records of an extended header, in their order: each is "length key=value" and a newline."""
    found = []
    pos = 0
    while pos < len(data):
        space = data.find(b" ", pos, pos + 20)
        digits = data[pos:space] if space > 0 else b""
        end = pos + int(digits) if digits.isdigit() else 0
        if end <= space + 1 or end > len(data) or data[end - 1] != 0x0A:
            if not data[pos:].strip(b"\0"):   # some writers count the padding
                break
            raise LayerError(f"extended header: wrong length of the record at byte {pos}")
        key, equals, value = data[space + 1:end - 1].partition(b"=")
        if not equals or not key or b"\0" in key:
            raise LayerError(f'extended header: "{shown(data[space + 1:end - 1][:80])}" is not "key=value"')
        found.append((key, value))
        pos = end
    return found


def attribute(key: bytes, value: bytes) -> tuple[bytes, bytes] | None:
    """The extended attribute in a record, if it is one: name and value. Raises LayerError if it is too large."""
    if key.startswith(_SCHILY):
        name = key[len(_SCHILY):]
    elif key.startswith(_LIBARCHIVE):
        name = _unquoted(key[len(_LIBARCHIVE):])
        try:
            value = binascii.a2b_base64(value + b"=" * (-len(value) % 4))   # libarchive does not pad
        except binascii.Error as error:
            raise LayerError(f'extended attribute "{shown(name)}": not base64: {error}') from None
    else:
        return None
    if not name or len(name) > MAX_COMPONENT or b"\0" in name:
        raise LayerError(f'extended attribute "{shown(name)}": a name has 1 to {MAX_COMPONENT} bytes, none of them NUL')
    if len(value) > MAX_VALUE:
        raise LayerError(f'extended attribute "{shown(name)}": {len(value)} bytes; the maximum is {MAX_VALUE}')
    return name, value


def _unquoted(text: bytes) -> bytes:
    """Undo libarchive's URL encoding of names."""
    head, *rest = text.split(b"%")
    for part in rest:
        try:
            head += bytes.fromhex(part[:2].decode("ascii")) + part[2:]
        except ValueError:   # not libarchive's encoding: kept
            head += b"%" + part
    return head
