"""Patterns of COPY and .dockerignore."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyruntime.builder.ignore import Ignore
from pyruntime.builder.patterns import PatternError, component, has_magic, whole
from pyruntime.errors import BuildError


@pytest.mark.parametrize(("pattern", "name", "matches"), [
    ("abc", "abc", True), ("*", "abc", True), ("*c", "abc", True), ("a*", "a", True), ("a*", "ab/c", False),
    ("a*b*c", "axbyc", True), ("a?c", "abc", True), ("a?c", "a/c", False), ("?", "ä", True), ("a[b]c", "abc", True),
    ("a[b-d]", "ac", True), ("a[e-g]", "ac", False), ("a[^b]", "ac", True), ("a[^b]", "ab", False),
    ("a[^bc]", "ad", True), ("a\\*b", "a*b", True), ("a\\*b", "axb", False), ("a[\\]]", "a]", True),
    ("a[\\-x]", "a-", True), ("[a-]", "", None), ("[]a]", "a", None), ("[", "a", None), ("[^", "a", None),
    ("a\\", "a", None), ("[-]", "-", None), ("[x-]", "x", None), ("*[", "a", None), ("[^a-b]", "/", False),
    ("a[!b]", "a!", True), ("a.c", "abc", False), ("(a)", "(a)", True), ("a+", "aa", False), ("**", "a", True),
])
def test_components(pattern: str, name: str, matches: bool | None) -> None:
    if matches is None:
        with pytest.raises(PatternError):
            component(pattern)
    else:
        assert (component(pattern).fullmatch(name) is not None) is matches


@pytest.mark.parametrize(("text", "path", "excluded"), [
    ("a", "a", True), ("a", "b", False), ("a", "a/b", True), ("a", "b/a", False), ("/a", "a", True), ("a/", "a", True),
    ("./a", "a", True), ("a/../b", "b", True), ("a//b", "a/b", True), ("*", "a", True), ("*", "a/b", True),
    ("*/b", "a/b", True), ("*/b", "b", False), ("*/b", "a/c/b", False), ("*.md", "a.md", True),
    ("*.md", "d/a.md", False), ("**/*.md", "a.md", True), ("**/*.md", "d/e/a.md", True), ("**.md", "d/a.md", True),
    ("**", "a/b", True), ("a/**", "a/b/c", True), ("a/**", "a", False), ("a/**/c", "a/c", True),
    ("a/**/c", "a/b/b/c", True), ("a/**/c", "a/bc", False), ("**/a", "a", True), ("**/a", "b/c/a", True),
    ("**/a", "b/ca", False), ("# a\na", "a", True), ("#a", "#a", False), (" #a", "#a", True),
    ("\n\n  a  \n", "a", True),
    ("*\n!a", "a", False), ("*\n!a", "b", True), ("!a\n*", "a", True), ("d\n!d/a", "d/a", False),
    ("d\n!d/a", "d/b", True), ("d/*\n!d/a\nd/a", "d/a", True), ("*\n!d", "d/e/f", False), ("*\n!d\nd/e", "d/e/f", True),
    ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", True),
    ("*.md\nREADME-secret.md\n!README*.md", "README-secret.md", False), ("a?c", "abc", True), ("[ab]", "b", True),
    ("\ufeffa", "a", True), ("a\r\nb\r", "b", True), ("! a", "a", False), ("*\n! a", "a", False), (".", "a", False),
    ("..", "a", False), ("/", "a", False), ("a\\*", "a*", True), ("a\\*", "ab", False), ("a**b", "ax/b", True),
    ("a**b", "ab", True), ("a**b", "axb", False), ("**.m?", "a.md", False), ("**.m?", "d/.md", True),
    ("**file", "d/xfile", True), ("[ab]/**/c", "a/x/y/c", True), ("[*]**/c", "*/x/c", True),
    ("node_modules", "sub/node_modules/x", False), ("**/node_modules", "sub/node_modules/x", True),
    ("**/node_modules\n!sub/node_modules/keep", "sub/node_modules/keep/x", False),
])
def test_ignore(text: str, path: str, excluded: bool) -> None:
    assert Ignore(text).excluded(path) is excluded


@pytest.mark.parametrize(("text", "directory", "skips"), [
    ("d", "d", True), ("d", "e", False), ("d\n!d/a", "d", False), ("d\n!e/a", "d", True), ("*\n!**/x", "d", False),
    ("*\n!d/e/x", "d", False), ("*\n!d/e/x", "d/f", True), ("*\n!d*/x", "dd", False), ("*\n!d*/x", "e", True),
    ("*\n!d", "d", False),
])
def test_directories_that_are_not_entered(text: str, directory: str, skips: bool) -> None:
    assert Ignore(text).skips(directory) is skips


@pytest.mark.parametrize(("text", "where"), [("a\n[", ".dockerignore:2"), ("!", ".dockerignore:1"),
                                             ("\n\na\\", ".dockerignore:3")])
def test_bad_patterns_have_a_place(text: str, where: str) -> None:
    with pytest.raises(BuildError) as caught:
        Ignore(text)
    assert caught.value.where == where


_PATHS = st.lists(st.text(alphabet="ab.", min_size=1, max_size=3).filter(lambda part: part.strip(".")), min_size=1,
                  max_size=4).map("/".join)


@given(st.text(alphabet="ab.*?/!#[]^\\ -\n", max_size=30), _PATHS)
def test_any_text_is_a_pattern_or_refused(text: str, path: str) -> None:
    try:
        ignore = Ignore(text)
    except BuildError:
        return
    if ignore.skips(path):   # then no path below it may match
        for below in ("a", "b/a", ".a"):
            assert ignore.excluded(f"{path}/{below}")


@given(st.text(alphabet="ab*?", max_size=8), st.text(alphabet="ab", max_size=8))
def test_stars_are_those_of_fnmatch(pattern: str, name: str) -> None:
    expected = fnmatch.fnmatchcase(name, pattern)
    assert (component(pattern).fullmatch(name) is not None) is expected
    if "**" not in pattern:
        assert (whole(pattern).fullmatch(name) is not None) is expected


def _plainly(pattern: str, path: str) -> bool:
    """A pattern's meaning, evaluated letter by letter."""
    if not pattern:
        return not path
    if pattern.startswith("**"):
        rest = pattern[2:].removeprefix("/")
        if not rest:
            return True
        return any(_plainly(rest, path[cut:]) for cut in range(len(path) + 1) if cut == 0 or path[cut - 1] == "/")
    if pattern[0] == "*":
        stop = (path + "/").index("/")
        return any(_plainly(pattern[1:], path[cut:]) for cut in range(stop + 1))
    return bool(path) and (path[0] == pattern[0] or (pattern[0] == "?" and path[0] != "/")) and \
        _plainly(pattern[1:], path[1:])


@given(st.text(alphabet="ab*?/", max_size=10), st.text(alphabet="ab/", max_size=10))
@example("**/a/**/b", "a/b/a/c/b")
@example("a**b**c", "ab/bc")
@example("*a*b/*c", "aab/bc")
def test_a_pattern_means_what_it_says(pattern: str, path: str) -> None:
    if "***" in pattern or (pattern.startswith("**") and not has_magic(pattern[2:])):
        return   # undefined; and **SUFFIX, which matches the ends of names
    assert (whole(pattern).fullmatch(path) is not None) is _plainly(pattern, path)


def test_every_pattern_takes_linear_time() -> None:
    assert whole("**/" + "*a" * 100 + "b").fullmatch("a" * 200) is None
    assert component("*a" * 100 + "b").fullmatch("a" * 200) is None
    assert whole("**/a/" * 50 + "b").fullmatch("a/" * 500 + "c") is None
    assert whole("**/" * 50 + "b").fullmatch("a/" * 500 + "c") is None
