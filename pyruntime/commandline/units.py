"""Numbers in flags: sizes with k, m, g, durations with s, m, h. Errors name the flag and the remedy."""

from __future__ import annotations

from pyruntime.errors import UsageError
from pyruntime.system import durations

_SIZES = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_DIGITS = frozenset("0123456789.")


def wrong(flag: str, text: object, what: str) -> UsageError:
    """The error for a flag's value; ``what`` is the remedy."""
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
    nanoseconds = durations.parse(text.strip())
    if nanoseconds is None:
        raise wrong(flag, text, "write a time with ms, s, m or h, as 1m30s")
    return nanoseconds / 10**9


def whole(flag: str, text: object, least: int, most: int, what: str = "") -> int:
    """A whole number in a range. Raises UsageError."""
    try:
        number = int(str(text))
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise wrong(flag, text, what or f"write a number from {least} to {most}")
    return number


def pair(flag: str, text: str, form: str = "NAME=VALUE") -> tuple[str, str]:
    """The two sides of ``=``. Raises UsageError without ``=``, and for an empty name."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise wrong(flag, text, f"write {form}")
    return name, value


def _leading(text: str) -> str:
    return text[:next((place for place, sign in enumerate(text) if sign not in _DIGITS), len(text))]
