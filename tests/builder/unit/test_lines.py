"""From text to instructions: directives, comments, continuation, here-documents."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyruntime.builder.dockerfile.instructions import (
    CopyInstruction,
    EnvInstruction,
    HealthcheckInstruction,
    OnbuildInstruction,
)
from pyruntime.builder.dockerfile.lines import Lines, find_heredocs
from pyruntime.builder.dockerfile.parse import parse_source
from pyruntime.builder.dockerfile.source import DockerfileSource
from pyruntime.errors import DockerfileError


def _lines(text: str) -> list[tuple[str, str]]:
    source = DockerfileSource("Dockerfile", text)
    found = Lines(source)
    assert not source.problems, source.problems
    return [(line.keyword, line.rest) for line in found.lines]


@pytest.mark.parametrize(("text", "expected"), [
    ("FROM a", [("FROM", "a")]),
    ("\ufeffFROM a\r\nRUN b\r\n", [("FROM", "a"), ("RUN", "b")]),
    ("  from   a  b ", [("FROM", "a  b")]),
    ("# comment\n\nFROM a\n  # another\nRUN b", [("FROM", "a"), ("RUN", "b")]),
    ("RUN a \\\n b", [("RUN", "a  b")]),
    ("RUN a \\  \n b", [("RUN", "a  b")]),
    ("RUN a \\\n# comment\n b", [("RUN", "a  b")]),
    ("RUN a \\\n   # comment\n b", [("RUN", "a  b")]),
    ("RUN a \\\n\n b", [("RUN", "a  b")]),
    ("RUN a \\\n\n\n# x\n\n b\nRUN c", [("RUN", "a  b"), ("RUN", "c")]),
    ("RUN a \\\\\nRUN b", [("RUN", "a \\\\"), ("RUN", "b")]),
    ("RUN a \\", [("RUN", "a")]),
    ("RUN a # no comment", [("RUN", "a # no comment")]),
    ("# escape=`\nRUN a `\n b\nRUN c:\\", [("RUN", "a  b"), ("RUN", "c:\\")]),
    ("#escape = `\nRUN a `\n b", [("RUN", "a  b")]),
    ("# x\n# escape=`\nRUN a `\nRUN b", [("RUN", "a `"), ("RUN", "b")]),
    ("\n# escape=`\nRUN a `\nRUN b", [("RUN", "a `"), ("RUN", "b")]),
    ("# syntax=docker/dockerfile:1\n# escape=`\nRUN a `\n b", [("RUN", "a  b")]),
    ("RUN\ta", [("RUN", "a")]),
    ("RUN <<EOF\na\nb\nEOF\nRUN c", [("RUN", "<<EOF"), ("RUN", "c")]),
    ("RUN <<EOF\n# not a comment\n\nEOF\n", [("RUN", "<<EOF")]),
    ("RUN a <<A b <<B\na\nA\nb\nB\nRUN c", [("RUN", "a <<A b <<B"), ("RUN", "c")]),
    ("COPY <<-X /a\n\tb\n\tX\nRUN c", [("COPY", "<<-X /a"), ("RUN", "c")]),
    ("ENV a=<<EOF\nRUN b", [("ENV", "a=<<EOF"), ("RUN", "b")]),
    ("RUN echo '<<EOF'\nRUN b", [("RUN", "echo '<<EOF'"), ("RUN", "b")]),
    ("RUN echo $((1<<3))\nRUN b", [("RUN", "echo $((1<<3))"), ("RUN", "b")]),
    ("RUN cat <<<x\nRUN b", [("RUN", "cat <<<x"), ("RUN", "b")]),
    ("RUN [\"<<EOF\"]\nRUN b", [("RUN", '["<<EOF"]'), ("RUN", "b")]),
    ("ONBUILD RUN <<EOF\na\nEOF\nRUN b", [("ONBUILD", "RUN <<EOF"), ("RUN", "b")]),
    ("RUN a\x0cb", [("RUN", "a\x0cb")]),
])
def test_lines(text: str, expected: list[tuple[str, str]]) -> None:
    assert _lines(text) == expected


@pytest.mark.parametrize(("text", "name", "content", "expand"), [
    ("RUN <<EOF\na\nEOF", "EOF", "a\n", True),
    ("RUN <<'EOF'\na\nEOF", "EOF", "a\n", False),
    ('RUN <<"E F"\na\nE F', "E F", "a\n", False),
    ("RUN <<-EOF\n\ta\n\t\tb\n\tEOF", "EOF", "a\nb\n", True),
    ("RUN <<EOF\nEOF", "EOF", "", True),
    ("RUN <<EOF\n EOF\nEOF", "EOF", " EOF\n", True),
    ("COPY <<a.txt /x\nq\na.txt", "a.txt", "q\n", True),
    ("RUN cat <<EOF|sh\na\nEOF", "EOF", "a\n", True),
    ("RUN 3<<X cat\na\nX", "X", "a\n", True),
    ("RUN cat << 'EOF' >/a\na\nEOF", "EOF", "a\n", False),
    ("RUN cat <<- EOF\n\ta\n\tEOF", "EOF", "a\n", True),
    # A partly quoted delimiter, as in shells: the quotes are not part of it, and any quote prevents expansion.
    ('RUN cat <<eo"f"\na\neof', "eof", "a\n", False), ("RUN cat <<'e'of\na\neof", "eof", "a\n", False),
    ("RUN cat <<e''of\na\neof", "eof", "a\n", False), ("RUN cat <<\\EOF\na\nEOF", "EOF", "a\n", False),
    ("RUN cat <<-E'O F'\n\ta\n\tEO F", "EO F", "a\n", False), ('COPY <<a".b"-c /x\nq\na.b-c', "a.b-c", "q\n", False),
])
def test_heredocs(text: str, name: str, content: str, expand: bool) -> None:
    source = DockerfileSource("Dockerfile", text)
    (line,) = Lines(source).lines
    (found,) = line.heredocs
    assert not source.problems
    assert (found.name, found.text(), found.expand) == (name, content, expand)


def test_a_shift_is_no_heredoc() -> None:
    source = DockerfileSource("Dockerfile", "RUN echo $((a << b )) $((1<<2))\nENV b=1\n")
    assert [line.heredocs for line in Lines(source).lines] == [[], []]
    assert not source.problems


def test_a_heredoc_apart_is_no_source() -> None:
    text = "FROM a\nCOPY b << E /c/\nx\nE\n"
    copy = parse_source(DockerfileSource("Dockerfile", text)).stages[0].instructions[0]
    assert isinstance(copy, CopyInstruction)
    assert ([word.text for word in copy.sources], [one.name for one in copy.files]) == (["b"], ["E"])


@pytest.mark.parametrize("text", ["\x1c", "\xa0FROM a", "FROM a\nLABEL \xa0", "FROM a\nONBUILD \x85", "\u2028"])
def test_a_blank_of_unicode_is_a_letter(text: str) -> None:
    source = DockerfileSource("Dockerfile", text)
    parse_source(source)
    assert source.problems


def test_tabs_separate_words() -> None:
    source = DockerfileSource("Dockerfile", "FROM\ta\nHEALTHCHECK\tCMD\tb c\nONBUILD\tRUN\tb\nENV\tA\t1\n")
    check, trigger, env = parse_source(source).stages[0].instructions
    assert not source.problems
    assert isinstance(check, HealthcheckInstruction) and check.test == ["CMD-SHELL", "b c"]
    assert isinstance(trigger, OnbuildInstruction) and trigger.trigger == "RUN\tb"
    assert isinstance(env, EnvInstruction) and [(name.text, value.text) for name, value in env.pairs] == [("A", "1")]


def test_places_follow_continuation() -> None:
    (line,) = Lines(DockerfileSource("Dockerfile", "RUN one \\\n  two \\\n# x\n\tthree")).lines
    for word, expected in (("one", (1, 5)), ("two", (2, 3)), ("three", (4, 2))):
        place = line.at(line.rest.index(word))
        assert (place.line, place.column, place.last) == (*expected, 4)


def test_empty_lines_within_are_a_warning() -> None:
    source = DockerfileSource("Dockerfile", "FROM a\nRUN b \\\n\n c")
    parse_source(source)
    assert [warning.place.line for warning in source.warnings] == [3]


@given(st.text(alphabet=st.sampled_from("FROM RUNCOPY\n\r\t \\`#=<>'\"$[]{}-,ab12\ufeff"), max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    source = DockerfileSource("Dockerfile", text)
    parse_source(source)
    try:
        source.done()
    except DockerfileError as error:
        assert "Dockerfile:" in str(error)


@given(st.text(max_size=60))
def test_heredocs_are_found_in_anything(text: str) -> None:
    for found in find_heredocs(text):
        assert "<<" in text[found.start:found.end]


@given(st.lists(st.tuples(st.sampled_from(("RUN", "ENV", "LABEL")), st.text(
    alphabet=st.sampled_from("abc =$\"'"), min_size=1, max_size=20).map(lambda text: f"x{text}x")), max_size=8))
def test_what_is_on_one_line_stays(instructions: list[tuple[str, str]]) -> None:
    text = "".join(f"{keyword} {rest}\n" for keyword, rest in instructions)
    assert _lines(text) == instructions
