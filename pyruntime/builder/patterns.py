"""Patterns of file names: those of COPY and ADD, and those of .dockerignore and --exclude.

COPY uses Go's filepath.Match: ``*`` and ``?`` within a component, ``[a-z]``, ``[^a-z]``, ``\\`` before a literal
character; with --parents also ``**``. .dockerignore adds ``**`` for any number of components. A pattern becomes a
regular expression that needs at most linear time for each of its stars.
"""

from __future__ import annotations

import re


class PatternError(Exception):
    """An invalid pattern: an unclosed bracket, or a backslash at the end."""


def has_magic(pattern: str) -> bool:
    """Whether the text has pattern characters."""
    return any(letter in pattern for letter in "*?[\\")


def component(pattern: str) -> re.Pattern[str]:
    """One component of a path, for fullmatch. Raises PatternError."""
    return re.compile(_translate(pattern), re.S)


def whole(pattern: str) -> re.Pattern[str]:
    """A whole path, with ``**`` for any number of components (.dockerignore). Raises PatternError.

    As Docker's patternmatcher: ``**/x`` also matches x at the top; a ``**`` at the end matches everything below;
    elsewhere, as in ``a**b``, it matches nothing or any text that ends with a slash. ``**.md``, without a further
    pattern, matches any path with this suffix.
    """
    if pattern.startswith("**") and not pattern.startswith("**/") and not has_magic(pattern[2:]):
        return re.compile(".*" + re.escape(pattern[2:]), re.S)
    parts = [""]
    index = 0
    while index < len(pattern):
        if pattern.startswith("**", index):
            index += 2
            index += pattern.startswith("/", index)
            if len(parts) == 1 or parts[-1]:   # repeated ** have no further meaning
                parts.append("")
            continue
        start = index
        while index < len(pattern) and not pattern.startswith("**", index):
            letter = pattern[index]
            index += 2 if letter == "\\" else 1
            if letter == "[":   # may contain stars
                index = _bracket(pattern, index)[1]
        parts[-1] += _translate(pattern[start:index])
    if len(parts) == 1:
        return re.compile(parts[0], re.S)
    # Whole components between two ** match at their first occurrence, which is as good as any other.
    middle = "".join(f"(?>(?:.*?/)??{part})" if part.endswith("/") else f"(?:.*/)?{part}" for part in parts[1:-1])
    return re.compile(parts[0] + middle + (f"(?:.*/)?{parts[-1]}" if parts[-1] else ".*"), re.S)


def _translate(pattern: str) -> str:
    """A pattern without ``**``. The text between two stars matches at its first occurrence, so that the time is linear
    for each star."""
    pieces = [""]
    index = 0
    while index < len(pattern):
        letter = pattern[index]
        index += 1
        result = ""
        if letter == "*":
            if len(pieces) == 1 or pieces[-1]:
                pieces.append("")
        elif letter == "?":
            result += "[^/]"
        elif letter == "\\":
            if index == len(pattern):
                raise PatternError("a backslash at its end")
            result += re.escape(pattern[index])
            index += 1
        elif letter == "[":
            text, index = _bracket(pattern, index)
            result += text
        else:
            result += re.escape(letter)
        pieces[-1] += result
    if len(pieces) == 1:
        return pieces[0]
    return pieces[0] + "".join(f"(?>[^/]*?{piece})" for piece in pieces[1:-1]) + f"[^/]*{pieces[-1]}"


def _bracket(pattern: str, index: int) -> tuple[str, int]:
    """A set of characters; the position after its bracket."""
    negated = pattern.startswith("^", index)
    index += negated
    ranges: list[tuple[str, str]] = []
    while True:
        if pattern.startswith("]", index) and ranges:
            break
        low, index = _character(pattern, index)
        high = low
        if pattern.startswith("-", index):
            high, index = _character(pattern, index + 1)
        ranges.append((low, high))
    text = "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in ranges if low <= high)
    if not text:   # [z-a] matches nothing, its negation everything
        return ("[^/]" if negated else "(?!)"), index + 1
    return f"(?!/)[{'^' if negated else ''}{text}]", index + 1


def _character(pattern: str, index: int) -> tuple[str, int]:
    letter = pattern[index:index + 1]
    if letter == "\\":
        index += 1
        letter = pattern[index:index + 1]
    elif letter in ("-", "]"):
        raise PatternError(f'"{letter}" is not allowed there in brackets')
    if not letter:
        raise PatternError('a "[" has no "]"')
    return letter, index + 1
