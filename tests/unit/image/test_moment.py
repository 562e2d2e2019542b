"""Moments of RFC 3339, against the standard library's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyruntime.image.moment import age, seconds

ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(timezones=ZONES))
def test_as_the_standard_library_reads_them(moment: datetime) -> None:
    found = seconds(moment.isoformat())
    assert found is not None and abs(found - moment.timestamp()) < 1e-3


@given(st.text("0123456789-:TZ+. ", max_size=30))
def test_what_is_none_is_none(text: str) -> None:
    found = seconds(text)
    if found is not None:
        assert datetime.fromisoformat(text[:19] + "+00:00" if text[17:19] != "60" else "1970-01-01")


@pytest.mark.parametrize(("text", "expected"), [
    ("1970-01-01T00:00:00Z", 0), ("2024-02-29T12:00:00.123456789Z", 1709208000.123456789),
    ("0001-01-01T00:00:00Z", -62135596800), ("2016-12-31T23:59:60Z", 1483228800), ("1970-01-01t01:00:00+01:00", 0),
    ("2023-02-29T00:00:00Z", None), ("2024-13-01T00:00:00Z", None), ("2024-01-01", None), ("", None),
    ("2024-01-01T00:00:00", None), ("2024-01-01T24:00:00Z", None), ("2024-01-01T00:00:00.Z", None),
    ("2024-01-01T00:00:00Zx", None), ("yesterday", None), ("2024-01-01T00:00:00+0100", None)])
def test_moments(text: str, expected: float | None) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(("text", "expected"), [
    ("2023-12-31T23:59:59Z", "1 second ago"), ("2023-12-31T23:58:00Z", "2 minutes ago"),
    ("2023-12-25T00:00:00Z", "1 week ago"), ("2022-01-01T00:00:00Z", "2 years ago"), ("2024-01-01T00:00:00Z",
                                                                                     "just now"),
    ("2025-01-01T00:00:00Z", "just now"), ("yesterday", ""), ("", "")])
def test_ages(text: str, expected: str) -> None:
    assert age(text, datetime(2024, 1, 1, tzinfo=UTC).timestamp()) == expected
