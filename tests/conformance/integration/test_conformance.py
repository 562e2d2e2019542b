"""Our own conformance cases, one for each requirement of the specification, against pyruntime."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import COMMAND
from tests.conftest import TOP


@pytest.mark.timeout(1800)
def test_own_cases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Run all cases; `make conformance` also runs the official programs, which need Go and its module proxy."""
    result = tmp_path / "own.json"
    done = subprocess.run([sys.executable, "-m", "conformance", "--own", "--quiet", "--runtime", str(COMMAND), "--json",
                           str(result)], cwd=TOP, capture_output=True, text=True, check=False)
    programs = json.loads(result.read_text())["programs"]
    verdicts = [(program["name"], item["verdict"], item["text"], item["detail"])
                for program in programs for item in program["subtests"]]
    assert len(programs) >= 600
    assert [item for item in verdicts if item[1] == "not ok"] == [], done.stdout[-4000:]
    assert [program["name"] for program in programs if program["stopped"]] == []
    passed = sum(verdict == "ok" for _, verdict, _, _ in verdicts)
    with capsys.disabled():
        reasons = [f"{name}: {detail or text}" for name, verdict, text, detail in verdicts if verdict == "skip"]
        print(f"\n{passed} cases ok; skipped:", *reasons, sep="\n  ")
    assert passed > 300
