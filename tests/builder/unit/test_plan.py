"""Plans: arguments, histories, triggers of base images, and the positions of their problems."""

from __future__ import annotations

from typing import Any

import pytest

from pyruntime.builder.graph.plan import BuildPlan
from pyruntime.errors import DockerfileError
from pyruntime.images.document import ImageConfig
from pyruntime.images.platform import Platform
from pyruntime.system import durations


class _Image:
    def __init__(self, triggers: list[str]) -> None:
        self.config = ImageConfig(b"", {"architecture": "amd64", "os": "linux", "config": {"OnBuild": triggers},
                                        "rootfs": {"type": "layers", "diff_ids": []}})


class _Bases:
    """An image of any name, with these triggers."""

    def __init__(self, *triggers: str) -> None:
        self._triggers = list(triggers)

    def image(self, name: str, platform: Platform | None) -> Any:
        return _Image(self._triggers)


def _plan(text: str, *triggers: str) -> BuildPlan:
    return BuildPlan(text, "Dockerfile", _Bases(*triggers), arguments={})


def _wrong(text: str, *triggers: str) -> str:
    with pytest.raises(DockerfileError) as caught:
        _plan(text, *triggers)
    return str(caught.value)


@pytest.mark.parametrize(("text", "values"), [
    ("FROM a\nARG V=1\nARG V", {"V": "1"}), ("ARG V=0\nFROM a\nARG V=1\nARG V", {"V": "0"}),
    ("FROM a AS b\nARG V=1\nFROM b\nARG V", {"V": "1"}), ("FROM a\nARG V\nARG V=1", {"V": "1"}), ("FROM a\nARG V", {}),
])
def test_an_argument_that_is_declared_again(text: str, values: dict[str, str]) -> None:
    scope = _plan(text).target.scope
    assert scope is not None and scope.values() == values


@pytest.mark.parametrize(("text", "history"), [
    ("EXPOSE 90 80-81/udp 90", "EXPOSE map[80/udp:{} 81/udp:{} 90/tcp:{}]"),
    ("HEALTHCHECK --interval=90s --timeout=1500ms --retries=3 CMD a b",
     'HEALTHCHECK &{["CMD-SHELL" "a b"] "1m30s" "1.5s" "0s" "0s" \'\\x03\'}'),
    ("HEALTHCHECK --retries=10 CMD [\"a\"]", 'HEALTHCHECK &{["CMD" "a"] "0s" "0s" "0s" "0s" \'\\n\'}'),
    ("HEALTHCHECK NONE", 'HEALTHCHECK &{["NONE"] "0s" "0s" "0s" "0s" \'\\x00\'}'),
    ("WORKDIR /", "WORKDIR /"), ("VOLUME /a /b", "VOLUME [/a /b]"), ("LABEL a=1 b='2 3'", "LABEL a=1 b=2 3"),
])
def test_history(text: str, history: str) -> None:
    (step,) = _plan(f"FROM a\n{text}").target.steps
    assert (step.created_by, step.kind) == (history, "config")


@pytest.mark.parametrize("text", ["0s", "1ns", "1.5µs", "100ms", "59.999s", "1m0s", "1m30s", "1h0m0s", "25h0m1.5s"])
def test_times_are_written_as_they_are_read(text: str) -> None:
    assert durations.text(durations.parse(text) or 0) == text


def test_a_problem_of_a_trigger_has_the_position_of_its_from() -> None:
    said = _wrong("# here\nFROM scratch AS x\nFROM base\n", "LABEL a=b", "COPY ${A:?needed} /x")
    assert said.startswith('Dockerfile:3:1: ONBUILD COPY ${A:?needed} /x: "A": needed\n  FROM base\n')


@pytest.mark.parametrize(("text", "words"), [
    ("COPY --from=$X /a /b", "variables are not expanded there"), ("COPY --from= /a /b", '"--from" names nothing'),
    ("COPY --from=1 /a /b", "there is no stage 1 above"), ("RUN --mount=from=0,target=/x y", "there is no stage 0"),
])
def test_invalid_origins(text: str, words: str) -> None:
    said = _wrong(f"FROM a\n{text}")
    assert said.startswith("Dockerfile:2:") and words in said


def test_stages_in_a_row() -> None:
    text = "FROM a AS s0\n" + "".join(f"FROM s{number - 1} AS s{number}\nCOPY --from=s{number - 1} /a /b\n"
                                      for number in range(1, 2000))
    assert len(_plan(text).stages) == 2000
    assert "more than 2000 stages" in _wrong(f"{text}FROM a\n")


def test_a_trigger_with_a_heredoc() -> None:
    text = "FROM scratch AS a\nONBUILD COPY <<EOF <<X /x/\nhello\nEOF\nX\nONBUILD RUN <<EOF\nhi\nEOF\nFROM a\n"
    copy, run = (step for step in _plan(text).target.steps if step.kind != "config")
    assert copy.data.files == [("EOF", "hello\n"), ("X", "")] and not copy.data.sources
    assert run.data.args == ["/bin/sh", "-c", "hi\n"]


def test_a_stage_below_is_not_meant() -> None:
    plan = _plan("FROM a AS one\nCOPY --from=two /a /b\nFROM one AS two\n")
    assert ["Dockerfile:2:13" in warning for warning in plan.warnings()] == [True]
