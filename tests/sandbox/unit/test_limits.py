"""Limits: sizes, values without a meaning, and what the runtime is told."""

from __future__ import annotations

from typing import Any

import pytest

from pyruntime import Limits
from pyruntime.errors import UsageError
from pyruntime.sandbox.limits import size


@pytest.mark.parametrize(("text", "expected"), [
    (0, 0), (12, 12), ("12", 12), ("1k", 1 << 10), ("256m", 256 << 20), ("2G", 2 << 30), ("1gb", 1 << 30), ("7b", 7)])
def test_sizes(text: int | str, expected: int) -> None:
    assert size("memory", text) == expected


@pytest.mark.parametrize("text", [-1, "", "m", "-1", "1.5g", "1x", "1kk", "²"])
def test_wrong_sizes(text: int | str) -> None:
    with pytest.raises(UsageError, match=r'disk ".*": write bytes'):
        Limits(disk=text)


@pytest.mark.parametrize("wrong", [{"pids": 0}, {"files": 0}, {"cpus": 0}, {"wall": -1.0}, {"memory": "much"},
                                   {"pids": True}, {"pids": "5"}, {"cpus": float("nan")}, {"cpus": float("inf")},
                                   {"wall": float("nan")}, {"memory": True}, {"memory": 1.5}, {"disk": 0},
                                   {"disk": "255k"}, {"pids": None}, {"files": True},
                                   {"memory": 0}, {"memory": "1023k"}, {"cpus": 0.001}])
def test_values_without_a_meaning(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Limits(**wrong)


def test_resources() -> None:
    assert Limits(memory="1m", swap="1k", cpus=0.5, pids=3).resources(swap=True) == {
        "memory": {"limit": 1 << 20, "swap": (1 << 20) + 1024}, "cpu": {"quota": 50_000, "period": 100_000},
        "pids": {"limit": 3}}
    assert Limits(memory="1m").resources(swap=False)["memory"] == {"limit": 1 << 20}
    assert Limits(memory=None, pids=5).resources(swap=True) == {"pids": {"limit": 5}}
