"""Environments: lists of NAME=VALUE in which each name takes effect once (environ(7), config.md#posix-process)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def last_of_each(env: Iterable[str]) -> list[str]:
    """Keep only the last entry of each name, at the position of the first: getenv(3) would find the first."""
    entries: dict[str, str] = {}
    for entry in env:
        entries[entry.partition("=")[0]] = entry
    return list(entries.values())
