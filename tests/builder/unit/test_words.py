"""How words are split and expanded."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyruntime.builder.dockerfile.words import Expansion, WordError, split_fields, split_words

VALUES = {"A": "one", "EMPTY": "", "PATH": "/a/b/c.tar.gz", "B": "two words", "ÄÖ": "umlaut", "1": "first",
"12": "twelve"}


@pytest.mark.parametrize(("text", "expected"), [
    ("plain", "plain"), ("$A", "one"), ("${A}", "one"), ("x$A/y", "xone/y"), ("$A$A", "oneone"), ("$NONE", ""),
    ("${NONE}", ""), ("$", "$"), ("a$", "a$"), ("$/x", "$/x"), ("$ A", "$ A"), ("$AB", ""), ("${A}B", "oneB"),
    ("$12", "twelve"), ("$1x", "firstx"), ("$ÄÖ", "umlaut"), ("\\$A", "$A"), ("\\\\$A", "\\one"), ("\\a", "a"),
    ("'$A'", "$A"), ('"$A"', "one"), ("\"'$A'\"", "'one'"), ("'\"$A\"'", '"$A"'), ('"\\$A"', "$A"),
    ('"\\a"', "\\a"), ('"\\\\"', "\\"), ('"\\""', '"'), ("'\\'", "\\"), ("a'b'c", "abc"), ('""', ""), ("''", ""),
    ("${A:-x}", "one"), ("${NONE:-x}", "x"), ("${EMPTY:-x}", "x"), ("${EMPTY-x}", ""), ("${NONE-x}", "x"),
    ("${A:+x}", "x"), ("${NONE:+x}", ""), ("${EMPTY:+x}", ""), ("${EMPTY+x}", "x"), ("${NONE+x}", ""),
    ("${NONE:-$A}", "one"), ("${NONE:-${A}}", "one"), ("${NONE:-${NONE:-${A}}}", "one"), ("${NONE:-}", ""),
    ("${NONE:-a b}", "a b"), ("${NONE:-'}'}", "}"), ("${NONE:-\"}\"}", "}"), ("${NONE:-\\}}", "}"), ("${A:?no}", "one"),
    ("${EMPTY?no}", ""), ("${PATH#*/}", "a/b/c.tar.gz"), ("${PATH##*/}", "c.tar.gz"), ("${PATH%.*}", "/a/b/c.tar"),
    ("${PATH%%.*}", "/a/b/c"), ("${PATH#x}", "/a/b/c.tar.gz"), ("${PATH%/*}", "/a/b"), ("${PATH/a/X}", "/X/b/c.tar.gz"),
    ("${PATH//a/X}", "/X/b/c.tXr.gz"), ("${PATH//\\//_}", "_a_b_c.tar.gz"),
    ("${PATH//\\//\\/}", "\\/a\\/b\\/c.tar.gz"), ("${PATH/\\//\\}}", "\\}a/b/c.tar.gz"),   # an escape stays in it
    ("${PATH/?b/X}", "/aX/c.tar.gz"),
    ("${A#o*}", "ne"), ("${A##o*}", ""), ("${A%n?}", "o"), ("${NONE#x}", ""), ("${A//o/$B}", "two wordsne"),
    ("${A/z/y}", "one"), ("${A//?/x}", "xxx"), ("a\\ b", "a b"), ("\\", ""), ("[$A]", "[one]"),
])
def test_expansion(text: str, expected: str) -> None:
    assert Expansion(VALUES).word(text) == expected


@pytest.mark.parametrize(("text", "offset"), [
    ("'a", 0), ('a"b', 1), ("${A", 0), ("${", 0), ("${}", 0), ("x${A:x}", 5), ("${A*x}", 3), ("${NONE:?gone}", 0),
    ("${EMPTY:?gone}", 0), ("${NONE?}", 0), ("${A:#x}", 4), ("${A:-x", 5), ("${A//x", 5), ("${A/x/y", 6), ('"\\', 0),
])
def test_invalid_words(text: str, offset: int) -> None:
    with pytest.raises(WordError) as caught:
        Expansion(VALUES).word(text)
    assert caught.value.offset == offset, str(caught.value)


def test_an_error_says_the_word() -> None:
    with pytest.raises(WordError, match="a reason"):
        Expansion({}).word("${X:?a reason}")


@pytest.mark.parametrize(("text", "expected"), [
    ("$B", ["two", "words"]), ('"$B"', ["two words"]), ("a$B", ["atwo", "words"]), ("$NONE", []), ('"$NONE"', [""]),
    ("a b", ["a", "b"]), ("a\\ b", ["a b"]), ("'a b'c", ["a bc"]),
])
def test_several_words(text: str, expected: list[str]) -> None:
    assert Expansion(VALUES).words(text) == expected


@pytest.mark.parametrize(("text", "expected"), [
    ("a $A b", "a one b"), ("'$A' \"$A\"", "'one' \"one\""), ("\\$A", "$A"), ("\\n", "\\n"), ("it's", "it's"),
    ("\\\\$A", "\\one"), ("${NONE:-'x'}", "x"),
])
def test_content_keeps_quotes(text: str, expected: str) -> None:
    assert Expansion(VALUES, raw_quotes=True).word(text) == expected


def test_another_escape_character() -> None:
    assert Expansion(VALUES, "`").word("`$A c:\\x ``") == "$A c:\\x `"


@pytest.mark.parametrize(("text", "expected"), [
    ("a=b c=d", ["a=b", "c=d"]), ('a="b c" d', ['a="b c"', "d"]), ("a=b\\ c d=e", ["a=b\\ c", "d=e"]),
    ("a='b \\' c", ["a='b \\'", "c"]), ("  a  ", ["a"]), ("", []), ('a="x', ['a="x']), ("a=b\\", ["a=b"]),
    ('a="\\"" b', ['a="\\""', "b"]),
])
def test_split(text: str, expected: list[str]) -> None:
    assert [word for _, word in split_words(text)] == expected


@given(st.text(alphabet=st.sampled_from("ab$A{}:-+?#%/*'\"\\ "), max_size=40))
def test_never_anything_but_a_word_error(text: str) -> None:
    try:
        Expansion(VALUES).word(text)
        Expansion(VALUES).words(text)
    except WordError as error:
        assert 0 <= error.offset <= len(text)


@given(st.text(alphabet=st.characters(exclude_characters="$'\"\\"), max_size=40))
def test_plain_text_is_kept(text: str) -> None:
    assert Expansion(VALUES).word(text) == text


@given(st.text(max_size=40))
def test_quoted_text_is_kept(text: str) -> None:
    quoted = "'" + text.replace("'", "'\"'\"'") + "'"
    assert Expansion(VALUES).word(quoted) == text


@given(st.lists(st.text(alphabet="ab=.", min_size=1, max_size=8), max_size=6))
def test_splitting_is_the_opposite_of_joining(words: list[str]) -> None:
    assert [word for _, word in split_words(" ".join(words))] == words
    assert [word for _, word in split_fields("\t ".join(words))] == words


@given(st.text(alphabet="ab*?", max_size=6).filter(lambda text: "**" not in text), st.text(alphabet="abc", max_size=8))
def test_patterns_are_those_of_a_shell(pattern: str, value: str) -> None:
    ends = [cut for cut in range(len(value) + 1) if fnmatch.fnmatchcase(value[:cut], pattern)]
    starts = [cut for cut in range(len(value) + 1) if fnmatch.fnmatchcase(value[cut:], pattern)]
    expected = {"#": value[ends[0]:] if ends else value, "##": value[ends[-1]:] if ends else value,
                "%": value[:starts[-1]] if starts else value, "%%": value[:starts[0]] if starts else value}
    for sign, wanted in expected.items():
        assert Expansion({"V": value}).word(f"${{V{sign}{pattern}}}") == wanted, (sign, pattern, value)
    if pattern:
        found = next(((start, max(cut for cut in range(start, len(value) + 1)
                                  if fnmatch.fnmatchcase(value[start:cut], pattern)))
                      for start in range(len(value) + 1)
                      if any(fnmatch.fnmatchcase(value[start:cut], pattern) for cut in range(start, len(value) + 1))),
                     None)
        wanted = value if found is None else value[:found[0]] + "X" + value[found[1]:]
        assert Expansion({"V": value}).word(f"${{V/{pattern}/X}}") == wanted


def test_every_pattern_takes_linear_time() -> None:
    value = "a" * 1000
    for sign in ("#", "%%", "/"):
        assert Expansion({"V": value}).word(f"${{V{sign}{'*a' * 30}b{'/x' if sign == '/' else ''}}}") == value
