"""Texts of the code as Markdown, for the references that are generated from it."""

from __future__ import annotations

import re

_SPECIAL = re.compile(r"[\\*\[\]<>|]|(?<!\w)_|_(?!\w)")
_ROW = re.compile(r"((?:`[^`]+`(?:, )?)+)  +(?=\S)")


def escaped(text: str) -> str:
    """A text as Markdown: what is in backticks stays, everything else is literal."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(part if part.startswith("`") else _SPECIAL.sub(r"\\\g<0>", part) for part in parts)


def docstring(text: str) -> str:
    """A docstring as Markdown: paragraphs, and lists of names, as in "``name``  what it is"; their further lines are
    indented."""
    lines: list[str] = []
    for line in text.replace("``", "`").splitlines():
        row = _ROW.match(line)
        if row:
            previous = lines[-1] if lines else ""
            lines += [*([""] if previous and not previous.startswith(("* ", "  ")) else []),
                      f"* {row[1]}: {escaped(line[row.end():])}"]
        elif line.startswith(" ") and lines and lines[-1].startswith(("* ", "  ")):
            lines.append(f"  {escaped(line.strip())}")
        else:
            lines.append(escaped(line.strip()))
    return "\n".join(lines)
