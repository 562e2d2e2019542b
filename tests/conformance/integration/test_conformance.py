"""Our own conformance cases, one for each requirement of the specification, against pyruntime."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import COMMAND
from tests.conftest import TOP

HARNESS = [sys.executable, "-m", "conformance", "--own"]
FAMILIES = sorted(path.stem for path in (TOP / "conformance/cases").glob("[a-z]*.py"))
NEEDS_A_NEW_KERNEL = {"config_mounts_idmap", "linux_net_devices"}   # or other hardware


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("family", FAMILIES)
def test_own_cases(family: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """`make conformance` also runs the official programs, which need Go and its module proxy."""
    result = tmp_path / "own.json"
    words = ["--only", f"{family}.*", "--quiet", "--runtime", str(COMMAND), "--json", str(result)]
    done = subprocess.run([*HARNESS, *words], cwd=TOP, capture_output=True, text=True, check=False)
    programs = json.loads(result.read_text())["programs"]
    verdicts = [(program["name"], item["verdict"], item["text"], item["detail"])
                for program in programs for item in program["subtests"]]
    assert [item for item in verdicts if item[1] == "not ok"] == [], done.stdout[-4000:]
    assert [program["name"] for program in programs if program["stopped"]] == []
    passed = sum(verdict == "ok" for _, verdict, _, _ in verdicts)
    reasons = [f"{name}: {detail or text}" for name, verdict, text, detail in verdicts if verdict == "skip"]
    record_property("note", "\n  ".join([f"{family}: {passed} cases ok, {len(reasons)} skipped", *reasons]))
    assert passed or family in NEEDS_A_NEW_KERNEL


def test_all_cases_are_of_a_family() -> None:
    done = subprocess.run([*HARNESS, "--list"], cwd=TOP, capture_output=True, text=True, check=True)
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert len(names) >= 600 and {name.partition(".")[0] for name in names} == set(FAMILIES)
