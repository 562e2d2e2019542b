"""The flags of an instruction: leading words that begin with two dashes; quotes and escapes by Docker's rules."""

from __future__ import annotations

from pyruntime.builder.dockerfile.names import FLAGS, nearest
from pyruntime.builder.dockerfile.words import SPACE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.builder.dockerfile.lines import Line
    from pyruntime.builder.dockerfile.source import DockerfileSource

TRUE, FALSE = frozenset(("", "true", "1", "t", "T", "TRUE", "True")), frozenset(("false", "0", "f", "F", "FALSE",
                                                                                  "False"))


class Flags:
    """Values by name; ``offsets`` are the words' positions in the line, ``end`` the end of the flags."""

    __slots__ = ("end", "offsets", "values")

    def __init__(self) -> None:
        self.values: dict[str, list[str]] = {}
        self.offsets: dict[str, list[int]] = {}
        self.end = 0

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def one(self, name: str) -> str:
        """The value, "" without the flag."""
        return self.values.get(name, [""])[-1]

    def every(self, name: str) -> list[str]:
        """The values of a flag that may be repeated."""
        return self.values.get(name, [])

    def yes(self, name: str) -> bool:
        """Whether a boolean flag is true."""
        return name in self.values and self.one(name) not in FALSE


def read_flags(source: DockerfileSource, line: Line) -> Flags:
    """The flags of a line; problems go to ``source``."""
    flags = Flags()
    known = FLAGS.get(line.keyword, {})
    text, index = line.rest, 0
    while True:
        while index < len(text) and text[index] in SPACE:
            index += 1
        if not text.startswith("--", index):
            flags.end = index
            return flags
        start = index
        word, index = _word(text, index)
        if word == "--":
            while index < len(text) and text[index] in SPACE:
                index += 1
            flags.end = index
            return flags
        _take(source, line, flags, known, word, start)


def _word(text: str, index: int) -> tuple[str, int]:
    word, quote = "", ""
    while index < len(text):
        letter = text[index]
        if letter == "\\" and index + 1 < len(text):
            index += 1
            word += text[index]
        elif quote:
            if letter == quote:
                quote = ""
            else:
                word += letter
        elif letter in "'\"":
            quote = letter
        elif letter in SPACE:
            break
        else:
            word += letter
        index += 1
    return word, index


def _take(source: DockerfileSource, line: Line, flags: Flags, known: dict[str, str], word: str, start: int) -> None:
    name, equals, value = word[2:].partition("=")
    place = line.at(start)
    kind = known.get(name)
    if kind is None:
        close = nearest(name, known)
        remedy = f'write "--{close}"' if close else (
            f"{line.keyword} has {', '.join(f'--{flag}' for flag in known)}" if known else
            f"{line.keyword} has no flags")
        source.wrong(place, f'unknown flag "--{name}"', remedy)
        return
    if kind != "list" and name in flags.values:
        source.wrong(place, f'the flag "--{name}" is repeated', "remove one of them")
    elif kind == "bool" and value not in TRUE | FALSE:
        source.wrong(place, f'"--{name}" must be true or false, not "{value}"', f'write "--{name}" or "--{name}=false"')
    elif kind != "bool" and not equals:
        source.wrong(place, f'the flag "--{name}" has no value', f'write "--{name}=" and the value')
    flags.values.setdefault(name, []).append(value)
    flags.offsets.setdefault(name, []).append(start)
