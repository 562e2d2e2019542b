"""Tests in several processes (``make test``): their directories, and the tests that need the machine for themselves.

Tests are isolated from each other: each has its own directories, its containers are below the cgroup of its process,
and its daemons and networks are in their own namespaces. The tests in ``ALONE`` are not. The workers share a lock:
ordinary tests hold it together, a test of this table holds it by itself. Without workers there is no lock.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import subprocess
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

# The beginning of a test's ID, below tests/ -> why it cannot run beside other tests.
ALONE = {
    "conformance/integration/test_conformance.py::test_own_cases[runtime_create]":
        "it compares all mounts of the host before and after",
    "sandbox/integration/test_leftovers.py::test_a_killed_program_takes_its_sandboxes_along":
        "it removes what the killed program has left, which the next program with a sandbox does, too",
    "sandbox/integration/test_leftovers.py::test_the_command":
        "it removes what the killed program has left, which the next program with a sandbox does, too",
}


def alone(test: pytest.Item) -> bool:
    """Whether a test needs the machine for itself."""
    return test.nodeid.removeprefix("tests/").startswith(tuple(ALONE))


class Machine:
    """The lock of a run, in files that all its workers open."""

    def __init__(self, place: Path) -> None:
        self._gate, self._room = (os.open(place / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                                  for name in ("gate", "room"))

    def enter(self, by_itself: bool) -> None:
        """Wait for the machine. A test that waits until all others have left holds the gate, so that none enters."""
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        fcntl.flock(self._room, fcntl.LOCK_EX if by_itself else fcntl.LOCK_SH)
        fcntl.flock(self._gate, fcntl.LOCK_UN)

    def leave(self) -> None:
        fcntl.flock(self._room, fcntl.LOCK_UN)


class Worker:
    """The hooks of a worker."""

    def __init__(self, place: Path) -> None:
        self._machine = Machine(place)
        self._keeps = False

    @pytest.hookimpl(wrapper=True, tryfirst=True)   # before the clock of pytest-timeout starts
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, Any, Any]:
        """Hold the machine during a test and its fixtures, and from one test that is alone to the next."""
        if not self._keeps:
            self._machine.enter(alone(item))
        self._keeps = alone(item) and nextitem is not None and alone(nextitem)
        try:
            return (yield)
        finally:
            if not self._keeps:
                self._machine.leave()


class Controller:
    """The hooks of the process that starts the workers; ``place``: the directory of the run."""

    def __init__(self) -> None:
        # Not mkdtemp(): buildah refuses paths with "_/", which it may choose.
        self.place = Path(tempfile.gettempdir(), f"pyruntime-tests-{secrets.token_hex(4)}")
        self.place.mkdir()
        self.place.chmod(0o755)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput["place"] = str(self.place)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Remove the directory, as long as all is well. A mount that was left there is not entered."""
        mounted = f" {self.place}/" in Path("/proc/self/mountinfo").read_text()
        if exitstatus == pytest.ExitCode.OK and not mounted:
            # Not shutil.rmtree(), which recurses: tests make directories that are deeper than Python's stack.
            subprocess.run(["rm", "-rf", "--one-file-system", self.place], check=True)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.place.exists():
            terminalreporter.write_line(f"the files of these tests are in {self.place}")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if given := getattr(config, "workerinput", None):
        # Not below the directory of pytest's sessions, which each new session closes to other users. As deep and as
        # short as there, because a socket's path is limited to 107 bytes.
        config.option.basetemp = f"{given['place']}/{given['workerid']}"
        # The thread of execnet, which connects a worker with the controller.
        config.addinivalue_line("filterwarnings", "ignore:This process .* is multi-threaded:DeprecationWarning")
        config.pluginmanager.register(Worker(Path(given["place"])))
    elif config.getoption("numprocesses", None):
        config.pluginmanager.register(Controller())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that are alone are the last: the others are interrupted once for all of them."""
    items.sort(key=alone)
