"""Read TAP (the Test Anything Protocol), versions 12 and 13, as the official programs write it.

One output may contain several documents in sequence: a program that calls its test function in a loop prints a header
and a plan each time. Indented text (YAML blocks, the output of a test inside the container) belongs to the preceding
subtest and is never counted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from conformance.outcome import Subtest, Verdict

_RESULT = re.compile(r"(?P<ok>ok|not ok)\b(?:\s+(?P<number>\d+))?(?:\s*-)?\s*(?P<text>.*)")
_PLAN = re.compile(r"1\.\.(?P<last>\d+)(?:\s*#\s*(?P<why>skip.*))?\s*$", re.IGNORECASE)
_DIRECTIVE = re.compile(r"(?P<text>.*?)(?<!\\)#\s*(?P<word>skip|todo)\b\S*\s*(?P<why>.*)", re.IGNORECASE)


@dataclass(frozen=True)
class Stream:
    """A parsed output: its subtests, and the error in the TAP stream, or empty."""

    subtests: tuple[Subtest, ...]
    fault: str = ""


class _Reader:
    """Collects the subtests of a stream and checks each document's plan when the document ends."""

    def __init__(self) -> None:
        self.subtests: list[Subtest] = []
        self.detail: list[str] = []
        self.fault = ""
        self.planned: int | None = None
        self.seen = 0

    def line(self, line: str) -> None:
        if line.startswith("TAP version"):
            self.end_document()
        elif line.startswith("Bail out!"):
            self.fault = self.fault or line.strip()
        elif plan := _PLAN.match(line):
            self.plan(int(plan["last"]), plan["why"])
        elif result := _RESULT.match(line):
            self.result(result["ok"] == "ok", result["text"])
        elif line.strip():
            self.detail.append(line.removeprefix("# ") if line.startswith("#") else line)

    def plan(self, last: int, why_skipped: str | None) -> None:
        self.planned = last
        if last == 0 and why_skipped:
            self.flush_detail()
            self.subtests.append(Subtest(Verdict.SKIP, why_skipped))

    def result(self, good: bool, text: str) -> None:
        self.flush_detail()
        self.seen += 1
        verdict = Verdict.OK if good else Verdict.NOT_OK
        if directive := _DIRECTIVE.match(text):
            verdict = Verdict.SKIP if directive["word"].lower() == "skip" else Verdict.TODO
            text = f"{directive['text'].strip()} {directive['why']}".strip()
        self.subtests.append(Subtest(verdict, text.replace("\\#", "#")))

    def flush_detail(self) -> None:
        if self.subtests and self.detail:
            last = self.subtests[-1]
            self.subtests[-1] = Subtest(last.verdict, last.text, "\n".join(self.detail))
        self.detail = []

    def end_document(self) -> None:
        self.flush_detail()
        if self.planned is not None and self.planned != self.seen and not self.fault:
            self.fault = f"planned {self.planned} tests, saw {self.seen}"
        self.planned, self.seen = None, 0


def parse(text: str) -> Stream:
    """Parse a whole output. Lines that are not TAP become the details of the preceding subtest."""
    reader = _Reader()
    for line in text.splitlines():
        reader.line(line)
    reader.end_document()
    return Stream(tuple(reader.subtests), reader.fault)


def format_subtests(subtests: tuple[Subtest, ...], indent: str = "") -> str:
    """The inverse of :func:`parse` for one document: a plan and one line per subtest, details as comments."""
    lines = [f"{indent}1..{len(subtests)}"]
    for number, subtest in enumerate(subtests, 1):
        lines.append(indent + result_line(number, subtest))
        if subtest.verdict is Verdict.NOT_OK:
            lines += [f"{indent}  # {line}" for line in subtest.detail.splitlines()]
    return "\n".join(lines)


def result_line(number: int, subtest: Subtest) -> str:
    """One TAP result line; ``#`` in the text is escaped so that it cannot become a directive."""
    text = subtest.text.replace("#", "\\#").replace("\n", " ")
    match subtest.verdict:
        case Verdict.OK:
            return f"ok {number} - {text}"
        case Verdict.NOT_OK:
            return f"not ok {number} - {text}"
        case Verdict.SKIP:
            return f"ok {number} # SKIP {text}"
        case Verdict.TODO:
            return f"not ok {number} # TODO {text}"
