"""Tables in the style of docker ps: columns of text, three spaces apart, without rules."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def printable(text: str) -> str:
    """A text as one line for a terminal: control characters, which names from elsewhere may contain, become question
    marks."""
    return text if text.isprintable() else "".join(sign if sign.isprintable() else "?" for sign in text)


def columns(rows: Sequence[Sequence[str]], *, least: int = 0) -> str:
    """The rows as lines. ``least`` is the minimum width of every column but the last; the first row may be a heading.
    Cells are made ``printable``."""
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(least, *(len(row[number]) + 3 for row in shown)) for number in range(len(rows[0]) - 1)]
    return "".join("".join(f"{cell:{width}}" for cell, width in zip(row, [*widths, 0], strict=True)) + "\n"
                   for row in shown)
