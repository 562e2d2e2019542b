"""Words of the language: splitting a text into words, and expanding $NAME, quotes and escapes.

$NAME ${NAME}                            the value; empty if the name is not set
${NAME:-word} ${NAME-word}               the value, else the word; with a colon, also for an empty value
${NAME:+word} ${NAME+word}               the word if there is a value, else nothing
${NAME:?word} ${NAME?word}               the value, else an error with the word
${NAME#pattern} ## % %%                  the value without a matching prefix or suffix
${NAME/pattern/word} //                  the value with the first match, or all, replaced

Patterns support * and ?. Names, quotes and escapes follow Docker's rules, which differ from a shell's: in double quotes
the escape character is special only before `"`, `$` and itself; single quotes keep everything.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SPACE = " \t\v\f\r\n"
_SPECIAL = frozenset("@*#?-$!0")
_DEPTH = 100   # of ${A:-${B:-...}}: more would overflow Python's stack


class WordError(Exception):
    """A word that cannot be expanded; ``offset`` is the position in it."""

    def __init__(self, what: str, offset: int, remedy: str = "") -> None:
        super().__init__(what)
        self.offset = offset
        self.remedy = remedy


def split_words(text: str, escape: str = "\\") -> list[tuple[int, str]]:
    """The words of ENV, LABEL and ARG, with their quotes and escapes, and their positions."""
    words: list[tuple[int, str]] = []
    index = 0
    while index < len(text):
        if text[index] in SPACE:
            index += 1
            continue
        start, word, quote = index, "", ""
        while index < len(text) and (quote or text[index] not in SPACE):
            letter = text[index]
            if letter == escape and quote != "'":
                if index + 1 == len(text):
                    index += 1
                    break
                word += letter
                index += 1
                letter = text[index]
            elif quote:
                quote = "" if letter == quote else quote
            elif letter in "'\"":
                quote = letter
            word += letter
            index += 1
        words.append((start, word))
    return words


def first_word(text: str) -> tuple[str, str]:
    """The first word, and the text after the following blanks. Blanks are SPACE alone: str.split has more."""
    text = text.lstrip(SPACE)
    end = next((index for index, letter in enumerate(text) if letter in SPACE), len(text))
    return text[:end], text[end:].lstrip(SPACE)


def split_fields(text: str) -> list[tuple[int, str]]:
    """The words of COPY, EXPOSE and others, separated by blanks, and their positions."""
    return [(match.start(), match[0]) for match in re.finditer(r"[^ \t\v\f\r\n]+", text)]


class Expansion:
    """Expands words with given values."""

    __slots__ = ("escape", "raw_quotes", "values")

    def __init__(self, values: Mapping[str, str], escape: str = "\\", *, raw_quotes: bool = False) -> None:
        """``raw_quotes``: quotes and escapes are kept (content of here-documents)."""
        self.values = values
        self.escape = escape
        self.raw_quotes = raw_quotes

    def word(self, text: str) -> str:
        """The expanded word, without its quotes. Raises WordError."""
        reader = _WordParser(self, text)
        return "".join(part for part, _ in reader.until(""))

    def words(self, text: str) -> list[str]:
        """Like ``word``, split at unquoted blanks: a variable may contain several words."""
        result: list[str] = []
        current: str | None = None
        for part, quoted in _WordParser(self, text).until(""):
            if quoted:
                current = (current or "") + part
                continue
            for letter in part:
                if letter in SPACE:
                    if current is not None:
                        result.append(current)
                    current = None
                else:
                    current = (current or "") + letter
        return result if current is None else [*result, current]


class _WordParser:
    """Parses one text from its beginning to its end."""

    def __init__(self, expansion: Expansion, text: str) -> None:
        self.expansion = expansion
        self.escape = expansion.escape
        self.text = text
        self.index = 0
        self.depth = 0

    def _peek(self) -> str:
        return self.text[self.index:self.index + 1]

    def until(self, stop: str, *, raw_escapes: bool = False) -> list[tuple[str, bool]]:
        """Pieces up to ``stop``, which is consumed, or to the end for ""; each with whether it was quoted."""
        found: list[tuple[str, bool]] = []
        begin = self.index
        while self.index < len(self.text):
            letter = self.text[self.index]
            if letter == stop:
                self.index += 1
                return found
            if letter == "$":
                found.append((self._dollar(), False))
            elif self.expansion.raw_quotes and not stop:
                if letter == self.escape and self.text[self.index + 1:self.index + 2] in ("$", self.escape):
                    self.index += 1
                found.append((self._peek(), False))
                self.index += 1
            elif letter == "'":
                found.append((self._single(), True))
            elif letter == '"':
                found.append((self._double(), True))
            elif letter == self.escape:
                self.index += 1
                if raw_escapes:
                    found.append((letter, True))
                found.append((self._peek(), True))
                self.index += 1
            else:
                found.append((letter, False))
                self.index += 1
        if stop:
            raise WordError(f'a "${{" has no "{stop}"', begin, f'write "{stop}" where it ends')
        return found

    def _single(self) -> str:
        end = self.text.find("'", self.index + 1)
        if end < 0:
            raise WordError("unclosed single quote", self.index, "write ' at the end of the text")
        text = self.text[self.index + 1:end]
        self.index = end + 1
        return text

    def _double(self) -> str:
        begin, found = self.index, ""
        self.index += 1
        while self.index < len(self.text):
            letter = self.text[self.index]
            if letter == '"':
                self.index += 1
                return found
            if letter == "$":
                found += self._dollar()
                continue
            if letter == self.escape:
                following = self.text[self.index + 1:self.index + 2]
                if not following:
                    break
                if following in ('"', "$", self.escape):
                    self.index += 1
                    letter = following
            found += letter
            self.index += 1
        raise WordError("unclosed double quote", begin, 'write " at the end of the text')

    def _name(self) -> str:
        start = self.index
        first = self._peek()
        if first in _SPECIAL and first and not first.isdigit():
            self.index += 1
        elif first.isdigit():
            while self._peek().isdigit():
                self.index += 1
        else:
            while (letter := self._peek()) and (letter == "_" or letter.isalnum()):
                self.index += 1
        return self.text[start:self.index]

    def _dollar(self) -> str:
        start = self.index
        self.index += 1
        if self._peek() != "{":
            name = self._name()
            return (self.expansion.values.get(name) or "") if name else "$"
        self.depth += 1
        if self.depth > _DEPTH:
            raise WordError(f'more than {_DEPTH} "${{" nested', start, "make it simpler")
        self.index += 1
        name = self._name()
        if not name:
            raise WordError('no name after "${"', start, "write the name of a variable")
        value = self._modified(name, start)
        self.depth -= 1
        return value

    def _modified(self, name: str, start: int) -> str:
        sign = self._peek()
        self.index += 1
        if sign == "}":
            return self.expansion.values.get(name) or ""
        colon = sign == ":"
        if colon:
            sign = self._peek()
            self.index += 1
        if sign in ("-", "+", "?") and sign:
            word = "".join(part for part, _ in self.until("}"))
            value = self.expansion.values.get(name)
            there = value is not None and not (colon and not value)
            if sign == "+":
                return word if there else ""
            if there:
                return value or ""
            if sign == "-":
                return word
            default = "it is not set" if value is None else "it is empty"
            raise WordError(f'"{name}": {word or default}', start, f"give it a value: --build-arg {name}=...")
        if sign in ("#", "%") and sign and not colon:
            return self._trimmed(name, sign)
        if sign == "/" and not colon:
            return self._replaced(name)
        if not sign:
            raise WordError('a "${" has no "}"', start, 'write "}" where it ends')
        raise WordError(f'"{":" if colon else ""}{sign}" cannot follow a name in "${{"', self.index - 1,
                        "write one of - + ? after it, with or without a colon, or # ## % %% / //")

    def _trimmed(self, name: str, sign: str) -> str:
        greedy = self._peek() == sign
        self.index += greedy
        pattern = "".join(part for part, _ in self.until("}", raw_escapes=True))
        value = self.expansion.values.get(name) or ""
        cuts = range(len(value) + 1)
        matches = re.compile(_regex(pattern, self.escape), re.S).fullmatch
        if sign == "#":
            for cut in (reversed(cuts) if greedy else cuts):
                if matches(value, 0, cut):
                    return value[cut:]
        else:
            for cut in (cuts if greedy else reversed(cuts)):
                if matches(value, cut):
                    return value[:cut]
        return value

    def _replaced(self, name: str) -> str:
        everywhere = self._peek() == "/"
        self.index += everywhere
        pattern = "".join(part for part, _ in self.until("/", raw_escapes=True))
        word = "".join(part for part, _ in self.until("}", raw_escapes=True))   # escapes are kept, for example for sed
        value = self.expansion.values.get(name) or ""
        if not pattern:
            return value
        return re.sub(_regex(pattern, self.escape), lambda _match: word, value, count=0 if everywhere else 1,
                      flags=re.S)


def _regex(pattern: str, escape: str) -> str:
    """A pattern of * and ? as a greedy regular expression.

    The text between two stars matches at its first occurrence, so that the time stays linear.
    """
    pieces, index = [""], 0
    while index < len(pattern):
        letter = pattern[index]
        if letter == escape and index + 1 < len(pattern):
            index += 1
            pieces[-1] += re.escape(pattern[index])
        elif letter != "*":
            pieces[-1] += "." if letter == "?" else re.escape(letter)
        elif len(pieces) == 1 or pieces[-1]:   # repeated * have no further meaning
            pieces.append("")
        index += 1
    middle = "".join(f"(?>.*?{piece})" for piece in pieces[1:-1])
    return pieces[0] + (f"{middle}.*{pieces[-1]}" if len(pieces) > 1 else "")
