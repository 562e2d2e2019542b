"""Moments as images tell them: RFC 3339, to any fraction of a second (config.md `created`).

By arithmetic: what the standard library and others have for this costs a listing of images more than all the rest.
"""

from __future__ import annotations

_UNITS = (("year", 365 * 86400), ("month", 30 * 86400), ("week", 7 * 86400), ("day", 86400), ("hour", 3600),
          ("minute", 60), ("second", 1))
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def seconds(text: str) -> float | None:
    """Seconds since 1970 of a moment; None for a text that is none, such as one without its offset from UTC."""
    date, time = text[:10], text[11:]
    for sign in ("Z", "z", "+", "-"):
        clock, found, offset = time.partition(sign)
        if found:
            break
    whole, point, fraction = clock.partition(".")
    fields = [*date.split("-"), *whole.split(":")]
    shape = [len(field) for field in fields] == [4, 2, 2, 2, 2, 2] and text[10:11] in ("T", "t", " ")
    zone = offset.split(":") if found in ("+", "-") else ["00", "00"] if found and not offset else []
    if not shape or [len(part) for part in zone] != [2, 2] or bool(point) != bool(fraction):
        return None
    if not all(field.isascii() and field.isdigit() for field in (*fields, *zone, fraction or "0")):
        return None
    year, month, day, hour, minute, second = map(int, fields)
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not (1 <= month <= 12 and 1 <= day <= _DAYS[month - 1] + (leap and month == 2) and hour < 24 and minute < 60
            and second <= 60 and int(zone[0]) < 24 and int(zone[1]) < 60):
        return None
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 - 719162   # of the years before, since 1970
    days += sum(_DAYS[:month - 1]) + (leap and month > 2) + day - 1
    away = (int(zone[0]) * 60 + int(zone[1])) * (-60 if found == "-" else 60)
    return days * 86400 + hour * 3600 + minute * 60 + second - away + float(f"0.{fraction or 0}")


def age(text: str, now: float) -> str:
    """How long before ``now``, in seconds since 1970, a moment was, in words; "" for a text that is none."""
    then = seconds(text)
    if then is None:
        return ""
    for unit, length in _UNITS:
        count = int((now - then) // length)
        if count > 0:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
