"""Values of D-Bus properties as text, in GLib's GVariant format: ``uint64 5``, ``'inactive'``, ``[('a', 'rw')]``.

Spec:   https://docs.gtk.org/glib/gvariant-text.html
Absent: maybe types (``just``, ``nothing``): D-Bus has none. Handles: a document cannot contain a file descriptor.

The types are D-Bus signatures. A number without a type is ``i``, or ``d`` with a decimal point or an exponent, as in
GLib; if the first member of an array has a type, the other numbers have the same type.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

KEYWORDS = {"boolean": "b", "byte": "y", "int16": "n", "uint16": "q", "int32": "i", "uint32": "u", "int64": "x",
            "uint64": "t", "double": "d", "string": "s", "objectpath": "o", "signature": "g"}
RANGES = {"y": (0, 8), "n": (1, 16), "q": (0, 16), "i": (1, 32), "u": (0, 32), "x": (1, 64), "t": (0, 64)}
TEXTS = "sog"
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def parse(text: str) -> tuple[str, Any]:
    """The D-Bus signature and the value of ``text``. Raises ValueError with the problem and the position.

    Arrays are lists, tuples tuples, dictionaries dicts, variants pairs of signature and value.
    """
    reader = _GVariantReader(text)
    value = reader.value("")
    if reader.peek():
        raise reader.wrong("unexpected text after the value")
    return value


class _GVariantReader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0

    def wrong(self, what: str) -> ValueError:
        return ValueError(f"{what} (character {self.at + 1})")

    def peek(self) -> str:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.text[self.at:self.at + 1]

    def take(self, sign: str) -> None:
        if self.peek() != sign:
            raise self.wrong(f'expected "{sign}"')
        self.at += 1

    def word(self) -> str:
        start = self.at
        while self.at < len(self.text) and self.text[self.at] in _WORD:
            self.at += 1
        return self.text[start:self.at]

    def value(self, wanted: str) -> tuple[str, Any]:
        """One value; ``wanted`` is the signature that the enclosing value requires, or empty."""
        self.depth += 1
        if self.depth > 32:
            raise self.wrong("nested too deeply")
        sign = self.peek()
        bracketed: dict[str, Callable[[str], tuple[str, Any]]] = {
            "[": self._array, "(": self._tuple, "{": self._dictionary, "<": self._variant, "@": self._typed}
        if sign in bracketed:
            found = bracketed[sign](wanted)
        elif sign in ("'", '"') and sign:
            found = self._text_as(wanted or "s", self._quoted())
        elif self.text[self.at:self.at + 2] in ("b'", 'b"'):
            self.at += 1
            found = "ay", self._quoted().encode("latin-1") + b"\0"
        else:
            found = self._plain(wanted)
        if wanted and found[0] != wanted:
            raise self.wrong(f'expected the type "{wanted}", not "{found[0]}"')
        self.depth -= 1
        return found

    def _text_as(self, kind: str, text: str) -> tuple[str, str]:
        if kind not in TEXTS:
            raise self.wrong(f'expected the type "{kind}", not a string')
        if "\0" in text:
            raise self.wrong("a string cannot contain NUL")
        if any("\ud800" <= sign <= "\udfff" for sign in text):
            raise self.wrong("a string cannot contain a surrogate")
        if kind == "o" and not text.startswith("/"):
            raise self.wrong(f'"{text}" is not an object path')
        return kind, text

    def _quoted(self) -> str:
        quote = self.text[self.at]
        self.at += 1
        parts: list[str] = []
        while (sign := self.text[self.at:self.at + 1]) != quote:
            if not sign:
                raise self.wrong("the string has no end")
            self.at += 1
            parts.append(self._escape() if sign == "\\" else sign)
        self.at += 1
        return "".join(parts)

    def _escape(self) -> str:
        sign = self.text[self.at:self.at + 1]
        self.at += 1
        length = {"u": 4, "U": 8}.get(sign, 0)
        if not length:
            return _ESCAPES.get(sign, sign)
        digits = self.text[self.at:self.at + length]
        self.at += length
        try:
            return chr(int(digits, 16))
        except (ValueError, OverflowError):
            raise self.wrong(f'"\\{sign}{digits}" is not a character') from None

    def _plain(self, wanted: str) -> tuple[str, Any]:
        word = self.word()
        if word in ("true", "false"):
            return "b", word == "true"
        if word in KEYWORDS:
            self.peek()
            return self.value(KEYWORDS[word])
        if not word:
            raise self.wrong("a value is missing")
        return self._number(word, wanted)

    def _number(self, word: str, wanted: str) -> tuple[str, Any]:
        hexadecimal = word.lstrip("+-").lower().startswith("0x")
        fraction = (not hexadecimal and any(sign in word for sign in ".eE")) or word.lstrip("+-") in ("inf", "nan")
        kind = wanted or ("d" if fraction else "i")
        try:
            if kind == "d":
                return kind, float(word)
            number = int(word, 16 if hexadecimal else 8 if word.lstrip("+-").startswith("0") else 10)
        except ValueError:
            raise self.wrong(f'"{word}" is not a value; strings need quotes') from None
        if kind not in RANGES:
            raise self.wrong(f'expected the type "{kind}", not the number {word}')
        signed, bits = RANGES[kind]
        if not (-(1 << bits - 1) if signed else 0) <= number < 1 << bits - signed:
            raise self.wrong(f'{word} does not fit into the type "{kind}"')
        return kind, number

    def _typed(self, wanted: str) -> tuple[str, Any]:
        self.take("@")
        start = self.at
        while self.at < len(self.text) and not self.text[self.at].isspace():
            self.at += 1
        kind = self.text[start:self.at]
        if len(kind) > 255 or _complete(kind) != len(kind) or not kind:   # 255: D-Bus specification
            raise self.wrong(f'"{kind}" is not the signature of one value')
        return self.value(kind)

    def _array(self, wanted: str) -> tuple[str, Any]:
        self.take("[")
        if wanted and wanted[0] != "a":
            raise self.wrong(f'expected the type "{wanted}", not an array')
        kind, values = wanted[1:], []
        while self.peek() != "]":
            kind, value = self.value(kind)
            values.append(value)
            if self.peek() != "]":
                self.take(",")
        self.take("]")
        if not kind:
            raise self.wrong("an empty array needs a type: write @as []")
        return "a" + kind, bytes(values) if kind == "y" else values

    def _tuple(self, wanted: str) -> tuple[str, Any]:
        self.take("(")
        kinds = _members(wanted[1:-1]) if wanted[:1] == "(" else []
        found: list[tuple[str, Any]] = []
        while self.peek() != ")":
            found.append(self.value(kinds[len(found)] if len(found) < len(kinds) else ""))
            if self.peek() != ")":
                self.take(",")
        self.take(")")
        if not found:
            raise self.wrong("D-Bus has no empty tuple")
        return "(" + "".join(kind for kind, _ in found) + ")", tuple(value for _, value in found)

    def _dictionary(self, wanted: str) -> tuple[str, Any]:
        self.take("{")
        kinds = _members(wanted[2:-1]) if wanted[:2] == "a{" else ["", ""]
        values: dict[Any, Any] = {}
        while self.peek() != "}":
            kinds[0], key = self.value(kinds[0])
            if kinds[0] not in (*KEYWORDS.values(), *TEXTS):
                raise self.wrong("the key of a dictionary must be a number or a string")
            self.take(":")
            kinds[1], values[key] = self.value(kinds[1])
            if self.peek() != "}":
                self.take(",")
        self.take("}")
        if not all(kinds):
            raise self.wrong("an empty dictionary needs a type: write @a{sv} {}")
        return "a{" + "".join(kinds) + "}", values

    def _variant(self, wanted: str) -> tuple[str, Any]:
        self.take("<")
        inner = self.value("")
        self.take(">")
        return "v", inner


def _complete(signature: str) -> int:
    """The length of the first complete type of a D-Bus signature; 0 if there is none."""
    first = signature[:1]
    if first and first in "bynqiuxtdsogv":
        return 1
    if first == "a" and signature[1:2] != "{":
        length = _complete(signature[1:])
        return length + 1 if length else 0
    opening = {"(": ")", "a": "}"}.get(first)
    if not opening:
        return 0
    at = 2 if first == "a" else 1
    start = at
    while signature[at:at + 1] != opening:
        length = _complete(signature[at:])
        if not length:
            return 0
        at += length
    return at + 1 if at > start else 0


def _members(signature: str) -> list[str]:
    members = []
    while signature:
        length = _complete(signature) or len(signature)
        members.append(signature[:length])
        signature = signature[length:]
    return members


def quote(text: str) -> str:
    """``text`` as a GVariant string."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"
