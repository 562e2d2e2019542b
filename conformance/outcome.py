"""What a judged program or case says: verdicts, and how it ended.

A *program* is one executable of the official suite or one case of ours. It yields subtests; a program that ended
before it was done (non-zero status, signal, timeout, a plan it did not fulfil) is *stopped* and says why.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum


class Verdict(Enum):
    """The verdict on one subtest; the value is what reports print."""

    OK = "ok"
    NOT_OK = "not ok"
    SKIP = "skip"
    TODO = "todo"


@dataclass(frozen=True)
class Subtest:
    """One line of a TAP stream: its verdict, its text, and the diagnostics that followed it."""

    verdict: Verdict
    text: str
    detail: str = ""


@dataclass(frozen=True)
class Program:
    """The result of one program of the official suite or of one own case.

    ``section`` is the section of the specification it tests, as ``file.md#anchor`` (empty: see the subtests).
    ``stopped`` says why the program ended early and is empty when it ran to its end. ``note`` is what a program without
    a single subtest has to tell.
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
        """The worst thing that happened: not ok, else skipped when nothing was judged, else ok."""
        if self.stopped or self.count(Verdict.NOT_OK):
            return Verdict.NOT_OK
        if self.count(Verdict.SKIP) == len(self.subtests):
            return Verdict.SKIP
        return Verdict.OK


@dataclass
class Run:
    """Everything that one runtime was judged by in one invocation."""

    runtime: str
    version: str = ""
    host: str = ""
    programs: list[Program] = field(default_factory=list)

    def totals(self) -> Counter[Verdict]:
        """Subtests by verdict, over all programs."""
        return Counter(subtest.verdict for program in self.programs for subtest in program.subtests)

    def stopped(self) -> list[Program]:
        return [program for program in self.programs if program.stopped]

    @property
    def passed(self) -> bool:
        return all(program.verdict is not Verdict.NOT_OK for program in self.programs)
