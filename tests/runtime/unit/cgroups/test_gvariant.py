"""GVariant text: the examples of its documentation, and invalid text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyruntime.runtime.cgroups.gvariant import KEYWORDS, RANGES, parse, quote

GOOD: list[tuple[str, str, Any]] = [
    ("true", "b", True), ("false", "b", False), ("'inactive'", "s", "inactive"), ('"a\'b"', "s", "a'b"),
    (r"'a\'b\n\u00e9\U0001f600'", "s", "a'b\né\U0001f600"), ("5", "i", 5), ("-5", "i", -5), ("+5", "i", 5),
    ("0x10", "i", 16), ("010", "i", 8), ("0", "i", 0), ("1.5", "d", 1.5), ("1e3", "d", 1000.0),
    ("uint64 5", "t", 5), ("uint64 18446744073709551615", "t", (1 << 64) - 1), ("int64 -1", "x", -1),
    ("byte 0xff", "y", 255), ("double 1", "d", 1.0), ("objectpath '/a'", "o", "/a"), ("signature 'as'", "g", "as"),
    ("string 'x'", "s", "x"), ("boolean true", "b", True), ("[1, 2]", "ai", [1, 2]), ("[uint64 1, 2]", "at", [1, 2]),
    ("@as []", "as", []), ("[byte 1, 2]", "ay", b"\1\2"), ("b'ab'", "ay", b"ab\0"), ("('a', 1)", "(si)", ("a", 1)),
    ("(1,)", "(i)", (1,)), ("[('a', uint64 1), ('b', 2)]", "a(st)", [("a", 1), ("b", 2)]),
    ("{'a': 1, 'b': 2}", "a{si}", {"a": 1, "b": 2}), ("@a{sv} {}", "a{sv}", {}), ("<'x'>", "v", ("s", "x")),
    ("{'a': <1>, 'b': <'c'>}", "a{sv}", {"a": ("i", 1), "b": ("s", "c")}), ("@t 5", "t", 5), (" 5 ", "i", 5),
    ("@a(sas) [('/bin/true', ['a'])]", "a(sas)", [("/bin/true", ["a"])]),
]


@pytest.mark.parametrize(("text", "kind", "value"), GOOD, ids=[text for text, _, _ in GOOD])
def test_values(text: str, kind: str, value: Any) -> None:
    assert parse(text) == (kind, value)


@pytest.mark.parametrize("text", [
    "", "abc", "'abc", "uint64", "uint64 -1", "uint64 18446744073709551616", "byte 256", "int32 2147483648",
    "2147483648", "[]", "[1, 'a']", "[1 2]", "[1", "(", "()", "{}", "{1}", "1 2", "@ 5", "@zz 5", "@s 5", "@ai ['a']",
    "uint64 'a'", "string 5", "just 5", "nothing", "handle 1", r"'\uzzzz'", "'a\0b'", "<1", "[" * 64, "uint64 true",
])
def test_errors_name_the_problem(text: str) -> None:
    with pytest.raises(ValueError, match=r"\(character \d+\)$"):
        parse(text)


@given(st.text())
def test_invalid_text_raises_only_valueerror(text: str) -> None:
    try:
        parse(text)
    except ValueError as error:
        assert "character" in str(error)


@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0")))
def test_quoted_strings_round_trip(text: str) -> None:
    assert parse(quote(text)) == ("s", text)


@pytest.mark.parametrize("word", [word for word, kind in KEYWORDS.items() if kind in RANGES])
def test_the_limits_of_numbers(word: str) -> None:
    signed, bits = RANGES[KEYWORDS[word]]
    low, high = -(1 << bits - 1) if signed else 0, (1 << bits - signed) - 1
    assert [parse(f"{word} {number}")[1] for number in (low, high)] == [low, high]
    for number in (low - 1, high + 1):
        with pytest.raises(ValueError, match="fit"):
            parse(f"{word} {number}")
