"""How far a build is, on standard error: a block of lines for each step, as one JSON object a line, or not at all."""

from __future__ import annotations

import os
import sys
import time

from pyruntime.errors import UsageError
from pyruntime.system.json import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KINDS = ("auto", "plain", "json", "quiet")


class Progress:
    """Says nothing; also what the kinds have in common. A step is known by its number."""

    def begin(self, number: int, title: str) -> None:
        """A step is looked at."""

    def output(self, number: int, text: str) -> None:
        """Its program has written a line."""

    def end(self, number: int, outcome: str) -> None:
        """It is "cached", "done", "failed", or "again": it is looked at once more, since a cache broke its word."""

    def close(self) -> None:
        """Nothing more comes."""


class Plain(Progress):
    """A line for everything, with the step's number and the seconds since it began."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}

    def begin(self, number: int, title: str) -> None:
        """Tell the step's title."""
        self._since[number] = time.monotonic()
        self._say(f"#{number} {title}")

    def output(self, number: int, text: str) -> None:
        """Tell the line."""
        self._say(f"#{number} {self._seconds(number):.3f} {text}")

    def end(self, number: int, outcome: str) -> None:
        """Tell how it ended."""
        took = "" if outcome == "cached" else f" {self._seconds(number):.1f}s"
        self._say(f"#{number} {outcome.upper()}{took}")

    def _seconds(self, number: int) -> float:
        return time.monotonic() - self._since.get(number, time.monotonic())

    @staticmethod
    def _say(text: str) -> None:
        os.write(2, f"{_safe(text)}\n".encode("utf-8", "replace"))


class Terminal(Plain):
    """As plain; steps stand in bold, and the outcome in colour."""

    def begin(self, number: int, title: str) -> None:
        """Tell the step's title."""
        self._since[number] = time.monotonic()
        self._write(f"\x1b[1m#{number}\x1b[0m ", title)

    def end(self, number: int, outcome: str) -> None:
        """Tell how it ended."""
        took = "" if outcome == "cached" else f" {self._seconds(number):.1f}s"
        colour = "31" if outcome == "failed" else "34" if outcome == "cached" else "32"
        self._write(f"\x1b[1m#{number}\x1b[0m \x1b[{colour}m", f"{outcome.upper()}{took}", "\x1b[0m")

    @staticmethod
    def _write(before: str, text: str, after: str = "") -> None:
        os.write(2, f"{before}{_safe(text)}{after}\n".encode("utf-8", "replace"))


class Json(Progress):
    """An object a line: step, event (begin, output, end), time in seconds after 1970, and what belongs to it."""

    def _say(self, event: str, number: int, **fields: Any) -> None:
        os.write(2, encode({"time": round(time.time(), 3), "step": number, "event": event, **fields}).encode() + b"\n")

    def begin(self, number: int, title: str) -> None:
        """Tell the step's title."""
        self._say("begin", number, title=title)

    def output(self, number: int, text: str) -> None:
        """Tell the line."""
        self._say("output", number, text=text)

    def end(self, number: int, outcome: str) -> None:
        """Tell how it ended."""
        self._say("end", number, outcome=outcome)


def _safe(text: str) -> str:
    """Without control characters, which a terminal obeys: what programs write may hold some."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign == "\t" else repr(sign)[1:-1] for sign in text)


def progress(kind: str) -> Progress:
    """The kind of this name. Raises UsageError."""
    if kind not in KINDS:
        raise UsageError(f'--progress "{kind}": write {", ".join(KINDS)}')
    if kind == "auto":
        return Terminal() if sys.stderr.isatty() else Plain()
    return {"plain": Plain, "json": Json, "quiet": Progress}[kind]()
