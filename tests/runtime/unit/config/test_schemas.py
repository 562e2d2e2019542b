"""The schema files themselves, and their results for the specification's own examples."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from pyruntime.errors import ConfigError
from pyruntime.runtime.config.load import check_value
from pyruntime.runtime.config.schemas import FILES, directory, inlined, schema
from pyruntime.runtime.config.validate import KINDS, validate
from pyruntime.system.json import decode
from tests.conftest import TOP

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULE = "github.com/opencontainers/runtime-spec@v1.3.0"
SCHEMAS = Path(directory()) / "runtime"


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from nodes(item)
    elif isinstance(value, list):
        for item in value:
            yield from nodes(item)


def test_the_list_of_files_is_complete() -> None:
    assert sorted(FILES) == sorted(path.name for path in SCHEMAS.glob("*.json"))


@pytest.mark.parametrize("file", FILES)
def test_a_file_is_a_valid_schema_and_reads_well(file: str) -> None:
    Draft202012Validator.check_schema(schema(file))
    text = (SCHEMAS / file).read_text(encoding="utf-8")
    assert text.endswith("}\n") and "\t" not in text
    for node in nodes(schema(file)):
        for keyword in ("x-remedy", "x-pattern-remedy", "x-problem", "x-missing"):
            words = node.get(keyword, "x")
            assert isinstance(words, (str, dict))
            assert not str(words).endswith("."), words


@pytest.mark.parametrize("file", FILES)
def test_a_schema_works_without_our_own_keywords(file: str) -> None:
    """Another tool can resolve the references by file name, without keywords of this project."""
    for node in nodes(schema(file)):
        if "$ref" in node:
            name, _, pointer = node["$ref"].partition("#")
            found: Any = schema(name or file)
            for part in pointer.split("/")[1:]:
                found = found[part]
            assert isinstance(found, dict)


def test_no_definition_is_unused() -> None:
    used = set()
    for file in FILES:
        for node in nodes(schema(file)):
            if "$ref" in node:
                name, _, pointer = node["$ref"].partition("#")
                used.add(f"{name or file}#{pointer}")
    for file in FILES:
        for name in schema(file).get("$defs", {}):
            assert f"{file}#/$defs/{name}" in used or name in ("uint8",), f"{file}: {name}"


@cache
def specification() -> Path:
    """The specification's module: its examples, and the documents with the named sections. Skips if it is
    unavailable."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("go is not installed, so the specification's module is unavailable: no `go` in PATH")
    done = subprocess.run(
        [go, "mod", "download", "-json", MODULE], capture_output=True, text=True, check=False, cwd="/"
    )
    if done.returncode != 0:
        pytest.skip(f"`go mod download {MODULE}` failed: {(done.stdout + done.stderr).strip()}")
    return Path(json.loads(done.stdout)["Dir"])


def examples(kind: str, verdict: str) -> list[Path]:
    found = sorted((specification() / "schema" / "test" / kind / verdict).glob("*.json"))
    assert found, f"{kind}/{verdict} has no examples"
    return found


def problems_of(path: Path, kind: str) -> list[Any]:
    try:
        value = decode(path.read_bytes(), path.name)
    except ConfigError as error:
        return error.problems
    return check_value(value, path.name) if kind == "config" else validate(value, kind)


@pytest.mark.parametrize("kind", ["config", "state", "features"])
def test_the_specifications_good_examples_are_good(kind: str) -> None:
    for path in examples(kind, "good"):
        assert problems_of(path, kind) == [], path


@pytest.mark.parametrize("kind", ["config", "state", "features"])
def test_the_specifications_bad_examples_are_bad(kind: str) -> None:
    for path in examples(kind, "bad"):
        assert problems_of(path, kind), path


