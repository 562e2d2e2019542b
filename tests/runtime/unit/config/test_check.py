"""The fast check and the schema agree on every document."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyruntime.runtime.config import check, generate
from pyruntime.runtime.config.node import Node
from pyruntime.runtime.config.rules import problems, unsupported, warnings
from pyruntime.runtime.config.schemas import inlined
from pyruntime.runtime.config.validate import validate
from tests.data import good_configs, wrong_configs

SLOW = settings(max_examples=300, suppress_health_check=list(HealthCheck))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-2, 8)
    | st.sampled_from(
        [-(2**63) - 1, -(2**31) - 1, 256, 4096, 65536, 2**32 - 1, 2**32, 2**63, 2**64 - 1, 2**64, 0.5, 1.0]
    )
    | TEXT
    | st.sampled_from(["", "\0", "a\0", "\n", "c", "pid", "SCMP_ACT_ALLOW", "1.0.0", "1.0", "2MB", "rw", "MB:", "/x"])
)
WORDS = ("", "/", "/a", "a/b", "A=b", "=", "0-3,7", "tmpfs", "bind", "net.a", "user", "write", "idmap", "..")
KEYS = TEXT | st.sampled_from(["a.b", "monotonic", "type"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
)


def conforming(node: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Documents that conform to a schema."""
    kind = node["type"]
    if kind == "boolean" or "enum" in node:
        return st.sampled_from(node.get("enum", [True, False]))
    if kind == "integer":
        low, high = node["minimum"], node["maximum"]
        near = [
            low,
            low + 1,
            high,
            max(low, 0),
            *(number for number in (2, 9, 100, 1000, 5000) if low <= number <= high),
        ]
        return st.sampled_from(near) | st.integers(low, high)
    if kind == "string":
        pattern = re.compile(node.get("pattern", "").replace("$", r"\Z"))
        fitting = [word for word in WORDS if pattern.search(word)]
        return st.sampled_from(fitting) | st.from_regex(pattern) if fitting else st.from_regex(pattern)
    if kind == "array":
        return st.lists(conforming(node["items"]), min_size=node.get("minItems", 0), max_size=3)
    if "additionalProperties" in node:
        return st.dictionaries(KEYS, conforming(node["additionalProperties"]) | st.none(), max_size=2)
    members = {name: conforming(below) for name, below in node.get("properties", {}).items()}
    required = {name: members.pop(name) for name in node.get("required", ())}
    return st.fixed_dictionaries(required, optional={name: item | st.none() for name, item in members.items()})


def places(value: Any, path: wrong_configs.Path) -> list[wrong_configs.Path]:
    """The paths of all values."""
    found = [path]
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, item in entries:
        found += places(item, [*path, part])
    return found


BASES = [good_configs.rich(), *(good_configs.section(name) for name in good_configs.SECTIONS)]
PLACES = [(base, path) for base in BASES for path in places(base, [])]
CONFORMING = conforming(inlined("config.json"))


def agree(document: Any) -> bool:
    answer = check.conforms(document)
    assert answer == (validate(document) == []), json.dumps(document, default=repr)
    return answer


@pytest.mark.parametrize("base", BASES)
def test_good_configurations_conform(base: Any) -> None:
    assert agree(base)


def test_the_catalogue_of_wrong_structures_does_not_conform() -> None:
    for name, document, _ in wrong_configs.by_schema():
        assert not check.conforms(document), name


@SLOW
@given(st.sampled_from(PLACES), VALUES)
def test_one_value_replaced(place: tuple[Any, wrong_configs.Path], value: Any) -> None:
    agree(wrong_configs.changed(*place, value))


@SLOW
@given(st.sampled_from(PLACES))
def test_one_value_removed(place: tuple[Any, wrong_configs.Path]) -> None:
    if place[1] and isinstance(place[1][-1], str):
        agree(wrong_configs.changed(*place, wrong_configs.DROP))


@SLOW
@given(VALUES)
def test_anything_at_all(value: Any) -> None:
    agree(value)


@SLOW
@given(CONFORMING)
def test_generated_documents_conform_and_rules_report_whole_problems(document: Any) -> None:
    assert agree(document)
    for found in (problems(Node(document)), unsupported(Node(document)), warnings(Node(document))):
        for problem in found:
            assert problem.where and problem.what and problem.remedy and problem.spec, problem


def test_a_null_member_counts_as_absent_unless_it_is_required() -> None:
    base = good_configs.MINIMAL
    assert agree({**base, "hostname": None, "linux": {"seccomp": None}, "annotations": {"a": None}})
    assert not agree({**base, "ociVersion": None})
    assert not agree({**base, "linux": {"maskedPaths": [None]}})


def test_unknown_members_are_ignored() -> None:
    assert agree({**good_configs.MINIMAL, "future": {"a": [1]}, "linux": {"future": 1.5}})


@pytest.mark.parametrize("number", [1.0, True])
def test_a_number_that_only_equals_an_integer_is_refused(number: object) -> None:
    assert not agree({**good_configs.MINIMAL, "linux": {"resources": {"pids": {"limit": number}}}})


def test_process_and_resources_can_be_checked_alone() -> None:
    process, resources = good_configs.rich()["process"], good_configs.rich()["linux"]["resources"]
    assert check.conforms_process(process) and validate(process, "process") == []
    assert check.conforms_resources(resources) and validate(resources, "resources") == []
    assert not check.conforms_process({"args": ["sh"]}) and validate({"args": ["sh"]}, "process")
    assert not check.conforms_resources({"pids": 1}) and validate({"pids": 1}, "resources")


def test_the_generated_module_is_up_to_date() -> None:
    with open(generate.TARGET, encoding="utf-8") as file:
        assert file.read() == generate.render(), "run python -m pyruntime.runtime.config.generate"
    assert generate.main(["--check"]) == 0


def test_the_hot_path_imports_no_expensive_module() -> None:
    program = "import sys; sys.path[:0] = %r; import pyruntime.runtime.config.load; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program % sys.path], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    banned = {"json", "re", "typing", "enum", "dataclasses", "collections", "functools", "jsonschema", "itertools"}
    assert not loaded & banned
    ours = {name for name in loaded if name.startswith("pyruntime.runtime.config.")}
    assert "pyruntime.system.json_syntax" not in loaded
    assert not ours & {f"pyruntime.runtime.config.{name}" for name in ("validate", "schemas", "generate", "partial")}
    assert "pyruntime.runtime.config.sections.platforms" not in ours
