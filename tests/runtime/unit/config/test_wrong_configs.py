"""Every wrong configuration of the catalogue is refused with a message that names the right place."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from pyruntime.errors import ConfigError
from pyruntime.runtime.config.load import load_bundle, problems_of
from pyruntime.runtime.config.schemas import inlined
from tests.data import wrong_configs

if TYPE_CHECKING:
    from pathlib import Path

LEAST_BY_SCHEMA, LEAST_BY_HAND = 1000, 150
SCHEMA, HAND, SYNTAX = (
    list(part()) for part in (wrong_configs.by_schema, wrong_configs.by_hand, wrong_configs.by_syntax)
)


def refusal(directory: Path, document: object) -> ConfigError:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    (directory / "config.json").write_bytes(data)
    try:
        config = load_bundle(str(directory))
    except ConfigError as error:
        return error
    # Accepted as by other runtimes (test_lenient.py): with --strict the same places are refused.
    strictly = ConfigError("config.json", problems_of(json.loads(data), "config.json"))
    assert {problem.where for problem in config.forgiven} == {problem.where for problem in strictly.problems}
    return strictly


def check_message(error: ConfigError) -> None:
    """Every problem has the problem, a remedy and a section, on lines that start with the file name."""
    for problem in error.problems:
        assert problem.what and problem.remedy and problem.spec, problem
        assert not problem.what.endswith(".") and not problem.remedy.endswith("."), problem
        assert "\n" not in problem.what and "\0" not in str(problem), problem
    assert str(error).count("config.json: ") >= len(error.problems)


def test_the_catalogue_is_as_large_as_it_claims() -> None:
    assert len(SCHEMA) > LEAST_BY_SCHEMA
    assert len(HAND) > LEAST_BY_HAND
    names = [name for name, _, _ in SCHEMA + HAND + SYNTAX]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("start", range(0, len(SCHEMA), 50))
def test_broken_structure(tmp_path: Path, start: int) -> None:
    for name, document, path in SCHEMA[start : start + 50]:
        error = refusal(tmp_path, document)
        assert {problem.where for problem in error.problems} == {path}, name
        check_message(error)


@pytest.mark.parametrize(("document", "path"), [case[1:] for case in HAND], ids=[case[0] for case in HAND])
def test_broken_rule(tmp_path: Path, document: object, path: str) -> None:
    error = refusal(tmp_path, document)
    assert path in {problem.where for problem in error.problems}, str(error)
    check_message(error)


@pytest.mark.parametrize(("document", "path"), [case[1:] for case in SYNTAX], ids=[case[0] for case in SYNTAX])
def test_broken_syntax(tmp_path: Path, document: object, path: str) -> None:
    error = refusal(tmp_path, document)
    assert [problem.where for problem in error.problems] == [path]
    check_message(error)


def leaves(node: dict[str, Any], path: str) -> set[str]:
    """The paths of a schema, with [0] for items and * for free keys."""
    found = {path} if path else set()
    if "items" in node:
        found |= leaves(node["items"], f"{path}[0]")
    for name, below in node.get("properties", {}).items():
        found |= leaves(below, f"{path}.{name}" if path else name)
    if "additionalProperties" in node:
        found |= leaves(node["additionalProperties"], f"{path}.*")
    return found


def test_every_leaf_of_the_schema_is_broken_at_least_once() -> None:
    maps = [path.removesuffix(".*") for path in leaves(inlined("config.json"), "") if path.endswith(".*")]
    broken = set()
    for path in (re.sub(r"\[\d+\]", "[0]", touched) for touched in wrong_configs.touched()):
        for name in maps:
            if path.startswith((f"{name}.", f"{name}[")):
                rest = path[len(name) :]
                rest = rest.partition("]")[2] if rest[0] == "[" else "".join(rest[1:].partition(".")[1:])
                path = f"{name}.*{rest}"
        broken.add(path)
    assert leaves(inlined("config.json"), "") <= broken
