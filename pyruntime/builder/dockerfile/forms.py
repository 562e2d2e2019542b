"""The forms of arguments: a JSON list of strings, or something else."""

from __future__ import annotations

from pyruntime.errors import PyruntimeError
from pyruntime.system.json import decode


class NotTexts(Exception):
    """A JSON list with anything but strings."""


def json_texts(text: str) -> list[str] | None:
    """The strings of a JSON list; None if the text is not a list, and taken literally. Raises NotTexts."""
    text = text.strip()
    if not text.startswith("["):
        return None
    try:
        value = decode(text.encode("utf-8", "surrogateescape"), "list")
    except (PyruntimeError, ValueError):
        return None
    if not isinstance(value, list):
        return None
    if not all(isinstance(entry, str) for entry in value):
        raise NotTexts
    return [str(entry) for entry in value]
