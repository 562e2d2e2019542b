"""Times on the command line: RFC 3339, seconds since 1970, or a duration before now."""

from __future__ import annotations

import calendar
import time
from datetime import UTC, datetime

from dateutil.parser import ParserError, isoparse

from pyruntime.commandline.units import duration
from pyruntime.errors import UsageError
from pyruntime.system.times import timestamp


def seconds(text: str, flag: str) -> float:
    """A duration as Go writes it (``1h30m``, ``10s``, ``500ms``), or a plain number of seconds. Raises UsageError."""
    return float(text) if text.replace(".", "", 1).isdecimal() else duration(flag.lstrip("-"), text)


def moment(text: str, flag: str) -> str:
    """The time in the form of the records: RFC 3339 with nanoseconds, UTC. A time without a zone is local. Raises
    UsageError."""
    head, _, fraction = text.partition(".")
    try:
        if head.isdecimal() and (fraction.isdecimal() or not fraction):
            when = datetime.fromtimestamp(int(head), UTC)
        elif text[:4].isdecimal() and text[4:5] == "-":
            when = isoparse(text[:19] + text[19:].lstrip(".0123456789")).astimezone(UTC)
            fraction = text[20:] if text[19:20] == "." else ""
        else:
            return timestamp(time.time_ns() - int(seconds(text, flag) * 10**9))
    except (ParserError, ValueError, OverflowError):
        raise UsageError(f'{flag} "{text}": write a time such as 2026-01-31T12:00:00Z, seconds since 1970, or how long'
                         " ago: 10m") from None
    digits = fraction[:len(fraction) - len(fraction.lstrip("0123456789"))]
    return timestamp(calendar.timegm(when.timetuple()) * 10**9 + int(f"{digits[:9]:0<9}"))
