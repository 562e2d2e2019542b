"""The slowest tests: those that end a program at every step, or build or compare whole trees of files. ``make test``
leaves them out, so that it ends within minutes; ``make test-all`` and `.ci/run` run them.

``pytest --processor-times FILE`` measures: a line for each test with the seconds of processor time of its process and
of the processes that it has waited for, the seconds until its end, and its ID.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

# The beginning of a test's ID, below tests/ -> seconds of processor time, measured with four processes on two CPUs.
SLOW = {
    "images/integration/test_store_crash.py": 76,
    "runtime/integration/test_faults.py": 70,
    "images/integration/test_real_images.py": 57,
    "builder/integration/test_projects.py": 42,
    "images/integration/test_killed.py": 41,
    "runtime/integration/test_killed.py": 28,
    "pocker/integration/test_cp.py::test_a_tree_is_the_same_after_copies_in_and_out": 27,
    "native/test_sanitizers.py": 26,
    "images/integration/test_peer_trees.py": 26,
    "runtime/integration/test_front_exec.py": 22,
    "runtime/integration/test_front_calls.py": 19,
    "packages/test_install.py": 16,
    "runtime/integration/test_exec_faults.py": 13,
    "packages/test_wheel.py": 12,
    "commandline/integration/test_snapshot.py::test_every_word_of_the_tables_is_checked": 12,
    "bench/integration/test_bench.py": 11,
    "pocker/integration/test_real_software.py": 10,
    "runtime/integration/test_bad_input.py::test_every_wrong_configuration_is_refused_by_create": 9,
    "images/integration/test_layer_overlay.py": 9,
    "security/test_builds.py::test_a_cache_whose_content_becomes_a_link": 6,
}


class Clock:
    """The hooks of a process that measures. The processes of a run write to one file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, Any, Any]:
        used, began = _processor_time(), time.monotonic()
        try:
            return (yield)
        finally:
            self._file.write(f"{_processor_time() - used:.2f} {time.monotonic() - began:.2f} {item.nodeid}\n")


def _processor_time() -> float:
    """Seconds of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def add_options(parser: pytest.Parser) -> None:
    """For tests/conftest.py, which registers this module too late for the hook."""
    parser.addoption("--without-slow", action="store_true", help="leave out the slowest tests (tests/slow.py)")
    parser.addoption("--processor-times", metavar="FILE", help="append the times of each test to FILE (tests/slow.py)")


def pytest_configure(config: pytest.Config) -> None:
    given = config.getoption("processor_times")
    if given and not config.getoption("numprocesses", None):   # not the process that only starts the workers
        config.pluginmanager.register(Clock(Path(os.path.abspath(given))))


def slow(test: pytest.Item) -> bool:
    """Whether the table has this test."""
    return test.nodeid.removeprefix("tests/").startswith(tuple(SLOW))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the slow tests, if asked to."""
    if config.getoption("without_slow"):
        left_out = [item for item in items if slow(item)]
        items[:] = [item for item in items if not slow(item)]
        config.hook.pytest_deselected(items=left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what was left out, and why."""
    if config.getoption("without_slow"):
        terminalreporter.write_line(f"left out, because they take {sum(SLOW.values())} s of processor time (run them "
                                    "with make test-all):")
        for name, seconds in SLOW.items():
            terminalreporter.write_line(f"  {seconds:3} s  {name}")
