"""Durations as Go writes them: 1m30s, 1.5h, 100ms (time.ParseDuration, Duration.String)."""

from __future__ import annotations

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DIGITS = "0123456789."


def parse(text: str) -> int | None:
    """The nanoseconds of a duration that is not negative; None for any other text."""
    rest, total = text.removeprefix("+"), 0.0
    if rest == "0":
        return 0
    if not rest:
        return None
    while rest:
        after = rest.lstrip(_DIGITS)
        number = rest[:len(rest) - len(after)]
        rest = after.lstrip("abcdefghijklmnopqrstuvwxyzµμ")
        unit = after[:len(after) - len(rest)]
        if unit not in _UNITS or not number.replace(".", "", 1).isdecimal():
            return None
        total += float(number) * _UNITS[unit]
    return round(min(total, 1 << 64))   # above every caller's limit, and always finite, unlike float(number)


def text(nanoseconds: int) -> str:
    """A duration in nanoseconds as Go prints it."""
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
