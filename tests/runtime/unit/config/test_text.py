"""The syntax of strings: the functions agree with the patterns of the schemas."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyruntime.runtime.config import generate, rules, text, validate
from pyruntime.runtime.config.node import Node
from pyruntime.runtime.config.schemas import schema
from pyruntime.runtime.config.sections.process import RLIMITS
from pyruntime.system.uapi import ALL_CAPABILITIES

VERSION = schema("types.json")["$defs"]["version"]["pattern"]
CALLS = {**generate.PATTERNS, VERSION: "is_version({})"}
ALPHABET = "019-., +_abzABMKGRLIT:rwm\0\n\u0663\u00e9"


def expected(pattern: str, word: str) -> bool:
    """Match as in JSON Schema: unlike in Python, "$" matches only at the end."""
    return re.search(re.sub(r"\$$", r"\\Z", pattern), word) is not None


@pytest.mark.parametrize("pattern", CALLS, ids=list(CALLS.values()))
@given(st.data())
def test_functions_agree_with_the_patterns(pattern: str, data: st.DataObject) -> None:
    word = data.draw(
        st.text(ALPHABET, max_size=12)
        | st.from_regex(pattern)
        | st.sampled_from(["RLIMIT_", "RLIMIT_A", "MB:", "MB:\n", "KB", "0KB", "1KB\n", "10GB", "1.0.0-0.a+0"])
    )
    assert eval(CALLS[pattern].format("word"), {**vars(text), "word": word}) == expected(pattern, word)


@pytest.mark.parametrize(
    "version", ["1.3.0", "0.0.0", "1.0.2-dev", "1.1.0-rc.2", "1.0.0-a.0.x-y", "1.2.3+build.01", "1.2.3-a+b", "10.2.3"]
)
def test_versions(version: str) -> None:
    assert text.is_version(version)


@pytest.mark.parametrize(
    "version",
    ["", "1", "1.0", "1.0.0.0", "01.0.0", "1.0.00", "v1.0.0", "1.0.0-", "1.0.0-01", "1.0.0-a..b", "1.0.0+", "1.0.0+a_b",
     "1.0.0\n", " 1.0.0", "1.0.x", "-1.0.0", "1.0.0-\u00e9", "\u0661.0.0"],
)  # fmt: skip
def test_invalid_versions(version: str) -> None:
    assert not text.is_version(version)


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 40)), min_size=1), st.sampled_from([",", ", ", " ,"]))
def test_lists_are_accepted(ranges: list[tuple[int, int]], comma: str) -> None:
    assert text.list_error(comma.join(f"{low}-{low + more}" if more else str(low) for low, more in ranges)) == ""


@given(st.text("0123456789-, ax", max_size=12))
@example("0x1")
def test_lists_agree_with_the_pattern(word: str) -> None:
    part = r"[ \t\n]*[0-9]{1,4}(-[0-9]{1,4})?[ \t\n]*"
    formal = re.fullmatch(rf"[ \t\n]*|{part}(,{part})*", word) is not None
    forwards = all(int(low) <= int(high) for low, high in re.findall("([0-9]+)-([0-9]+)", word))
    if len(max(re.findall("[0-9]+", word), key=len, default="")) <= len("1234"):
        assert (text.list_error(word) == "") == (formal and forwards)


@pytest.mark.parametrize("name", ["eth0", "ctr%d", "fifteen-letters", "a", "\u00fc", "...", "lo"])
def test_interface_names(name: str) -> None:
    assert text.interface_error(name) == ""


@pytest.mark.parametrize("name", ["", "sixteen-letters0", "\u00fc" * 8, ".", "..", "a/b", "a:1", "a b", "a\tb", "a\n"])
def test_invalid_interface_names(name: str) -> None:
    assert text.interface_error(name)


@pytest.mark.parametrize(
    ("word", "words", "meant"),
    [
        ("CAP_SYSADMIN", ALL_CAPABILITIES, "CAP_SYS_ADMIN"),
        ("SYS_ADMIN", ALL_CAPABILITIES, "CAP_SYS_ADMIN"),
        ("cap_chown", ALL_CAPABILITIES, "CAP_CHOWN"),
        ("CAP_NET_BIND_SERVCIE", ALL_CAPABILITIES, "CAP_NET_BIND_SERVICE"),
        ("NOFILES", RLIMITS, ""),
        ("RLIMIT_NOFILES", RLIMITS, "RLIMIT_NOFILE"),
        ("RLIMIT_BAD", RLIMITS, ""),
        ("BAD", RLIMITS, ""),
        ("", RLIMITS, ""),
        ("pdi", ("mount", "pid"), "pid"),
        ("net", ("mount", "network", "pid"), ""),
    ],
)
def test_nearest(word: str, words: tuple[str, ...], meant: str) -> None:
    assert text.nearest(word, words) == meant


@given(st.text(max_size=200))
def test_shown_is_one_line_of_limited_length(word: str) -> None:
    shown = text.shown(word)
    assert shown[0] == shown[-1] == '"'
    assert shown.isprintable()
    assert len(shown) <= 12 * 80 + 2


@pytest.mark.parametrize("document", [
    {"process": {"capabilities": {"bounding": ["CAP_" + "x" * 200_000]}}},
    {"process": {"capabilities": {"bounding": [f"CAP_{number}_ADMIN" for number in range(5000)]}}},
    {"linux": {"namespaces": [{"type": "networ" + "k" * 200_000}]}},
    {"linux": {"namespaces": [{"type": f"networ{number}"} for number in range(5000)]}},
    {"linux": {f"resource{number}": 1 for number in range(5000)}},
    {"process": {"rlimits": [{"type": f"RLIMIT_{'A' * (number % 40)}{chr(65 + number % 26)}", "soft": 1, "hard": 1}
                             for number in range(5000)]}},
])
def test_the_cost_of_guesses_does_not_grow_with_the_document(document: dict[str, Any],
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def distance(one: str, other: str) -> int:
        asked.append((len(one), len(other)))
        return 99
    monkeypatch.setattr(text, "_distance", distance)
    value = {"ociVersion": "1.0.2", "root": {"path": "r"}, **document}
    value["process"] = {"cwd": "/", "args": ["x"], "user": {"uid": 0, "gid": 0}, **value.get("process", {})}
    validate.validate(value)
    validate.unknown_members(value)
    for check in (rules.problems, rules.warnings):
        if not validate.validate(value):
            check(Node(value))
    assert len(asked) <= 4 * text.GUESSES * 50
    assert all(one <= text.LONGEST for one, _ in asked)
