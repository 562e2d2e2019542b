"""Names and identifiers of containers, networks and volumes."""

from __future__ import annotations

import os

from pyruntime.errors import UsageError

_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")


def check_name(name: str) -> str:
    """The name itself. Raises UsageError if no container, network or volume can have the name."""
    if len(name) < 2 or not _LETTERS.issuperset(name) or name[0] in "_.-":
        raise UsageError(f'"{name}" cannot be a name: two or more letters, digits, "_", "." and "-", and a letter or'
                         " digit first")
    return name


def new_id() -> str:
    """64 random hexadecimal digits, whose first twelve, the short form, are not all decimal.

    A container's short identifier is its host name, and resolvers take a name of decimal digits for an IPv4 address
    (inet_aton(3)).
    """
    while (identifier := os.urandom(32).hex())[:12].isdecimal():
        pass
    return identifier
