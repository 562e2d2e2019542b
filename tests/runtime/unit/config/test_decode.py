"""decode and encode against the standard library, and the exact place of every mistake."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyruntime.errors import ConfigError
from pyruntime.system import json as fast
from pyruntime.system import json_quote
from pyruntime.system import json_syntax as syntax
from pyruntime.system.json import DEPTH, decode, encode

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


def whole(value: object) -> object:
    """``value`` as returned by decode: whole floats become integers."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [whole(item) for item in value]
    if isinstance(value, dict):
        return {name: whole(item) for name, item in value.items()}
    return value


@given(VALUES, st.sampled_from([None, 0, 2, 4]))
def test_both_readers_read_what_encode_and_the_standard_library_write(value: object, indent: int | None) -> None:
    for text in (encode(value, indent), json.dumps(value, ensure_ascii=False), json.dumps(value, indent=indent)):
        assert decode(text.encode(), "x") == whole(value)
        assert syntax.read(text.encode(), "x") == whole(value)
    assert json.loads(encode(value, indent)) == value


@given(VALUES)
def test_encode_agrees_with_the_standard_library_to_the_byte(value: object) -> None:
    assert encode(value) == json.dumps(value, separators=(",", ":"))
    if value not in ([], {}):
        assert encode(value, 2) == json.dumps(value, indent=2)


@given(st.text())
def test_quote_agrees_with_the_accelerator(text: str) -> None:
    assert json_quote.quote(text) == json.dumps(text)


@given(st.text(st.sampled_from('{}[]",:0123456789.eE+-truefalsn \n\t\\u/"ab'), max_size=30))
def test_the_two_readers_refuse_the_same_texts(text: str) -> None:
    """The slow reader words the error, so it must never accept a text that the fast reader refused."""
    try:
        slow: object = syntax.read(text.encode(), "x")
    except ConfigError:
        slow = ConfigError
    try:
        start = len(text) - len(text.lstrip(" \t\n\r"))
        assert fast._scan is not None, "this interpreter has no accelerator, so there is nothing to compare"
        value, end = fast._scan(text, start)
        quick: object = value if not text[end:].strip(" \t\n\r") and fast._plain(text, value) else ConfigError
    except (fast._Refused, StopIteration, ValueError, RecursionError):
        quick = ConfigError
    assert slow == quick
    if slow is not ConfigError:
        assert type(slow) is type(quick)


