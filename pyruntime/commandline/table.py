"""Tables as the tools of this field print them: columns of text, three blanks apart, no lines."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def printable(text: str) -> str:
    """A text as one line of a terminal: control characters, which a stranger's name may hold, as question marks."""
    return text if text.isprintable() else "".join(sign if sign.isprintable() else "?" for sign in text)


def columns(rows: Sequence[Sequence[str]], *, least: int = 0) -> str:
    """The rows as lines. ``least`` is the width that every column but the last has at least; the first row may be a
    heading. All is shown as ``printable`` has it."""
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(least, *(len(row[number]) + 3 for row in shown)) for number in range(len(rows[0]) - 1)]
    return "".join("".join(f"{cell:{width}}" for cell, width in zip(row, [*widths, 0], strict=True)) + "\n"
                   for row in shown)
