"""The unit tests and a core of the others with several Pythons: ``python -m tests.pythons PYTHON...``.

Each interpreter has an environment of its own in build/pythons/NAME, with commands that start it, all in this checkout;
its tests run with these commands. The core is that of tests/vm/core.toml. Prints a table in Markdown, and the failures
and what was skipped above it; the reports and logs are beside the environments. The exit status is 1 if a test failed
or an environment could not be made.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
import tomllib
import xml.etree.ElementTree as xml
from collections import Counter
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
PLACE = TOP / "build/pythons"
ROUNDS = 20
COLUMNS = ("Python", "unit tests passed / failed / skipped", "core passed / failed / skipped",
           "`pyruntime list` from a snapshot, ms", "without, ms")
# Its rules are those of the one Python that the checkers of `make lint` run with.
NOT_HERE = "tests/house/unit/test_house.py"


def environment(python: str) -> Path:
    """The environment of an interpreter, built by make from this checkout."""
    version = subprocess.run([python, "-c", "import platform; print(platform.python_version())"], check=True,
                             capture_output=True, text=True)
    place = PLACE / version.stdout.strip()
    subprocess.run(["make", "-s", f"VENV={place.relative_to(TOP)}", f"PYTHON={python}", "all"], cwd=TOP, check=True)
    return place


def parts() -> dict[str, list[str]]:
    """The arguments of pytest for both columns."""
    core = tomllib.loads((TOP / "tests/vm/core.toml").read_text())
    unit = [str(path.relative_to(TOP)) for path in sorted(TOP.glob("tests/*/unit"))]
    return {"unit": [*unit, f"--ignore={NOT_HERE}"],
            "core": [name for name in core["tests"] if "/unit/" not in name]}


def run(place: Path, part: str, arguments: list[str], jobs: int) -> tuple[str, bool]:
    """The counts of one part, and whether it passed."""
    report = place.with_name(f"{place.name}-{part}.xml")
    report.unlink(missing_ok=True)
    with report.with_suffix(".log").open("wb") as log:
        status = subprocess.run(
            [place / "bin/python", "-m", "pytest", "--commands", place / "bin", "-n", str(jobs), "--dist", "worksteal",
             f"--junitxml={report}", *arguments], cwd=TOP, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
    if not report.exists():
        return f"none: pytest ended with {status}", False
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for case in xml.parse(report).iter("testcase"):
        kinds = {child.tag: child.get("message", "") for child in case}
        kind = next((kind for kind in ("error", "failure", "skipped") if kind in kinds), "passed")
        counts[kind] += 1
        if kind == "skipped":
            reasons[kinds[kind]] += 1
        elif kind != "passed":
            print(f"{place.name} {part}: {case.get('classname')}::{case.get('name')}: {kinds[kind].splitlines()[:1]}")
    for reason, count in reasons.items():
        print(f"{place.name} {part}: {count} skipped: {reason}")
    bad = counts["failure"] + counts["error"]
    return f"{counts['passed']} / {bad} / {counts['skipped']}", not bad and status == 0


def starts(places: list[Path]) -> dict[Path, tuple[float, float]]:
    """Medians of a start in ms with a snapshot and without, in rounds in which each interpreter has its turn."""
    found: dict[tuple[Path, str], list[float]] = {}
    for _ in range(ROUNDS + 1):
        for place in places:
            for snapshot in ("on", "off"):
                begun = time.perf_counter()
                subprocess.run([place / "bin/pyruntime", "--root", PLACE / "none", "list"], check=False,
                               env={**os.environ, "PYRUNTIME_SNAPSHOT": snapshot, "PYRUNTIME_FRONT": "off"},
                               stdin=subprocess.DEVNULL, capture_output=True)
                found.setdefault((place, snapshot), []).append((time.perf_counter() - begun) * 1000)
    medians = {key: statistics.median(samples[1:]) for key, samples in found.items()}   # the first makes the snapshot
    return {place: (medians[place, "on"], medians[place, "off"]) for place in places}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.pythons")
    parser.add_argument("pythons", nargs="+", metavar="PYTHON", help="an interpreter: a path, or a name in PATH")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes for the tests (%(default)s)")
    options = parser.parse_args()
    rows: dict[Path, list[str]] = {}
    good = True
    for python in options.pythons:
        try:
            place = environment(python)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{python}: no environment: {error}")
            good = False
            continue
        rows[place] = []
        for part, arguments in parts().items():
            said, passed = run(place, part, arguments, options.jobs)
            rows[place].append(said)
            good &= passed
    times = starts([*rows])
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
    for place, counts in rows.items():
        print(f"| {place.name} | {' | '.join(counts)} | {times[place][0]:.1f} | {times[place][1]:.1f} |")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
