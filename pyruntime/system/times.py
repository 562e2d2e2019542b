"""Times as records and logs have them: RFC 3339, UTC."""

from __future__ import annotations

import time


def timestamp() -> str:
    """Now, as records and logs have it: RFC 3339 with nanoseconds, UTC."""
    now = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9)) + f".{now % 10**9:09}Z"


def seconds(stamp: str) -> float:
    """Seconds of such a time since some day long ago."""
    days, clock = stamp[:19].split("T")
    year, month, day = map(int, days.split("-"))
    hour, minute, second = map(int, clock.split(":"))
    year, month = (year - 1, month + 12) if month < 3 else (year, month)   # so that the day of a leap year is the last
    day += 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5
    return ((day * 24 + hour) * 60 + minute) * 60 + second + int(stamp[20:29] or 0) / 10**9
