"""Numbers as flags have them: sizes with k, m, g, times with s, m, h. Errors name the flag and what to write."""

from __future__ import annotations

from pyruntime.errors import UsageError

_SIZES = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DIGITS = frozenset("0123456789.")


def wrong(flag: str, text: object, what: str) -> UsageError:
    """What is to be raised for a value of a flag; ``what`` says what to write."""
    return UsageError(f'--{flag} "{text!s:.200}": {what}')


def size(flag: str, text: str) -> int:
    """Bytes, as ``512m``, ``1.5g``, ``64KiB`` or a plain number. Raises UsageError."""
    word = text.strip().lower()
    digits = _leading(word)
    unit = word[len(digits):].strip()
    unit = unit.removesuffix("ib") if unit.endswith("ib") else unit.removesuffix("b")
    try:
        return int(float(digits) * _SIZES[unit])
    except (KeyError, ValueError):
        raise wrong(flag, text, "write bytes, or a number with k, m or g, as 512m") from None


def duration(flag: str, text: str) -> float:
    """Seconds, as ``30s``, ``1m30s``, ``500ms``. Raises UsageError."""
    rest, seconds = text.strip(), 0.0
    try:
        if not rest or rest == "0":
            return float(rest)
        while rest:
            digits = _leading(rest)
            unit = rest[len(digits):]
            unit = unit[:next((place for place, sign in enumerate(unit) if sign in _DIGITS), len(unit))]
            seconds += float(digits) * _SECONDS[unit]
            rest = rest[len(digits) + len(unit):]
        return seconds
    except (KeyError, ValueError):
        raise wrong(flag, text, "write a time with ms, s, m or h, as 1m30s") from None


def whole(flag: str, text: object, least: int, most: int, what: str = "") -> int:
    """A whole number between two others. Raises UsageError."""
    try:
        number = int(str(text))
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise wrong(flag, text, what or f"write a number from {least} to {most}")
    return number


def pair(flag: str, text: str, form: str = "NAME=VALUE") -> tuple[str, str]:
    """The two sides of ``=``. Raises UsageError where there is none, or nothing before it."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise wrong(flag, text, f"write {form}")
    return name, value


def _leading(text: str) -> str:
    return text[:next((place for place, sign in enumerate(text) if sign not in _DIGITS), len(text))]
