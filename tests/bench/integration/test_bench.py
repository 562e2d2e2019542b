"""The bench runs through on this host, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.cases import CASES
from bench.peers import hierarchies
from bench.results import Results
from tests.commands import COMMAND
from tests.conftest import TOP


def test_one_round_of_each_part() -> None:
    """All but pocker, which needs Podman's time: warm, cold, smallest limit, and two containers alive."""
    before = _left()
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--rounds", "1", "--json", "--scale", "1,2", "--configuration",
         "containerd-style", "--configuration", "id-mapped", "--runtime", f"pyruntime={COMMAND}",
         *(word for part in ("warm", "cold", "least", "scale") for word in ("--part", part))],
        cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    samples = Results.load(done.stdout).samples
    assert set(samples.tree) == {"containerd-style", "id-mapped", "containerd-style, cold", "minimal", "1 alive",
                                 "2 alive"}
    for section in set(samples.tree) - {"minimal"}:
        assert set(samples.cases(section, "wall")) == set(CASES) - {"created", "least"}
        for case in samples.cases(section, "wall"):
            for quantity in ("wall", "cpu"):
                assert (samples.median(section, case, quantity, "pyruntime") or 0) > 0
        assert 4 < (samples.median(section, "created", "pss", "pyruntime") or 0) < 4096
    assert 4 < (samples.median("minimal", "least", "limit", "pyruntime") or 0) < 4096
    assert _left() == before


def _left() -> set[str]:
    """Cgroups and temporary directories of a bench."""
    return {str(path) for mount in hierarchies().values() for path in mount.glob("bench-*")} | {
        str(path) for path in Path("/tmp").glob("pyruntime-bench-*")}