def fragments(path: Path) -> Iterator[Any]:
    """The JSON examples in a document; some are members without braces, and some are not JSON."""
    for block in re.findall(r"```json\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
        for text in (block, "{" + block.strip().rstrip(",") + "}"):
            try:
                yield json.loads(text)
                break
            except ValueError:
                continue


def test_the_examples_in_the_specifications_text_fit_the_schema() -> None:
    """Members of linux and of the root, each in a separate configuration."""
    judged = 0
    root, linux = inlined("config.json")["properties"], inlined("linux.json")["properties"]
    resources = inlined("resources.json")["properties"]
    for name in ("config.md", "config-linux.md"):
        for value in fragments(specification() / name):
            if name == "config.md" and set(value) <= set(root):
                document = value
            elif set(value) <= set(linux):
                document = {"linux": value}
            elif set(value) <= set(resources):
                document = {"linux": {"resources": value}}
            else:
                continue
            if "devices" in value and "allow" in value["devices"][0]:
                document = {"linux": {"resources": value}}
            document = {"ociVersion": "1.3.0", **document}
            judged += 1
            assert validate(document) == [], value
    assert judged > len(["about", "thirty"]) * 12


def anchors(text: str) -> set[str]:
    """The fragment identifiers of a document's headings, as GitHub forms them."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        plain = re.sub(r"<[^>]*>|`", "", heading).strip().lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found


def sections() -> set[str]:
    """All sections that the schemas and the rules name."""
    found = {node["x-spec"] for file in FILES for node in nodes(schema(file)) if isinstance(node.get("x-spec"), str)}
    package = TOP / "pyruntime/runtime/config"
    for path in package.rglob("*.py"):
        found |= set(
            re.findall(r'"((?:config|features|runtime)[a-z-]*\.md#[a-z0-9-]+)"', path.read_text(encoding="utf-8"))
        )
    return found


def test_every_section_that_a_message_names_exists() -> None:
    named = sections()
    assert "config-linux.md#seccomp" in named and "config.md#mounts" in named
    for name in sorted(named):
        file, _, anchor = name.partition("#")
        assert anchor in anchors((specification() / file).read_text(encoding="utf-8")), name


def test_the_schema_knows_every_member_that_the_specification_defines() -> None:
    """Names only, from the specification's own schema: our schema has every member of it, in the same place."""

    def members(node: Any, base: Path, path: str) -> set[str]:
        while isinstance(node, dict) and "$ref" in node:
            file, _, pointer = node["$ref"].partition("#")
            base = base.parent / file if file else base
            node = json.loads(base.read_text(encoding="utf-8"))
            for part in [part for part in pointer.split("/") if part]:
                node = node[part]
        if not isinstance(node, dict):
            return set()
        found = set()
        for name, below in node.get("properties", {}).items():
            found |= {f"{path}.{name}"} | members(below, base, f"{path}.{name}")
        items = node.get("items", [])
        for below in [items] if isinstance(items, dict) else items:
            found |= members(below, base, f"{path}[]")
        if isinstance(node.get("additionalProperties"), dict):
            found |= members(node["additionalProperties"], base, f"{path}.*")
        for below in [*node.get("allOf", ()), *node.get("anyOf", ())]:
            found |= members(below, base, path)
        return found

    differing = {
        # These follow the document; the specification's schema is behind it.
        "config": {".linux.timeOffsets.boottime", ".linux.timeOffsets.monotonic"}
        | {f".linux.timeOffsets.{clock}.{unit}" for clock in ("boottime", "monotonic") for unit in ("secs", "nanosecs")}
        | {f".windows.resources.cpu.affinity.{name}" for name in ("mask", "group")},
        "state": set(),
        "features": set(),
    }
    for kind, allowed in differing.items():
        theirs_file = specification() / "schema" / f"{kind}-schema.json"
        theirs = members(json.loads(theirs_file.read_text(encoding="utf-8")), theirs_file, "")
        ours = members(inlined(KINDS[kind]), SCHEMAS / KINDS[kind], "")
        assert theirs - ours == allowed, kind
        assert len(theirs) > len(allowed)


def test_the_directory_is_found_when_it_is_installed(tmp_path: Path) -> None:
    """In an installation, spec/ is pyruntime/spec/: the schemas must be found there, without the source tree."""
    root = TOP
    shutil.copytree(root / "pyruntime", tmp_path / "pyruntime", ignore=shutil.ignore_patterns("__pycache__", "native"))
    shutil.copytree(root / "spec", tmp_path / "pyruntime" / "spec", ignore=shutil.ignore_patterns("__pycache__"))
    program = "from pyruntime.runtime.config import schemas; print(schemas.directory())"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(tmp_path / "pyruntime" / "spec")
