"""The names that volumes can have."""

from __future__ import annotations

_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")


def problem(name: str) -> str:
    """Why a volume cannot have this name; "" for a valid name."""
    if len(name) >= 2 and _NAME.issuperset(name) and name[0] not in "_.-":
        return ""
    hint = "; a directory of the host starts with / or ./" if "/" in name else ""
    return (f'"{name}" is not a valid name of a volume: write two or more letters, digits, "_", "." and "-", and begin'
            f" with a letter or digit{hint}")
