"""Patterns of file names: those of COPY and ADD, and those of .dockerignore and --exclude.

COPY has Go's filepath.Match: ``*`` and ``?`` within a component, ``[a-z]``, ``[^a-z]``, ``\\`` before a character that
means itself; with --parents also ``**``. .dockerignore adds ``**`` for any number of components. A pattern becomes a
regular expression; none of these can take more than linear time for each of its stars.
"""

from __future__ import annotations

import re


class PatternError(Exception):
    """A pattern that is none: a bracket without an end, a backslash at the end."""


def has_magic(pattern: str) -> bool:
    """Whether a pattern is more than a name."""
    return any(letter in pattern for letter in "*?[\\")


def component(pattern: str) -> re.Pattern[str]:
    """One component of a path, for fullmatch. Raises PatternError."""
    return re.compile(_translate(pattern), re.S)


def whole(pattern: str) -> re.Pattern[str]:
    """A whole path, with ``**`` for any number of components (.dockerignore). Raises PatternError.

    As Docker's patternmatcher: ``**/x`` also means x at the top; a ``**`` at the end is all below; elsewhere, as in
    ``a**b``, it is nothing, or any text that ends with a slash. ``**.md``, without another pattern behind it, is
    whatever ends so.
    """
    if pattern.startswith("**") and not pattern.startswith("**/") and not has_magic(pattern[2:]):
        return re.compile(".*" + re.escape(pattern[2:]), re.S)
    result, index = "", 0
    while index < len(pattern):
        if pattern.startswith("**", index):
            index += 2
            index += pattern.startswith("/", index)
            result += "(?:.*/)?" if index < len(pattern) else ".*"
            continue
        end = pattern.find("**", index)
        # A bracket may hold stars.
        text = pattern[index:] if end < 0 or "[" in pattern[index:end] else pattern[index:end]
        result += _translate(text)
        index += len(text)
    return re.compile(result, re.S)


def _translate(pattern: str) -> str:
    result, index = "", 0
    while index < len(pattern):
        letter = pattern[index]
        index += 1
        if letter == "*":
            if not result.endswith("[^/]*"):
                result += "[^/]*"
        elif letter == "?":
            result += "[^/]"
        elif letter == "\\":
            if index == len(pattern):
                raise PatternError("a backslash stands at its end")
            result += re.escape(pattern[index])
            index += 1
        elif letter == "[":
            text, index = _bracket(pattern, index)
            result += text
        else:
            result += re.escape(letter)
    return result


def _bracket(pattern: str, index: int) -> tuple[str, int]:
    """A set of characters; the place behind its bracket."""
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
    if not text:   # [z-a] is nothing, its opposite everything
        return ("[^/]" if negated else "(?!)"), index + 1
    return f"(?!/)[{'^' if negated else ''}{text}]", index + 1


def _character(pattern: str, index: int) -> tuple[str, int]:
    letter = pattern[index:index + 1]
    if letter == "\\":
        index += 1
        letter = pattern[index:index + 1]
    elif letter in ("-", "]"):
        raise PatternError(f'"{letter}" cannot stand there in its brackets')
    if not letter:
        raise PatternError('a "[" has no "]"')
    return letter, index + 1
