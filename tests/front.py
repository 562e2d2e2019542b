"""The front beside Python: an installation that records which of them answers."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import TOP
from tests.containers import PATIENCE, Bundle, Leftovers, Runtime

PROGRAM = TOP / "pyruntime/native/front/front"
WAITS = "trap 'exit 3' TERM; sleep 10000 & wait"   # longer than any test, however slow the host is


class Both:
    """An installation that records the calls of Python."""

    def __init__(self, place: Path, program: Path = PROGRAM) -> None:
        self.place = place
        self.called = place / "called"
        (place / "bin").mkdir()
        (place / "libexec").mkdir()
        shutil.copy(program, place / "bin/pyruntime")
        script = place / "libexec/pyruntime"
        script.write_text(f'#!/bin/sh\necho "$@" >>{self.called}\nexec {TOP}/.venv/libexec/pyruntime "$@"\n')
        script.chmod(0o755)
        self.runtime = Runtime(place / "state", place / "bin/pyruntime")

    def answer(self, words: str, front: str) -> tuple[tuple[int, str, str], bool]:
        """The output, and whether the front produced it."""
        self.called.unlink(missing_ok=True)
        line = shlex.split(words.replace("{log}", str(self.place / "log")))
        done = self.runtime(*line, env={"PYRUNTIME_FRONT": front})
        return (done.returncode, done.stdout, done.stderr), not self.called.exists()

    def bring(self, bundle: Bundle, status: str) -> None:
        """Create a container c1 in a status, or none."""
        if status == "absent":
            return
        self.runtime.ok("create", "c1", bundle)
        if status != "created":
            self.runtime.ok("start", "c1")
            if WAITS in bundle.config["process"]["args"]:
                self._await_trap()
        if status == "paused":
            self.runtime.ok("pause", "c1")
        if status == "stopped":
            self.runtime.ok("kill", "c1", "KILL")
            self.runtime.await_status("c1", "stopped")

    def _await_trap(self) -> None:
        """The first process of a pid namespace gets no SIGTERM before it has set its trap."""
        about, deadline = Path(f"/proc/{self.runtime.state('c1')['pid']}/status"), time.monotonic() + PATIENCE
        while not int(re.findall(r"SigCgt:\s*(\w+)", about.read_text())[0], 16) >> signal.SIGTERM - 1 & 1:
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def left(self, after: str) -> list[str]:
        """The remains of the container, once it has the expected status."""
        deadline = time.monotonic() + PATIENCE
        while (state := self.answer("state c1", "off")[0])[0] == 0 and not re.search(f'"status": "{after}"', state[1]):
            assert time.monotonic() < deadline, (after, state)
            time.sleep(0.01)
        assert (state[0] == 0) == (after != "absent")
        directory = self.runtime.root / "c1"
        files = sorted(path.name for path in directory.iterdir()) if directory.exists() else []
        return [re.sub(r'"pid": [1-9]\d*|"created": ".*"', "...", state[1]), *files,
                *sorted(path.name for path in self.runtime.root.iterdir())]


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    both = Both(tmp_path)
    leftovers = Leftovers(both.runtime.root)
    yield both
    both.runtime("delete", "--force", "c1")
    leftovers.check()
