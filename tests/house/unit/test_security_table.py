"""docs/security.md: sorted and complete, and each named test exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import TOP

TEXT = (TOP / "docs/security.md").read_text()
NUMBER = re.compile(r"CVE-\d{4}-\d{4,}")
SECTIONS = [section for section in re.split(r"^## ", TEXT, flags=re.M)[1:] if NUMBER.search(section)]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines()
        if line.startswith("| ") and NUMBER.search(line)]
TESTS = sorted((TOP / "tests/security").glob("test_*.py"))


def test_each_section_is_sorted_by_year() -> None:
    assert SECTIONS
    for section in SECTIONS:
        years = [int(year) for year in re.findall(r"^\| (\d{4}) \|", section, re.M)]
        assert years == sorted(years) and years


def test_each_row_is_complete() -> None:
    for row in ROWS:
        assert len(row) == 6 and row[0] in row[1] and row[4] in ("yes", "no", "in part") and all(row), row


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_each_cve_in_a_test_is_in_the_table(path: Path) -> None:
    listed = {number for row in ROWS for number in NUMBER.findall(" ".join(row))}
    assert set(NUMBER.findall(path.read_text())) <= listed


def test_the_tests_in_the_table_exist() -> None:
    for row in ROWS:
        file = ""
        for place in re.findall(r"`((?:[\w/]+\.py(?:::\w+)?)|test_\w+)`", row[5]):
            named, _, function = place.rpartition("::") if "::" in place else ("", "", place)
            if place.endswith(".py"):
                assert (TOP / place).is_file() or (TOP / "tests/security" / place).is_file(), place
                continue
            file = named or file
            path = TOP / file if "/" in file else TOP / "tests/security" / file
            assert f"def {function}(" in path.read_text(), (row[1], place)
        assert row[4] == "no" or "`" in row[5], row
