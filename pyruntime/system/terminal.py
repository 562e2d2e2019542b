"""What a terminal can show: isatty(3), environ(7) (TERM), and NO_COLOR (no-color.org)."""

from __future__ import annotations

import os

# console_codes(4)
_HOME, _ERASE_LINE, _ERASE_BELOW = "\x1b[H", "\x1b[2K", "\x1b[J"


def can_redraw(fd: int) -> bool:
    """Whether the descriptor is a terminal that can move its cursor."""
    return os.isatty(fd) and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def has_colours(fd: int) -> bool:
    """Whether the descriptor is a terminal that can show colours, and whose user wants them."""
    return can_redraw(fd) and not os.environ.get("NO_COLOR")


def size_of(fd: int) -> os.terminal_size:
    """Columns and lines of a terminal; 80 and 24 where it does not say (a serial line)."""
    columns, lines = os.get_terminal_size(fd)
    return os.terminal_size((columns or 80, lines or 24))


def screen(lines: list[str], size: os.terminal_size) -> str:
    """The lines as the content of a screen of this size, to be written at once: each replaces the line before it, so
    that nothing flickers. What does not fit is cut, and the last line tells how many lines are missing. The cursor is
    left below. The lines must not contain control characters."""
    room = max(size.lines - 1, 1)
    if len(lines) > room:
        lines = [*lines[:room - 1], f"... and {len(lines) - room + 1} more"]
    # One column stays free: a terminal that has filled its last column has not yet gone to the next line.
    return _HOME + "".join(f"{_ERASE_LINE}{line[:size.columns - 1]}\n" for line in lines) + _ERASE_BELOW
