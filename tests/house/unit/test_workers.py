"""How the tests run: tests/workers.py, tests/progress.py and tests/slow.py."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from tests.conftest import TOP
from tests.slow import SLOW
from tests.workers import ALONE, Controller, Machine

PATIENCE = 60


@pytest.mark.parametrize("entry", [*ALONE, *SLOW])
def test_an_entry_names_tests_that_exist(entry: str) -> None:
    module, _, name = entry.partition("::")
    function, path = name.partition("[")[0], TOP / "tests" / module
    assert path.exists() and (not function or f"\ndef {function}(" in path.read_text())


def test_slow_tests_are_left_out_if_asked_for() -> None:
    def collected(*options: str) -> str:
        words = ["--collect-only", "-q", "-p", "no:cacheprovider", *options, "tests/bench"]
        return subprocess.run([sys.executable, "-m", "pytest", *words], cwd=TOP, capture_output=True, text=True,
                              check=False, timeout=300, env={**os.environ, "PYTEST_ADDOPTS": ""}).stdout

    slow = next(name for name in SLOW if name.startswith("bench/"))
    assert f"tests/{slow}::" in collected()
    shown = collected("--without-slow")
    assert f"tests/{slow}::" not in shown and f"s  {slow}" in shown and "deselected" in shown


def test_processor_times_of_a_run_in_two_processes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "pytest", "-n", "2", "-p", "no:cacheprovider", "--processor-times",
                    tmp_path / "times", "tests/system/unit/test_terminal.py"], cwd=TOP, check=True, timeout=300,
                   stdout=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(tmp_path), "PYTEST_ADDOPTS": ""})
    lines = [line.split(" ", 2) for line in (tmp_path / "times").read_text().splitlines()]
    assert lines and len(lines) == len({name for _, _, name in lines}), "each test once"
    assert all(0 <= float(used) < 60 and 0 <= float(lasted) < 60 for used, lasted, _ in lines)


class Visit(threading.Thread):
    """A process that waits for the machine; ``inside`` is set when it has it."""

    def __init__(self, place: Path, by_itself: bool) -> None:
        super().__init__()
        self.inside = threading.Event()
        self.machine = Machine(place)
        self._by_itself = by_itself
        self.start()

    def run(self) -> None:
        self.machine.enter(self._by_itself)
        self.inside.set()


def _awaits_lock(place: Path, name: str) -> bool:
    """Whether somebody waits for one of the files of the lock."""
    number = os.stat(place / name).st_ino
    return re.search(rf"-> FLOCK .*:{number} ", Path("/proc/locks").read_text()) is not None


def test_a_test_that_is_alone_is_neither_disturbed_nor_overtaken(tmp_path: Path) -> None:
    first, second = (Visit(tmp_path, False) for _ in range(2))
    assert first.inside.wait(PATIENCE) and second.inside.wait(PATIENCE), "ordinary tests run together"
    alone = Visit(tmp_path, True)
    while not _awaits_lock(tmp_path, "room"):
        pass
    late = Visit(tmp_path, False)
    while not _awaits_lock(tmp_path, "gate"):
        pass
    first.machine.leave()
    assert not alone.inside.is_set()
    second.machine.leave()
    assert alone.inside.wait(PATIENCE)
    alone.join()
    assert not late.inside.is_set()
    alone.machine.leave()
    assert late.inside.wait(PATIENCE)
    late.join()


def test_a_run_in_two_processes(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "pytest", "-n", "2", "-p", "no:cacheprovider",
                           "tests/system/unit/test_times_files_processes.py"], cwd=TOP, capture_output=True, text=True,
                          check=False, timeout=300, env={**os.environ, "TMPDIR": str(tmp_path), "PYTEST_ADDOPTS": ""})
    assert done.returncode == 0, done.stdout + done.stderr
    count = re.search(r"(\d+) passed", done.stdout)
    assert count and f"100%: {count[1]} of {count[1]} tests, 0 failed, 0 skipped" in done.stdout
    assert list(tmp_path.glob("pyruntime-tests-*")) == [], "its directory is removed"


@pytest.mark.parametrize("status", [pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED])
def test_the_directory_is_removed_however_deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                               status: pytest.ExitCode) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    controller = Controller()
    here = os.open(controller.place, os.O_RDONLY)
    for _ in range(2 * sys.getrecursionlimit()):
        os.mkdir("d", dir_fd=here)
        here, above = os.open("d", os.O_RDONLY, dir_fd=here), here
        os.close(above)
    os.close(here)
    controller.pytest_sessionfinish(status)
    assert controller.place.exists() == (status != pytest.ExitCode.OK)
    subprocess.run(["rm", "-rf", controller.place], check=True)
