"""RFC 3339 timestamps, as records, logs and documents have them. ``datetime`` would cost 5 ms of import."""

from __future__ import annotations

import time


def timestamp(nanoseconds: int | None = None) -> str:
    """A time in nanoseconds since 1970 (default: now), as RFC 3339 with nanoseconds, UTC."""
    whole, rest = divmod(time.time_ns() if nanoseconds is None else nanoseconds, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{rest:09}Z"


def timestamp_in_seconds(seconds: float | None = None) -> str:
    """A time in seconds since 1970 (default: now), as RFC 3339 with whole seconds, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def parse(text: str) -> int:
    """The nanoseconds since 1970 of an RFC 3339 timestamp. Raises ValueError for any other text."""
    clock, offset = text[:-1], 0
    if text[-1:] not in ("Z", "z"):
        clock, sign, zone = text[:-6], text[-6:-5], text[-5:]
        if sign not in ("+", "-") or zone[2:3] != ":":
            raise ValueError(f'"{text}" is not an RFC 3339 timestamp')
        offset = (_number(zone[:2], 0, 23) * 60 + _number(zone[3:], 0, 59)) * (60 if sign == "+" else -60)
    fraction = clock[20:] if clock[19:20] == "." else ""
    if (clock[4:5], clock[7:8], clock[13:14], clock[16:17]) != ("-", "-", ":", ":") or clock[10:11] not in ("T", "t") \
            or (len(clock) > 19 and not (fraction.isascii() and fraction.isdecimal())):
        raise ValueError(f'"{text}" is not an RFC 3339 timestamp')
    days = _days(_number(clock[:4], 1, 9999), _number(clock[5:7], 1, 12), _number(clock[8:10], 1, 31))
    minutes = _number(clock[11:13], 0, 23) * 60 + _number(clock[14:16], 0, 59)
    second = _number(clock[17:19], 0, 60)   # 60: a leap second
    return (days * 86400 + minutes * 60 + second - offset) * 10**9 + int(f"{fraction[:9]:0<9}")


def _number(digits: str, least: int, most: int) -> int:
    if not (digits.isascii() and digits.isdecimal() and least <= int(digits) <= most):
        raise ValueError(f'"{digits}" is not a number from {least} to {most}')
    return int(digits)


def _days(year: int, month: int, day: int) -> int:
    """The days from 1970-01-01 to a date of the Gregorian calendar."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if day > (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]:
        raise ValueError(f"{year:04}-{month:02} has no day {day}")
    year, month = (year - 1, month + 12) if month < 3 else (year, month)   # a leap day is the last day of such a year
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719469