WRONG = [
    (b"", "", "line 1, column 1: expected an object, found the end of the file"),
    (b" \n ", "", "line 2, column 2: expected an object, found the end of the file"),
    (b"{]", "", 'line 1, column 2: expected a key in double quotes or "}", found "]"'),
    (b'{"a": 1,}', "", 'line 1, column 9: expected a key in double quotes, found "}"'),
    (b'{"a": [1,\n2,]}', "a[2]", 'line 2, column 3: expected a value, found "]"'),
    (b'{"a": [1 2]}', "a", 'line 1, column 10: expected "," or "]", found "2"'),
    (b'{"a" 1}', "a", 'line 1, column 6: expected ":", found "1"'),
    (b'{"a": 1 "b": 2}', "", 'line 1, column 9: expected "," or "}", found a string'),
    (b'{"a": 1', "", 'line 1, column 8: expected "," or "}", found the end of the file'),
    (b'{"a": ', "a", "line 1, column 7: expected a value, found the end of the file"),
    (b"{'a': 1}", "", 'line 1, column 2: expected a key in double quotes or "}", found "\'a\'"'),
    (b"{\"a\": 'b'}", "a", "line 1, column 7: expected a value, found a single quote"),
    (b'{"a": True}', "a", 'line 1, column 7: expected a value, found "True"'),
    (b"{} {}", "", 'line 1, column 4: expected the end of the file, found "{"'),
    (b'{"a": 1, "b": {"c": 1,\n "c": 2}}', "b.c", 'line 2, column 2: duplicate key "c", first used on line 1'),
    (b'{"a.b": {"x y": {"c": 1, "c": 1}}}', '["a.b"]["x y"].c', 'line 1, column 26: duplicate key "c"'),
    (b'{"a": NaN}', "a", 'line 1, column 7: expected a value, found "NaN"'),
    (b'{"a": -Infinity}', "a", 'line 1, column 7: "-" is not a number'),
    (b'{"a": Infinity}', "a", 'line 1, column 7: expected a value, found "Infinity"'),
    (b'{"a": 1e400}', "a", "line 1, column 7: the number 1e400 is out of range"),
    (b'{"a": ' + b"9" * 5000 + b"}", "a", "line 1, column 7: the number 9999"),
    (b'{"a": 0644}', "a", 'line 1, column 7: "0644" is not a number'),
    (b'{"a": 0x1f}', "a", 'line 1, column 7: "0x1f" is not a number'),
    (b'{"a": 1.}', "a", 'line 1, column 7: "1." is not a number'),
    (b'{"a": 1e}', "a", 'line 1, column 7: "1e" is not a number'),
    (b'{"a": "b\n"}', "a", "line 1, column 9: a line break is not allowed in a string"),
    (b'{"a": "b\t"}', "a", "line 1, column 9: a tab is not allowed in a string"),
    (b'{"a": "\x00"}', "a", "line 1, column 8: control character 0x00 is not allowed in a string"),
    (b'{"a": "\\x41"}', "a", "line 1, column 8: \\x is not an escape"),
    (b'{"a": "\\u12"}', "a", "line 1, column 8: \\u needs four hexadecimal digits"),
    (b'{"a": "\\ud800"}', "a", "line 1, column 8: \\ud800 is half of a surrogate pair"),
    (b'{"a": "\\udc00\\ud800"}', "a", "line 1, column 8: \\udc00 is half of a surrogate pair"),
    (b'{"\\ud800": 1}', "", "line 1, column 3: \\ud800 is half of a surrogate pair"),
    (b'{"a": "b', "a", "line 1, column 7: unterminated string"),
    (b'{"a": "\xc3\xa9\xff"}', "", "line 1, column 9: byte 0xff is not UTF-8"),
    (b'{"a": "\xed\xa0\x80"}', "", "line 1, column 8: byte 0xed is not UTF-8"),
    (b"\xff\xfe{\x00}\x00", "", "line 1, column 1: byte 0xff is not UTF-8"),
    (b"\xef\xbb\xbf{}", "", "line 1, column 1: the document starts with a byte order mark"),
    (b'{"a": 1 // one\n}', "", "line 1, column 9: a comment is not allowed in JSON"),
    (b'{"a": ' + b"[" * 200 + b"]" * 200 + b"}", "a" + "[0]" * 127, "line 1, column 134: nested deeper than 128"),
    (b"[" * 100_000, "[0]" * 128, "line 1, column 129: nested deeper than 128 levels"),
]


@pytest.mark.parametrize(("data", "where", "what"), WRONG, ids=[what for _, _, what in WRONG])
def test_a_mistake_is_named_with_its_place(data: bytes, where: str, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        decode(data, "config.json")
    [problem] = caught.value.problems
    assert (problem.where, problem.what[: len(what)]) == (where, what)
    assert problem.remedy
    assert str(caught.value).startswith(f"config.json: {where + ': ' if where else ''}line ")


def test_nesting_up_to_the_limit_is_read() -> None:
    text = b"[" * DEPTH + b"]" * DEPTH
    assert decode(text, "x") == syntax.read(text, "x")
    with pytest.raises(ConfigError, match="nested deeper"):
        decode(b"[" + text + b"]", "x")
    assert decode(b"[" + b"{}," * 1000 + b"1]", "x") == [{}] * 1000 + [1]


def test_whole_numbers_are_integers_however_they_are_written() -> None:
    value = decode(b"[1, 1.0, 1e3, -0.0, 0.5, 18446744073709551615]", "x")
    assert value == [1, 1, 1000, 0, 0.5, 18446744073709551615]
    assert [type(item) for item in value] == [int, int, int, int, float, int]


@pytest.mark.parametrize("value", [math.nan, math.inf, {"a": [-math.inf]}])
def test_encode_refuses_numbers_that_json_lacks(value: object) -> None:
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        encode(value)


@pytest.mark.parametrize("value", [b"bytes", {1: "a"}, {"a": {1, 2}}])
def test_encode_refuses_values_that_json_lacks(value: object) -> None:
    with pytest.raises(TypeError, match="cannot be written as JSON"):
        encode(value)


def test_an_interpreter_without_the_accelerator_reads_the_same() -> None:
    program = (
        "import sys; sys.modules['_json'] = None; sys.path[:0] = %r\n"
        "from pyruntime.system.json import decode, encode\n"
        'value = decode(b\'{"a": [1, 1e2, "\\\\u00e9", null, true], "b.c": {}}\', \'x\')\n'
        'assert encode(value) == \'{"a":[1,100,"\\\\u00e9",null,true],"b.c":{}}\', encode(value)\n'
        "from pyruntime.system.json_path import member\n"
        "assert member('a', 'b.c') == 'a[\"b.c\"]'\n"
        "assert 'json' not in sys.modules and 're' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program % sys.path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
