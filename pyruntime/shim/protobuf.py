"""protobuf messages, described by tables.

Spec: protobuf.dev/programming-guides/encoding. Unknown fields are ignored, zero values are omitted, the last value of a
field wins, and scalars that are repeated may be packed. A message is a dict of its fields' names; a decoded one has all
fields.

The package protobuf would cost 20 ms of start and 5 MB (docs/decisions/0023-the-shim.md).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5   # wire types
_WHOLE = (1 << 64) - 1
_MOST = 1 << 16   # of a field that is repeated: an empty item has two bytes in a message, and some hundred in memory

# Kinds of fields: the value that a missing field has shows how it is read.
TEXT, BYTES, UNSIGNED, SIGNED, BOOL = "text", "bytes", "unsigned", "signed", "bool"
_MISSING: dict[object, Any] = {TEXT: "", BYTES: b"", UNSIGNED: 0, SIGNED: 0, BOOL: False}


class Malformed(ValueError):
    """The bytes are no message of this kind."""


class Many:
    """A field that is repeated."""

    __slots__ = ("kind",)

    def __init__(self, kind: str | Table) -> None:
        self.kind = kind


class Table:
    """The fields of a message: name -> (number, kind); a kind is one of the words above, a table, or Many of one."""

    def __init__(self, **fields: tuple[int, Any]) -> None:
        self._fields = [(name, number, kind.kind if isinstance(kind, Many) else kind, isinstance(kind, Many))
                        for name, (number, kind) in fields.items()]
        self._by_number = {number: (name, kind, many) for name, number, kind, many in self._fields}
        self._names = frozenset(fields)
        self._missing = {name: _MISSING.get(kind) for name, _, kind, many in self._fields if not many}
        self._repeated = [name for name, _, _, many in self._fields if many]

    def encode(self, values: dict[str, Any]) -> bytes:
        """The bytes of a message. Fields may be left out; a field that the table does not have raises KeyError."""
        if not self._names.issuperset(values):
            raise KeyError(*(values.keys() - self._names))
        out = bytearray()
        for name, number, kind, many in self._fields:
            value = values.get(name)
            if many:
                for item in value or ():
                    _put(out, number, kind, item)
            elif value if kind in _MISSING else value is not None:
                _put(out, number, kind, value)
        return bytes(out)

    def decode(self, data: bytes) -> dict[str, Any]:
        """The message with all its fields: "", b"", 0, False, [] or None for those that are missing. Raises
        Malformed."""
        values: dict[str, Any] = self._missing.copy()
        for name in self._repeated:
            values[name] = []
        at, length_of_all = 0, len(data)
        while at < length_of_all:
            tag = data[at]   # most numbers have one byte
            if tag < 128:
                at += 1
            else:
                tag, at = _varint(data, at)
            wire = tag & 7
            if tag >> 3 == 0:
                raise Malformed("field number 0")
            if wire == _VARINT:
                value: Any
                value, at = _varint(data, at)
            elif wire == _LENGTH:
                if at < length_of_all and data[at] < 128:
                    length, at = data[at], at + 1
                else:
                    length, at = _varint(data, at)
                value, at = data[at:at + length], at + length
            elif wire in (_FIXED64, _FIXED32):
                value, at = None, at + (8 if wire == _FIXED64 else 4)
            else:
                raise Malformed(f"wire type {wire}")
            if at > length_of_all:
                raise Malformed("the message is cut off")
            found = self._by_number.get(tag >> 3)
            if found is None:
                continue
            name, kind, many = found
            if many and wire == _LENGTH and kind in (UNSIGNED, SIGNED, BOOL):
                values[name] += _packed(kind, value)
            elif (wire == _LENGTH) != (kind not in (UNSIGNED, SIGNED, BOOL)) or value is None:
                raise Malformed(f"field {name} has wire type {wire}")
            elif many:
                if len(values[name]) == _MOST:
                    raise Malformed(f"more than {_MOST} times field {name}")
                values[name].append(_value(kind, value))
            else:
                values[name] = _value(kind, value)
        return values


def _put(out: bytearray, number: int, kind: Any, value: Any) -> None:
    if kind in (UNSIGNED, SIGNED, BOOL):
        _put_varint(out, number << 3)
        _put_varint(out, int(value) & _WHOLE)
        return
    data = value if kind is BYTES else value.encode() if kind is TEXT else kind.encode(value)
    _put_varint(out, number << 3 | _LENGTH)
    _put_varint(out, len(data))
    out += data


def _put_varint(out: bytearray, number: int) -> None:
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Malformed("a number is cut off, or longer than ten bytes")
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number & _WHOLE, at
        shift += 7


def _value(kind: Any, value: Any) -> Any:
    if kind is TEXT:
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise Malformed("a text is not UTF-8") from None
    if kind is SIGNED:
        return value - (1 << 64) if value >> 63 else value
    if kind is BOOL:
        return bool(value)
    return value if kind in (BYTES, UNSIGNED) else kind.decode(value)


def _packed(kind: str, data: bytes) -> list[Any]:
    values, at = [], 0
    while at < len(data):
        number, at = _varint(data, at)
        values.append(_value(kind, number))
    return values
