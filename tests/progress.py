"""Lines of progress when tests run in several processes, for terminals and for logs, instead of a dot for each test."""

from __future__ import annotations

import time
from collections.abc import Generator

import pytest

INTERVAL = 15   # seconds between two lines
LONGEST = 200   # characters of a message

Status = tuple[str, str, str]


class Progress:
    """A failed test is printed at once with the first line of its message, the state of the run every few seconds."""

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter
        self._began = self._printed = time.monotonic()
        self._all = self._done = self._failed = self._skipped = 0
        self._running: dict[str, float] = {}

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        self._all = len(ids)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._running[nodeid] = time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed += report.failed
        self._skipped += report.skipped
        if report.failed:
            reasons = [line[1:].strip() for line in report.longreprtext.splitlines() if line.startswith("E ")]
            self._say(f"failed ({report.when}): {report.nodeid}: {''.join(reasons[:1])[:LONGEST]}")

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._done += 1
        self._running.pop(nodeid, None)
        now = time.monotonic()
        if now > self._printed + INTERVAL or self._done == self._all:
            self._printed = now
            self._say(self._line(now))

    def _say(self, line: str) -> None:
        self._reporter.write_line(line)
        self._reporter.flush()   # a log is read while the tests run

    def _line(self, now: float) -> str:
        minutes, seconds = divmod(int(now - self._began), 60)
        line = (f"{minutes:2}:{seconds:02} {self._done * 100 // max(self._all, 1):3}%: {self._done} of {self._all} "
                f"tests, {self._failed} failed, {self._skipped} skipped")
        if self._running:   # the one that takes longest
            name, since = min(self._running.items(), key=lambda entry: entry[1])
            line += f"; for {now - since:.0f} s: {name}"
        return line

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self) -> Generator[None, Status, Status]:
        """No letter for each test."""
        category, _, word = yield
        return category, "", word


def pytest_sessionstart(session: pytest.Session) -> None:
    manager = session.config.pluginmanager
    reporter = manager.get_plugin("terminalreporter")
    if reporter and session.config.getoption("numprocesses", None):
        manager.register(Progress(reporter))
