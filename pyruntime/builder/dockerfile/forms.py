"""The forms of arguments: a JSON list of texts, or something else; durations; names."""

from __future__ import annotations

from pyruntime.errors import PyruntimeError
from pyruntime.system.json import decode

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


class NotTexts(Exception):
    """A JSON list with anything but strings."""


def json_texts(text: str) -> list[str] | None:
    """The strings of a JSON list; None if the text is not a list, and taken literally. Raises NotTexts."""
    text = text.strip()
    if not text.startswith("["):
        return None
    try:
        value = decode(text.encode("utf-8", "surrogateescape"), "list")
    except (PyruntimeError, ValueError):
        return None
    if not isinstance(value, list):
        return None
    if not all(isinstance(entry, str) for entry in value):
        raise NotTexts
    return [str(entry) for entry in value]


def duration(text: str) -> int | None:
    """Nanoseconds of a time such as 1m30s, 0.5s, 100ms; None for what is none. Go's time.ParseDuration."""
    rest, total = text.removeprefix("+"), 0.0
    if rest == "0":
        return 0
    if not rest or rest.startswith("-"):
        return None
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        number, rest = rest[:digits], rest[digits:]
        letters = len(rest) - len(rest.lstrip("abcdefghijklmnopqrstuvwxyzµμ"))
        unit, rest = rest[:letters], rest[letters:]
        if unit not in _UNITS or not number.replace(".", "", 1).isdigit():
            return None
        total += float(number) * _UNITS[unit]
    return round(min(total, 1 << 64))   # more than anybody takes; it may be infinite


def duration_text(nanoseconds: int) -> str:
    """A time as Go's Duration.String has it: 1m30s, 1.5s, 100ms."""
    if nanoseconds < 10**9:
        unit, size = next((pair for pair in (("ms", 10**6), ("µs", 10**3), ("ns", 1)) if nanoseconds >= pair[1]),
                          ("s", 1))
        return _decimal(nanoseconds, size) + unit
    minutes, rest = divmod(nanoseconds, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{_decimal(rest, 10**9)}s"


def _decimal(number: int, unit: int) -> str:
    whole, part = divmod(number, unit)
    digits = f"{part:0{len(str(unit)) - 1}d}".rstrip("0") if part else ""
    return f"{whole}.{digits}" if digits else str(whole)
