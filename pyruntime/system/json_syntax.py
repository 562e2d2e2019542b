"""The slow JSON reader: finds the exact place of a mistake, and replaces a missing accelerator.

It knows the path of the value it is in, which the fast reader does not, so a duplicate key or a missing comma is
reported as ``linux.seccomp: line 9, column 5: ...``. It accepts exactly what ``decode`` accepts.
"""

from __future__ import annotations

from pyruntime.errors import ConfigError, Problem
from pyruntime.system.json_path import member, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_SPACE = " \t\n\r"
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_WORDS = {"true": True, "false": False, "null": None}
_DEPTH = 128  # as json.DEPTH; json imports this module


def read(data: bytes, document: str) -> object:
    """The value that ``data`` holds; raises ConfigError with one Problem: the place of the mistake and the mistake."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        good = data[: error.start].decode()
        place = f"line {good.count(chr(10)) + 1}, column {len(good) - good.rfind(chr(10))}"
        what = f"{place}: byte 0x{data[error.start]:02x} is not UTF-8"
        raise ConfigError(document, [Problem("", what, "save the file as UTF-8", "RFC 8259 section 8.1")]) from None
    return _JsonReader(text, document).document()


class _JsonReader:
    """One pass over the text. ``at`` counts characters, ``path`` holds the names and indexes that lead to ``at``."""

    def __init__(self, text: str, name: str) -> None:
        self.text = text
        self.name = name
        self.at = 0
        self.path: list[str | int] = []

    def document(self) -> object:
        if self.text[:1] == "\ufeff":
            self.refuse("the document starts with a byte order mark", "save the file without a byte order mark")
        self.space()
        if self.at == len(self.text):
            self.refuse("expected an object, found the end of the file", "write a configuration, at least {}")
        value = self.value()
        self.space()
        if self.at < len(self.text):
            self.refuse(f"expected the end of the file, found {self.found()}", "remove what follows the document")
        return value

    def refuse(self, what: str, remedy: str = "", at: int | None = None) -> NoReturn:
        at = self.at if at is None else at
        before = self.text[:at]
        place = f"line {before.count(chr(10)) + 1}, column {at - before.rfind(chr(10))}"
        raise ConfigError(self.name, [Problem(_where(self.path), f"{place}: {what}", remedy, "RFC 8259")])

    def found(self) -> str:
        """The text at this place, for a message."""
        if self.at >= len(self.text):
            return "the end of the file"
        char = self.text[self.at]
        if char == '"':
            return "a string"
        end = self.at
        while end < len(self.text) and self.text[end] not in ' \t\n\r,:[]{}"' and end - self.at < 20:
            end += 1
        token = self.text[self.at : max(end, self.at + 1)]
        return quote(token) if len(token) > 1 or not token.isprintable() else ("'\"'" if token == '"' else f'"{token}"')

    def space(self) -> None:
        text, at = self.text, self.at
        while at < len(text) and text[at] in _SPACE:
            at += 1
        self.at = at
        if text[at : at + 2] in ("//", "/*") or text[at : at + 1] == "#":
            self.refuse("a comment is not allowed in JSON", "remove the comment")

    def value(self) -> object:
        char = self.text[self.at : self.at + 1]
        if char in ("{", "[") and len(self.path) >= _DEPTH:
            self.refuse(f"nested deeper than {_DEPTH} levels", "flatten the document")
        if char == "{":
            return self.members()
        if char == "[":
            return self.items()
        if char == '"':
            return self.string()
        if char and char in "-0123456789":
            return self.number()
        for word, meaning in _WORDS.items():
            if self.text.startswith(word, self.at):
                self.at += len(word)
                return meaning
        if char == "'":
            self.refuse("expected a value, found a single quote", 'write texts in double quotes: "text"')
        remedy = "write true, false, null, a number, a string in double quotes, an array or an object"
        self.refuse(f"expected a value, found {self.found()}", remedy)

    def members(self) -> dict[str, object]:
        found: dict[str, object] = {}
        starts: dict[str, int] = {}
        self.at += 1
        self.space()
        if self.text[self.at : self.at + 1] == "}":
            self.at += 1
            return found
        while True:
            if self.text[self.at : self.at + 1] != '"':
                ahead = self.text[self.at : self.at + 1]
                expected = 'a key in double quotes or "}"' if not found else "a key in double quotes"
                remedy = "remove the comma before it" if found and ahead == "}" else 'write keys as "name"'
                self.refuse(f"expected {expected}, found {self.found()}", remedy)
            start = self.at
            name = self.string()
            self.path.append(name)
            if name in found:
                line = self.text.count("\n", 0, starts[name]) + 1
                self.refuse(f"duplicate key {quote(name)}, first used on line {line}", "remove one of them", start)
            starts[name] = start
            self.space()
            if self.text[self.at : self.at + 1] != ":":
                self.refuse(f'expected ":", found {self.found()}', f"write {quote(name)}: value")
            self.at += 1
            self.space()
            found[name] = self.value()
            self.path.pop()
            self.space()
            if not self.more("}"):
                return found

    def items(self) -> list[object]:
        items: list[object] = []
        self.at += 1
        self.space()
        if self.text[self.at : self.at + 1] == "]":
            self.at += 1
            return items
        while True:
            self.path.append(len(items))
            if items and self.text[self.at : self.at + 1] == "]":
                self.refuse('expected a value, found "]"', "remove the comma before it")
            items.append(self.value())
            self.path.pop()
            self.space()
            if not self.more("]"):
                return items

    def more(self, close: str) -> bool:
        """After an item: True past a comma, False past the closing mark."""
        char = self.text[self.at : self.at + 1]
        if char not in (",", close) or not char:
            remedy = f'close it with "{close}"' if not char else "put a comma between the two, or close the first"
            self.refuse(f'expected "," or "{close}", found {self.found()}', remedy)
        self.at += 1
        if char == ",":
            self.space()
        return char == ","

    def string(self) -> str:
        start = self.at
        out: list[str] = []
        self.at += 1
        text = self.text
        while True:
            char = text[self.at : self.at + 1]
            if not char:
                self.refuse("unterminated string", "close it with a double quote", start)
            if char == '"':
                self.at += 1
                return "".join(out)
            if char < " ":
                name = {"\n": "a line break", "\t": "a tab"}.get(char, f"control character 0x{ord(char):02x}")
                remedy = {"\n": "write \\n, or close the string", "\t": "write \\t"}.get(char, "remove it")
                self.refuse(f"{name} is not allowed in a string", remedy)
            if char == "\\":
                out.append(self.escape())
            else:
                out.append(char)
                self.at += 1

    def escape(self) -> str:
        kind = self.text[self.at + 1 : self.at + 2]
        if kind in _ESCAPES:
            self.at += 2
            return _ESCAPES[kind]
        if kind != "u":
            self.refuse(f"\\{kind} is not an escape", "write \\\\ for a backslash")
        start = self.at
        high = self.hex4()
        if 0xD800 <= high < 0xDC00 and self.text[self.at : self.at + 2] == "\\u":
            low = self.hex4()
            if 0xDC00 <= low < 0xE000:
                return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
            high = 0xD800
        if 0xD800 <= high < 0xE000:
            remedy = "write the character itself, or both halves of the pair"
            self.refuse(f"{self.text[start : start + 6]} is half of a surrogate pair", remedy, start)
        return chr(high)

    def hex4(self) -> int:
        digits = self.text[self.at + 2 : self.at + 6]
        if len(digits) != 4 or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
            self.refuse("\\u needs four hexadecimal digits", "write for example \\u00e9")
        self.at += 6
        return int(digits, 16)

    def number(self) -> int | float:
        start = self.at
        text = self.text
        end = start
        while end < len(text) and text[end] in "+-0123456789.eEabcdfxABCDFX_":
            end += 1
        token = text[start:end]
        kind = _number_kind(token)
        if kind == "bad":
            zero = token.startswith(("0", "-0"))
            self.refuse(f"{quote(token)} is not a number", "write it in decimal" if zero else "write 10, -1 or 0.5")
        self.at = end
        try:
            if kind == "int":
                return int(token)
            value = float(token)
        except ValueError:  # more digits than the interpreter converts
            value = float("inf")
        if value - value != 0:
            shown = token if len(token) <= 40 else token[:40] + "..."
            self.refuse(f"the number {shown} is out of range", "write a smaller number", start)
        return int(value) if value.is_integer() else value


def _number_kind(token: str) -> str:
    """ "int", "float" or "bad", by the grammar of RFC 8259 section 6."""
    body = token[1:] if token[:1] == "-" else token
    mantissa, mark, exponent = body.replace("E", "e", 1).partition("e")
    digits, dot, fraction = mantissa.partition(".")
    if exponent[:1] in ("+", "-"):
        exponent = exponent[1:]
    ascii_digits = set("0123456789")
    if not digits or not set(digits) <= ascii_digits or (digits[0] == "0" and len(digits) > 1):
        return "bad"
    if (dot and not fraction) or not set(fraction) <= ascii_digits:
        return "bad"
    if (mark and not exponent) or not set(exponent) <= ascii_digits:
        return "bad"
    return "float" if dot or mark else "int"


def _where(path: list[str | int]) -> str:
    where = ""
    for part in path:
        where = f"{where}[{part}]" if isinstance(part, int) else member(where, part)
    return where
