"""docs/gockers.md: the test of each row exists, and pocker accepts its command."""

from __future__ import annotations

import ast
import re
import shlex

import pytest

from pyruntime.commandline.groups import Group
from pyruntime.commandline.parse import check_count, parse
from pyruntime.pocker.cli.main import GLOBAL, PROGRAM
from pyruntime.pocker.options.flags import settings_of
from tests.conftest import TOP

PAGE = (TOP / "docs/gockers.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in PAGE.splitlines()
        if line.startswith("| ") and not line.startswith(("| feature", "| ---"))]


def test_rows_are_complete() -> None:
    assert len(ROWS) > 50
    assert all(len(row) == 3 and all(row) for row in ROWS), [row for row in ROWS if len(row) != 3]
    assert len({row[0] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("name", sorted({row[2] for row in ROWS}))
def test_every_test_exists(name: str) -> None:
    file, _, function = name.partition("::")
    path = TOP / (file if "/" in file else f"tests/pocker/integration/{file}")
    functions = {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
    assert function in functions and function.startswith("test_")


@pytest.mark.parametrize("line", sorted({line for row in ROWS for line in re.findall(r"`(pocker [^`]+)`", row[1])}))
def test_every_command_is_accepted(line: str) -> None:
    words = parse(GLOBAL, shlex.split(line)[1:]).arguments
    command = PROGRAM.module(words[0]).COMMAND
    parsed = parse(command, words[1:])
    if isinstance(command, Group):
        command, _ = command.member(words[1])
        parsed = parse(command, words[2:])
    check_count(command, parsed, "pocker")
    if words[0] == "run":
        settings_of(parsed)


def test_each_row_has_a_command() -> None:
    for row in ROWS:
        assert re.search(r"`(pocker|pyimage|make) [^`]+`", row[1]), row
