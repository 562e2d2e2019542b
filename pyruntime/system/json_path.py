"""Paths of a document's members, as messages have them: ``mounts[3].options``, ``annotations["org.example"]``."""

from __future__ import annotations

try:
    from _json import encode_basestring_ascii as quote
except ImportError:   # an interpreter without the accelerator
    from pyruntime.system.json_quote import quote

__all__ = ["member", "plain", "quote"]


def plain(name: str) -> bool:
    """Whether ``name`` reads well after a dot in a path: letters, digits and underscores, no digit first."""
    return name.isidentifier() and name.isascii()


def member(where: str, name: str) -> str:
    """The path of the member ``name`` of the object at ``where``: ``a.name``, or ``a["net.ipv4.x"]``."""
    if plain(name):
        return f"{where}.{name}" if where else name
    return f"{where}[{quote(name)}]"
