"""Instructions, their values, and the problems of invalid ones: position, message, remedy."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from pyruntime.builder.dockerfile import instructions as kinds
from pyruntime.builder.dockerfile.parse import parse, parse_source, parse_trigger
from pyruntime.builder.dockerfile.source import DockerfileSource
from pyruntime.errors import DockerfileError


def _one(text: str) -> kinds.Instruction:
    return parse(f"FROM a\n{text}").stages[0].instructions[0]


@pytest.mark.parametrize(("text", "args", "shell"), [
    ("CMD a b", ["a b"], True), ('CMD ["a", "b c"]', ["a", "b c"], False), ("CMD []", [], False),
    ('CMD ["a", \\\n "b"]', ["a", "b"], False), ("CMD ['a']", ["['a']"], True), ('CMD ["a" "b"]', ['["a" "b"]'], True),
    ("CMD [ -f x ] && y", ["[ -f x ] && y"], True), ("ENTRYPOINT exec a", ["exec a"], True),
    ('ENTRYPOINT ["a\\n\\u0041"]', ["a\nA"], False), ("RUN a && \\\n  b", ["a &&   b"], True),
    ('RUN ["/bin/a"]', ["/bin/a"], False), ("RUN --mount=type=tmpfs,target=/x a --b", ["a --b"], True),
    ("RUN -- --a", ["--a"], True),
])
def test_programs(text: str, args: list[str], shell: bool) -> None:
    found = _one(text)
    assert isinstance(found, kinds.ProgramInstruction)
    assert (found.args, found.shell) == (args, shell)


@pytest.mark.parametrize(("text", "pairs"), [
    ("ENV a=b", [("a", "b")]), ("ENV a=b c=d", [("a", "b"), ("c", "d")]), ("ENV a b c", [("a", "b c")]),
    ('ENV a="b c" d=\'e\'', [("a", '"b c"'), ("d", "'e'")]), ("ENV a=b=c", [("a", "b=c")]), ("ENV a=", [("a", "")]),
    ("ENV a=b\\ c", [("a", "b\\ c")]), ("LABEL a.b/c=1", [("a.b/c", "1")]), ("ENV a \\\n b", [("a", "b")]),
    ('LABEL "a b"="c"', [('"a b"', '"c"')]),
])
def test_pairs(text: str, pairs: list[tuple[str, str]]) -> None:
    found = _one(text)
    assert isinstance(found, kinds.PairsInstruction)
    assert [(name.text, value.text) for name, value in found.pairs] == pairs


def test_copy() -> None:
    found = _one('COPY --from=x --chown=1:2 --chmod=u+x --link --parents=false --exclude=*.a --exclude=b a "b c" d/')
    assert isinstance(found, kinds.CopyInstruction)
    assert [word.text for word in found.sources] == ["a", '"b', 'c"'] and found.target.text == "d/"
    assert found.stage and found.stage.text == "x" and found.chown and found.chown.text == "1:2"
    assert found.link and not found.parents and [word.text for word in found.exclude] == ["*.a", "b"]
    found = _one('ADD --checksum=sha256:x --unpack=false --keep-git-dir ["a b", "c"]')
    assert isinstance(found, kinds.CopyInstruction) and found.add and found.unpack is False and found.keep_git
    assert [word.text for word in found.sources] == ["a b"] and found.target.text == "c"
    found = _one("COPY <<A b <<'B' /d/\na$x\nA\nb$x\nB\n")
    assert isinstance(found, kinds.CopyInstruction)
    assert [(file.name, file.content, file.expand) for file in found.files] == [("A", "a$x\n", True),
                                                                               ("B", "b$x\n", False)]
    assert [word.text for word in found.sources] == ["b"]


def test_stages() -> None:
    found = parse("ARG A=1\nARG B\nFROM a AS One\nRUN x\nFROM --platform=$A one\nfrom b as two-2.x\n")
    assert [stage.name for stage in found.stages] == ["one", "1", "two-2.x"]
    assert len(found.arguments) == 2
    assert found.stage("ONE") is found.stages[0] and found.stage("1") is found.stages[1] and found.stage("9") is None
    assert found.stages[1].start.platform and found.stages[1].start.platform.text == "$A"


def test_healthcheck() -> None:
    found = _one("HEALTHCHECK --interval=1m30s --timeout=500ms --start-period=0s --retries=5 CMD curl -f x || exit 1")
    assert isinstance(found, kinds.HealthcheckInstruction)
    assert found.test == ["CMD-SHELL", "curl -f x || exit 1"]
    assert found.times == {"Interval": 90 * 10**9, "Timeout": 5 * 10**8, "Retries": 5}
    found = _one('HEALTHCHECK CMD ["a", "b"]')
    assert isinstance(found, kinds.HealthcheckInstruction) and found.test == ["CMD", "a", "b"]
    found = _one("HEALTHCHECK none")
    assert isinstance(found, kinds.HealthcheckInstruction) and found.test == ["NONE"]


def test_onbuild() -> None:
    found = _one("ONBUILD COPY <<X /a\nb\nX\n")
    assert isinstance(found, kinds.OnbuildInstruction)
    assert found.trigger == "COPY <<X /a\nb\nX\n"
    again = parse_trigger(found.trigger, "\\", "ONBUILD")
    assert isinstance(again, kinds.CopyInstruction) and again.files[0].content == "b\n"


@pytest.mark.parametrize(("text", "place", "what", "remedy"), [
    ("FROM a\nCOPY --fro=x b c", "2:6", 'unknown flag "--fro"', 'write "--from"'),
    ("FROM a\nRUN --mont=x b", "2:5", 'unknown flag "--mont"', 'write "--mount"'),
    ("FROM a\nCMD --x=y b", "2:5", 'unknown flag "--x"', "CMD has no flags"),
    ("FORM a", "1:1", 'unknown instruction "FORM"', 'write "FROM"'),
    ("FROM a\nRUM b", "2:1", 'unknown instruction "RUM"', 'write "RUN"'),
    ("FROM a\nXYZZY b", "2:1", 'unknown instruction "XYZZY"', "ADD, ARG"),
    ("RUN a", "1:1", "RUN before the first FROM", "move it"),
    ("", "1:1", "there is no FROM", 'start with "FROM"'),
    ("# only a comment", "1:1", "there is no FROM", ""),
    ("ARG a=1", "1:1", "there is no FROM", ""),
    ("FROM", "1:1", "FROM needs an argument", 'write "FROM image"'),
    ("FROM a b", "1:8", "FROM needs an image, and optionally AS with a name", ""),
    ("FROM a AS", "1:8", "FROM needs an image", ""),
    ("FROM a AS b c", "1:8", "FROM needs an image", ""),
    ("FROM a AS 1b", "1:11", '"1b" cannot be the name of a stage', "begin with a letter"),
    ("FROM a AS scratch", "1:11", '"scratch" is reserved', ""),
    ("FROM a\nCOPY a", "2:6", "COPY needs a source and a target", ""),
    ("FROM a\nCOPY a b c", "2:10", "several sources need a directory", 'write "c/"'),
    ("FROM a\nADD", "2:1", "ADD needs an argument", ""),
    ("FROM a\nRUN", "2:1", "RUN needs an argument", ""),
    ("FROM a\nRUN []", "2:5", "RUN needs a program", ""),
    ("FROM a\nCMD [1]", "2:5", "the list must contain only strings", "double quotes"),
    ("FROM a\nENV a", "2:5", 'ENV: "a" has no value', 'write "ENV a=value"'),
    ("FROM a\nENV a=b c", "2:9", '"c" has no value', ""),
    ("FROM a\nENV =b", "2:5", '"=b" has no name', ""),
    ("FROM a\nLABEL a", "2:7", 'LABEL: "a" has no value', ""),
    ("FROM a\nARG $a=1", "2:5", "is not the name of an argument", ""),
    ("FROM a\nARG =1", "2:5", "is not the name of an argument", ""),
    ("FROM a\nSHELL /bin/sh", "2:7", "SHELL needs a list of strings", ""),
    ("FROM a\nHEALTHCHECK x", "2:13", 'HEALTHCHECK takes CMD or NONE, not "x"', ""),
    ("FROM a\nHEALTHCHECK CMD", "2:13", "HEALTHCHECK CMD needs a program", ""),
    ("FROM a\nHEALTHCHECK NONE x", "2:13", "HEALTHCHECK NONE takes no arguments", ""),
    ("FROM a\nHEALTHCHECK --interval=x CMD y", "2:13", '"--interval" must be a time', "30s"),
    ("FROM a\nHEALTHCHECK --interval=1us CMD y", "2:13", '"--interval" must be a time', ""),
    ("FROM a\nHEALTHCHECK --retries=-1 CMD y", "2:13", '"--retries" must be a number', ""),
    ("FROM a\nONBUILD ONBUILD RUN x", "2:9", "ONBUILD cannot contain another ONBUILD", ""),
    ("FROM a\nONBUILD FROM b", "2:9", "ONBUILD cannot contain FROM", ""),
    ("FROM a\nONBUILD RUM b", "2:9", 'unknown instruction "RUM"', 'write "RUN"'),
    ("FROM a\nONBUILD COPY --x a b", "2:14", 'unknown flag "--x"', ""),
    ("FROM a\nRUN --network=lan b", "2:5", '"--network" cannot be "lan"', "default or host or none"),
    ("FROM a\nCOPY --link=x a b", "2:6", '"--link" must be true or false', ""),
    ("FROM a\nCOPY --from a b", "2:6", 'the flag "--from" has no value', ""),
    ("FROM a\nCOPY --from=a --from=b c d", "2:15", 'the flag "--from" is repeated', ""),
    ("FROM a\nRUN <<EOF\nx", "2:5", 'the here-document "EOF" has no end', 'a line "EOF"'),
    ("FROM a\nCOPY --from=x <<EOF /y\nEOF", "2:15", "a here-document cannot come from another stage", ""),
    ("FROM a\nCOPY x <<EOF\nEOF", "2:8", "a here-document cannot be the target", ""),
    ("# escape=x\nFROM a", "1:10", 'the escape character cannot be "x"', ""),
    ("# escape=`\n# escape=`\nFROM a", "2:1", 'the directive "escape" is repeated', ""),
    ("FROM a\nSTOPSIGNAL a b", "2:14", "STOPSIGNAL takes one signal", ""),
    ("FROM a\nVOLUME []", "2:8", "VOLUME needs an argument", ""),
    ("FROM a\nRUN x \\\n --y\n\nCOPY a \\\n  b \\\n  c\n", "7:3", "several sources", 'write "c/"'),
])
def test_problems_have_a_place(text: str, place: str, what: str, remedy: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(text, "Dockerfile.test")
    first, *rest = str(caught.value).split("\n")
    assert first.startswith(f"Dockerfile.test:{place}: ") and what in first, first
    assert remedy in (rest[-1] if rest else "")
    assert first == first.rstrip(".")
    if rest and rest[1:2] and rest[1].strip() == "^":
        line = text.split("\n")[int(place.partition(":")[0]) - 1]
        assert rest[0][2:] == line and rest[1].index("^") - 2 == int(place.partition(":")[2]) - 1


def test_all_problems_are_reported() -> None:
    with pytest.raises(DockerfileError) as caught:
        parse("FORM a\nFROM b\nRUM c\nCOPY --x d e\nENV f\n")
    assert [line.partition(": ")[0] for line in str(caught.value).split("\n") if line.startswith("Dockerfile:")] == [
        "Dockerfile:1:1", "Dockerfile:3:1", "Dockerfile:4:6", "Dockerfile:5:5"]


@pytest.mark.parametrize(("text", "line", "what"), [
    ("FROM a\nMAINTAINER x", 2, "deprecated"), ("FROM a\nENV a b", 2, "legacy form"),
    ("FROM a\nCMD b\nCMD c", 2, "CMD"),
    ("FROM a AS x\nFROM b AS x", 2, 'two stages have the name "x"'),
    ("FROM a\nCMD ['a', 'b']", 2, "not a list of strings"),
    ("FROM a\nRUN b \\\n\n c", 3, "empty line"),
])
def test_warnings(text: str, line: int, what: str) -> None:
    told: list[str] = []
    parse(text, warn=told.append)
    assert len(told) == 1 and told[0].startswith(f"Dockerfile:{line}:") and what in told[0]


# ---- BuildKit's own reader, where the package `dockerfile` is installed --------------------------------------------

_COMMON = [
    "FROM a\nRUN b \\\n # c\n  d\nRUN e", "FROM a AS b\nCOPY --from=b --chown=1:2 c d e/\n",
    "FROM a\nCMD [\"b\", \"c\"]",
    "FROM a\nRUN <<EOF\nb\nEOF\nRUN c", "FROM a\nCOPY <<-A <<\"B\" /c/\n\td\n\tA\ne\nB\nRUN f",
    "FROM a\nENV b=c d=\"e f\"",
    "FROM a\nENV b c d", "FROM a\nLABEL a=b \\\n  c=d", "# escape=`\nFROM a\nRUN b `\n c", "FROM a\nONBUILD RUN b c",
    "FROM a\nEXPOSE 80 81/udp\nVOLUME /a /b\nVOLUME [\"/c d\"]", "FROM a\nHEALTHCHECK --interval=5s CMD b c\n",
    "FROM a\nRUN --mount=type=cache,target=/b --network=none c -- --d", "FROM a\nWORKDIR  /b c \nUSER d\nSTOPSIGNAL 9",
    "FROM a\nRUN \\\n b \\\n\n c\nRUN d \\\\\nRUN e", "\ufeffFROM a\r\nRUN b\r\n", "FROM a\nADD [\"b c\", \"d\"]",
    "FROM a\nSHELL [\"b\", \"-c\"]\nRUN c", "FROM a\nARG b=\"c d\" e\n", "FROM a\nRUN [\"a\", 'b']",
]


@pytest.fixture(scope="session")
def oracle() -> list[list[tuple[str, int, list[str]]]]:
    """BuildKit's parse of the examples; in a process of its own, because it brings its own runtime."""
    program = ("import json, sys, dockerfile\n"
               "print(json.dumps([[(c.cmd, c.start_line, list(c.flags)) for c in dockerfile.parse_string(text)]"
               " for text in json.load(sys.stdin)]))")
    done = subprocess.run([sys.executable, "-c", program], input=json.dumps(_COMMON), text=True, capture_output=True,
                          check=False, timeout=60)
    if done.returncode:
        pytest.skip(f"the package dockerfile is not installed: {done.stderr.strip().splitlines()[-1]}")
    found: list[list[tuple[str, int, list[str]]]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("number", range(len(_COMMON)))
def test_reads_as_buildkit_does(number: int, oracle: list[list[tuple[str, int, list[str]]]]) -> None:
    source = DockerfileSource("Dockerfile", _COMMON[number])
    found = parse_source(source)
    assert not source.problems
    ours = [instruction for stage in found.stages for instruction in (stage.start, *stage.instructions)]
    theirs = oracle[number]
    assert [(one.line.keyword, one.place.line) for one in ours] == [(cmd.upper(), line) for cmd, line, _ in theirs]
