"""JSON in and out without the standard library's ``json`` package, whose ``re`` costs a command 8 ms.

``decode`` is stricter than RFC 8259 asks, because a container's configuration must mean the same to every reader:
keys are unique, text is UTF-8 without a byte order mark and without lone surrogates, numbers are finite, and values
nest at most ``DEPTH`` deep. A number that is written as a fraction or with an exponent but is whole (``1.0``, ``1e3``)
is an integer, as JSON Schema has it.
"""

from __future__ import annotations

from pyruntime.system.json_path import quote

try:
    from _json import make_scanner
except ImportError:  # an interpreter without the accelerator: the slow reader does the same work
    make_scanner = None  # type: ignore[assignment,misc]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["DEPTH", "decode", "encode", "quote", "whole"]

DEPTH = 128
_SPACE = " \t\n\r"


class _Refused(Exception):
    """The fast reader found a mistake; the slow reader finds out where and why."""


def whole(text: str) -> int | float:
    """The number that ``text`` (with a fraction or an exponent) stands for: an int when it is whole."""
    number = float(text)
    if number - number != 0:  # infinite: the text is beyond the range of a double
        raise _Refused
    return int(number) if number.is_integer() else number


def _constant(text: str) -> object:
    raise _Refused(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Refused
    return members


class _Context:
    """The settings of the accelerator."""

    strict = True
    object_hook = None
    object_pairs_hook = staticmethod(_unique)
    parse_float = staticmethod(whole)
    parse_int = int
    parse_constant = staticmethod(_constant)
    memo: dict[str, str] = {}  # noqa: RUF012  the pure-Python scanner's interface; the accelerator has its own


_scan: Callable[[str, int], tuple[Any, int]] | None = None
if make_scanner is not None:
    _scan = make_scanner(_Context())  # type: ignore[arg-type]  # the accelerator reads attributes, whatever the class


def decode(data: bytes, document: str) -> object:
    """The value that ``data`` holds. ``document`` is the file's name for messages.

    Raises ConfigError with one Problem that gives line, column (both from 1, in characters) and what was expected.
    """
    try:
        text = data.decode()
        if _scan is not None:
            start = len(text) - len(text.lstrip(_SPACE))
            value, end = _scan(text, start)
            if not text[end:].strip(_SPACE) and _plain(text, value):
                return value
    # SystemError: the accelerator forgets to raise where json.decoder, which has its exception, was never imported.
    except (_Refused, StopIteration, ValueError, RecursionError, SystemError):
        pass   # the slow reader below finds the place and the mistake
    from pyruntime.system.json_syntax import read  # lazy: only for a mistake, or without the accelerator

    return read(data, document)


def _plain(text: str, value: object) -> bool:
    """Whether nesting is within DEPTH and every text can be written as UTF-8."""
    if text.count("{") + text.count("[") > DEPTH and _too_deep(value):
        return False
    return "\\u" not in text or _no_lone_surrogate(value)


def _too_deep(value: object) -> bool:
    level: list[object] = [value]
    for _ in range(DEPTH):
        below: list[object] = []
        for item in level:
            if item.__class__ is dict:
                below += item.values()
            elif item.__class__ is list:
                below += item
        if not below:
            return False
        level = below
    return any(item.__class__ is dict or item.__class__ is list for item in level)


def _no_lone_surrogate(value: object) -> bool:
    stack: list[object] = [value]
    while stack:
        item = stack.pop()
        if item.__class__ is dict:
            stack += item.keys()
            stack += item.values()
        elif item.__class__ is list:
            stack += item
        elif item.__class__ is str and not item.isascii():
            try:
                item.encode()
            except UnicodeEncodeError:
                return False
    return True


class NullDict(dict[str, object]):
    """An empty object that is written as null: a Go map that is not set, as is common in Docker's documents."""


class NullList(list[object]):
    """The same for a list."""


def encode(value: object, indent: int | None = None) -> str:
    """``value`` as JSON in ASCII, without a newline at the end.

    ``indent`` is a number of spaces per level; without it there is no white space at all. Members keep their order.
    Raises TypeError for a value that JSON cannot hold, ValueError for NaN and infinities.
    """
    parts: list[str] = []
    _write(value, "" if indent is None else "\n", "" if indent is None else " " * indent, parts)
    return "".join(parts)


def _write(value: object, newline: str, step: str, parts: list[str]) -> None:
    if value is None:
        parts.append("null")
    elif value is True:
        parts.append("true")
    elif value is False:
        parts.append("false")
    elif isinstance(value, str):
        parts.append(quote(value))
    elif isinstance(value, int):
        parts.append(int.__repr__(value))
    elif isinstance(value, float):
        if value - value != 0:
            raise ValueError(f"{value!r} cannot be written as JSON")
        parts.append(float.__repr__(value))
    elif isinstance(value, dict):
        _write_object(value, newline, step, parts)
    elif isinstance(value, (list, tuple)):
        _write_array(value, newline, step, parts)
    else:
        raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _write_object(value: dict[Any, Any], newline: str, step: str, parts: list[str]) -> None:
    if not value:
        parts.append("null" if isinstance(value, NullDict) else "{}")
        return
    inner = newline + step
    colon = ": " if newline else ":"
    mark = "{"
    for name, item in value.items():
        if not isinstance(name, str):
            raise TypeError(f"a key of type {type(name).__name__} cannot be written as JSON")
        parts.append(mark + inner + quote(name) + colon)
        _write(item, inner, step, parts)
        mark = ","
    parts.append(newline + "}")


def _write_array(value: list[Any] | tuple[Any, ...], newline: str, step: str, parts: list[str]) -> None:
    if not value:
        parts.append("null" if isinstance(value, NullList) else "[]")
        return
    inner = newline + step
    mark = "["
    for item in value:
        parts.append(mark + inner)
        _write(item, inner, step, parts)
        mark = ","
    parts.append(newline + "]")
