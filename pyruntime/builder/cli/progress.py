"""The progress of a build on standard error: blocks of lines, or JSON objects.

The kinds of --progress: plain, json, quiet, and auto, which is plain with colours on a terminal.
"""

from __future__ import annotations

import os
import re
import time

from pyruntime.builder.progress import BuildProgress
from pyruntime.errors import UsageError
from pyruntime.system.json import encode
from pyruntime.system.terminal import has_colours

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")   # console_codes(4): SGR
KINDS = ("auto", "plain", "json", "quiet")


class Plain(BuildProgress):
    """A line for each event, with the step's number and the seconds since the step began."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}

    def begin(self, number: int, title: str) -> None:
        """Print the title."""
        self._since[number] = time.monotonic()
        self._print(f"#{number} {title}")

    def output(self, number: int, text: str) -> None:
        """Print the line."""
        self._print(f"#{number} {self._seconds(number):.3f} {_last(text)}")

    def end(self, number: int, outcome: str) -> None:
        """Print the outcome."""
        took = "" if outcome == "cached" else f" {self._seconds(number):.1f}s"
        self._print(f"#{number} {outcome.upper()}{took}")

    def _seconds(self, number: int) -> float:
        return time.monotonic() - self._since.get(number, time.monotonic())

    @staticmethod
    def _print(text: str) -> None:
        os.write(2, f"{_safe(text)}\n".encode("utf-8", "replace"))


class Terminal(Plain):
    """Like plain, with bold numbers and coloured outcomes."""

    def begin(self, number: int, title: str) -> None:
        """Print the title."""
        self._since[number] = time.monotonic()
        self._write(f"\x1b[1m#{number}\x1b[0m ", title)

    def end(self, number: int, outcome: str) -> None:
        """Print the outcome."""
        took = "" if outcome == "cached" else f" {self._seconds(number):.1f}s"
        colour = "31" if outcome == "failed" else "36" if outcome == "cached" else "32"
        self._write(f"\x1b[1m#{number}\x1b[0m \x1b[{colour}m", f"{outcome.upper()}{took}", "\x1b[0m")

    @staticmethod
    def _write(before: str, text: str, after: str = "") -> None:
        os.write(2, f"{before}{_safe(text)}{after}\n".encode("utf-8", "replace"))


class Json(BuildProgress):
    """A JSON object per line: the step, the event (begin, output, end), the time in seconds since 1970, and the event's
    title, text or outcome."""

    def _print(self, event: str, number: int, **fields: Any) -> None:
        os.write(2, encode({"time": round(time.time(), 3), "step": number, "event": event, **fields}).encode() + b"\n")

    def begin(self, number: int, title: str) -> None:
        """Print the title."""
        self._print("begin", number, title=title)

    def output(self, number: int, text: str) -> None:
        """Print the line."""
        self._print("output", number, text=text)

    def end(self, number: int, outcome: str) -> None:
        """Print the outcome."""
        self._print("end", number, outcome=outcome)


def _last(text: str) -> str:
    """A line of output as a terminal would leave it: of text that overwrites itself (a progress bar) the last state,
    and without colours."""
    return _COLOUR.sub("", text).rstrip("\r").rpartition("\r")[2]


def _safe(text: str) -> str:
    """The text with its control characters escaped: the output of a command must not control the terminal."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign == "\t" else repr(sign)[1:-1] for sign in text)


def observer(kind: str) -> BuildProgress:
    """The observer for --progress. Raises UsageError."""
    if kind not in KINDS:
        raise UsageError(f'--progress "{kind}": write {", ".join(KINDS)}')
    if kind == "auto":
        return Terminal() if has_colours(2) else Plain()
    return {"plain": Plain, "json": Json, "quiet": BuildProgress}[kind]()
