"""Environments: lists of NAME=VALUE of which a program sees one of each name (environ(7), config.md#posix-process)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def last_of_each(env: Iterable[str]) -> list[str]:
    """One entry of each name, the last one, where the first stood: getenv(3) would find the first."""
    entries: dict[str, str] = {}
    for entry in env:
        entries[entry.partition("=")[0]] = entry
    return list(entries.values())
