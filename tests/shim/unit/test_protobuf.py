"""The codec of messages: round trips, what the encoding allows, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import any_pb2, timestamp_pb2
from hypothesis import given
from hypothesis import strategies as st

from pyruntime.shim import messages
from pyruntime.shim.protobuf import BOOL, BYTES, SIGNED, TEXT, UNSIGNED, Malformed, Many, Table

INNER = Table(name=(1, TEXT), number=(16, UNSIGNED))
WHOLE = Table(text=(1, TEXT), data=(2, BYTES), count=(3, UNSIGNED), signed=(4, SIGNED), flag=(5, BOOL),
              inner=(6, INNER), many=(7, Many(INNER)), words=(8, Many(TEXT)), numbers=(9, Many(SIGNED)))
_UNSIGNED = st.integers(0, (1 << 64) - 1)
_SIGNED = st.integers(-(1 << 63), (1 << 63) - 1)
_INNER = st.fixed_dictionaries({"name": st.text(), "number": _UNSIGNED})
_WHOLE = st.fixed_dictionaries({
    "text": st.text(), "data": st.binary(), "count": _UNSIGNED, "signed": _SIGNED, "flag": st.booleans(),
    "inner": st.none() | _INNER, "many": st.lists(_INNER), "words": st.lists(st.text()), "numbers": st.lists(_SIGNED)})


@given(_WHOLE)
def test_round_trip(values: dict[str, Any]) -> None:
    assert WHOLE.decode(WHOLE.encode(values)) == values


@given(st.binary(max_size=64))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    for table in (WHOLE, messages.REQUEST, messages.CREATE):
        try:
            values = table.decode(data)
        except Malformed:
            continue
        assert table.decode(table.encode(values)) == values


@given(_WHOLE, st.data())
def test_a_message_that_is_cut_off(values: dict[str, Any], data: st.DataObject) -> None:
    """Is refused, or cut between two fields."""
    encoded = WHOLE.encode(values)
    part = encoded[:data.draw(st.integers(0, len(encoded)))]
    try:
        found = WHOLE.decode(part)
    except Malformed:
        return
    assert encoded.startswith(WHOLE.encode(found))


@given(st.text(), st.binary())
def test_any_is_that_of_protobuf(url: str, value: bytes) -> None:
    theirs = any_pb2.Any(type_url=url, value=value)
    assert messages.ANY.encode({"type_url": url, "value": value}) == theirs.SerializeToString()
    assert messages.ANY.decode(theirs.SerializeToString()) == {"type_url": url, "value": value}


@given(st.integers(-(10**11), 10**11), st.integers(0, 999_999_999))
def test_timestamp_is_that_of_protobuf(seconds: int, nanos: int) -> None:
    theirs = timestamp_pb2.Timestamp(seconds=seconds, nanos=nanos).SerializeToString()
    assert messages.TIMESTAMP.encode({"seconds": seconds, "nanos": nanos}) == theirs
    assert messages.TIMESTAMP.decode(theirs) == {"seconds": seconds, "nanos": nanos}


@pytest.mark.parametrize(("data", "values"), [
    (b"\x0a\x01a\x0a\x01b", {"text": "b"}),                               # the last one wins
    (b"\xf8\x01\x05\x1a\x01x"[:3] + b"\x18\x07", {"count": 7}),           # an unknown number before a known field
    (b"\xfa\x01\x02xy\x18\x07", {"count": 7}),                            # an unknown text
    (b"\xfd\x01abcd\xf9\x01abcdefgh\x18\x07", {"count": 7}),              # unknown fixed32 and fixed64
    (b"\x4a\x03\x01\x02\x03\x48\x04", {"numbers": [1, 2, 3, 4]}),         # packed and not, in one message
    (b"\x20" + b"\xff" * 9 + b"\x01", {"signed": -1}),                    # ten bytes
    (b"\x32\x00", {"inner": {"name": "", "number": 0}}),                  # present but empty
])
def test_what_the_encoding_allows(data: bytes, values: dict[str, Any]) -> None:
    missing = WHOLE.decode(b"")
    assert WHOLE.decode(data) == {**missing, **values}


@pytest.mark.parametrize("data", [
    b"\x0a", b"\x0a\x05ab", b"\x18", b"\x18\xff", b"\x18" + b"\x80" * 10 + b"\x01", b"\x0b", b"\x00\x00",
    b"\x08\x01",            # a text that is a number
    b"\x1a\x01x",           # a number that is a text
    b"\x0a\x01\xff",        # not UTF-8
    b"\x32\x02\x0a\x05",    # the inner message is cut off
    b"\x1d\x01\x02\x03\x04",   # a number as fixed32
    b"\x3a\x00" * 65_537,     # more items than any message has, in two bytes each
])
def test_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        WHOLE.decode(data)


def test_a_field_that_the_table_does_not_have() -> None:
    with pytest.raises(KeyError):
        INNER.encode({"named": "x"})


def test_zero_values_are_left_out() -> None:
    assert WHOLE.encode({"text": "", "data": b"", "count": 0, "flag": False, "inner": None, "many": []}) == b""


def test_numbers_of_fields_are_unique() -> None:
    tables = [value for value in vars(messages).values() if isinstance(value, Table)]
    tables += [table for pair in messages.METHODS.values() for table in pair]
    tables += [table for _, table in messages.EVENTS.values()]
    for table in tables:
        numbers = [number for _, number, _, _ in table._fields]
        assert len(set(numbers)) == len(numbers)
