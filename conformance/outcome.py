"""The result of a program or case: verdicts, and how it ended.

A *program* is an executable of the official suite or one of our cases. It has subtests; a program that ended early
(non-zero status, signal, timeout, incomplete plan) is *stopped*, with the reason.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum


class Verdict(Enum):
    """The verdict on a subtest; reports print the value."""

    OK = "ok"
    NOT_OK = "not ok"
    SKIP = "skip"
    TODO = "todo"


@dataclass(frozen=True)
class Subtest:
    """One line of a TAP stream: its verdict, its text, and the diagnostics after it."""

    verdict: Verdict
    text: str
    detail: str = ""


@dataclass(frozen=True)
class Program:
    """The result of one program of the official suite or of one own case.

    ``section`` is the section of the specification that it tests, as ``file.md#anchor`` (empty: see the subtests).
    ``stopped`` is the reason why the program ended early, or empty. ``note`` is the message of a program without
    subtests.
    """

    name: str
    subtests: tuple[Subtest, ...] = ()
    stopped: str = ""
    seconds: float = 0.0
    stderr: str = ""
    section: str = ""
    leftovers: tuple[str, ...] = ()
    note: str = ""

    def count(self, verdict: Verdict) -> int:
        return sum(1 for subtest in self.subtests if subtest.verdict is verdict)

    @property
    def verdict(self) -> Verdict:
        """The worst verdict: not ok, else skipped if nothing was tested, else ok."""
        if self.stopped or self.count(Verdict.NOT_OK):
            return Verdict.NOT_OK
        if self.count(Verdict.SKIP) == len(self.subtests):
            return Verdict.SKIP
        return Verdict.OK


@dataclass
class Run:
    """All results of one runtime in one invocation."""

    runtime: str
    version: str = ""
    host: str = ""
    programs: list[Program] = field(default_factory=list)

    def totals(self) -> Counter[Verdict]:
        """The number of subtests by verdict, over all programs."""
        return Counter(subtest.verdict for program in self.programs for subtest in program.subtests)

    def stopped(self) -> list[Program]:
        return [program for program in self.programs if program.stopped]

    @property
    def passed(self) -> bool:
        return all(program.verdict is not Verdict.NOT_OK for program in self.programs)
