"""Splits a text into instructions as written: directives, comments, continuation lines, here-documents.

By Docker's rules: directives (`# escape=`, `# syntax=`, `# check=`) are valid only in the first lines; a line that ends
with a single escape character continues on the next; comment lines within are dropped, empty ones too, with a warning;
after `<<NAME` in RUN, COPY and ADD, lines are content up to the line NAME.
"""

from __future__ import annotations

from bisect import bisect_right

from pyruntime.builder.dockerfile.names import WITH_HEREDOCS
from pyruntime.builder.dockerfile.source import Position
from pyruntime.builder.dockerfile.words import SPACE, first_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.builder.dockerfile.source import DockerfileSource

DIRECTIVES = ("check", "escape", "syntax")
_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")


class Heredoc:
    """A here-document: ``expand`` if its name is not quoted, ``chomp`` for <<-; ``start`` and ``end`` are the position
    of its word; ``apart``: blanks precede its name."""

    __slots__ = ("apart", "chomp", "content", "end", "expand", "name", "place", "start")

    def __init__(self, name: str, *, expand: bool, chomp: bool, start: int, end: int, apart: bool = False) -> None:
        self.apart = apart
        self.name = name
        self.expand = expand
        self.chomp = chomp
        self.start = start
        self.end = end
        self.content = ""
        self.place = Position(1)

    def ends(self, line: str) -> bool:
        """Whether this line of the file is its last."""
        return (line.lstrip("\t") if self.chomp else line) == self.name

    def text(self) -> str:
        """The content, without leading tabs for <<-."""
        if not self.chomp:
            return self.content
        return "".join(line.lstrip("\t") for line in self.content.splitlines(keepends=True))

    def __repr__(self) -> str:
        return f"Heredoc({self.name!r}, {self.content!r})"


class Line:
    """One instruction as written: ``keyword`` in upper case, ``rest`` of all its lines joined, ``heredocs``.

    ``at(offset)`` is the position of a character of ``rest``. ``pinned``: the line is from an image's ONBUILD, and
    everything has the position ``place``.
    """

    __slots__ = ("_pieces", "heredocs", "keyword", "last", "pinned", "place", "rest", "written")

    def __init__(self, keyword: str, written: str, rest: str, place: Position, pieces: list[tuple[int, int, int]]
                 ) -> None:
        self.keyword = keyword
        self.written = written
        self.rest = rest
        self.place = place
        self.last = place.last
        self.heredocs: list[Heredoc] = []
        self.pinned = False
        self._pieces = pieces   # offset in ``rest`` (the first may be negative), line, column

    def at(self, offset: int) -> Position:
        """The position in the file of the character at ``offset`` of ``rest``."""
        if self.pinned:
            return self.place
        index = max(0, bisect_right(self._pieces, (offset, 1 << 60, 0)) - 1)
        start, line, column = self._pieces[index]
        return Position(line, column + offset - start, self.last)

    def below(self, keyword: str, start: int) -> Line:
        """The text after ``start`` as an instruction (ONBUILD)."""
        pieces = [(offset - start, line, column) for offset, line, column in self._pieces]
        made = Line(keyword.upper(), keyword, self.rest[start:], self.at(start), pieces)
        made.last = self.last
        made.heredocs = self.heredocs
        for heredoc in made.heredocs:   # their positions are in this line from now on
            heredoc.start -= start
            heredoc.end -= start
        return made


class Lines:
    """A whole text: its directives and its instructions."""

    __slots__ = ("directives", "escape", "lines")

    def __init__(self, source: DockerfileSource) -> None:
        self.directives: dict[str, str] = {}
        self.escape = "\\"
        self.lines: list[Line] = []
        index = self._directives(source)
        while index < len(source.lines):
            index = self._instruction(source, index)

    def _directives(self, source: DockerfileSource) -> int:
        for index, text in enumerate(source.lines):
            name, equals, value = text.strip(SPACE).removeprefix("#").partition("=")
            name = name.strip(SPACE).lower()
            if not text.lstrip(SPACE).startswith("#") or not equals or name not in DIRECTIVES or not value.strip(SPACE):
                return index   # anything else, even a comment, ends the directives
            value = value.strip(SPACE)
            column = len(text) - len(text.lstrip(SPACE)) + 1
            if name in self.directives:
                source.wrong(Position(index + 1, column), f'the directive "{name}" is repeated', "remove one of them")
            self.directives[name] = value
            if name == "escape":
                if value not in ("\\", "`"):
                    source.wrong(Position(index + 1, text.index(value, text.index("=")) + 1),
                                 f'the escape character cannot be "{value}"', 'write "\\" or "`"')
                else:
                    self.escape = value
        return len(source.lines)

    def _goes_on(self, text: str) -> str | None:
        """The line without the escape character at its end; None if it does not continue."""
        stripped = text.rstrip(" \t")
        if stripped.endswith(self.escape) and not stripped.endswith(self.escape * 2):
            return stripped[:-1]
        return None

    def _instruction(self, source: DockerfileSource, index: int) -> int:
        """Read the instruction at a line, or skip the line; the index of the next line."""
        text = source.lines[index].lstrip(SPACE)
        indent = len(source.lines[index]) - len(text)
        if not text or text.startswith("#"):
            return index + 1
        start = index
        joined, pieces, empty = "", [], 0
        while True:
            pieces.append((len(joined), index + 1, indent + 1))
            more = self._goes_on(text)
            joined += text if more is None else more
            index += 1
            if more is None:
                break
            while index < len(source.lines) and (not source.lines[index].strip(SPACE)
                                                 or source.lines[index].lstrip(SPACE).startswith("#")):
                if not source.lines[index].strip(SPACE):
                    empty = empty or index + 1
                index += 1
            if index == len(source.lines):
                break
            text, indent = source.lines[index], 0
        joined = joined.rstrip(SPACE)
        if not joined:
            return index
        line = self._split(joined, pieces, start + 1, index)
        if empty and empty <= index:
            source.warn(Position(empty), "empty line in an instruction", "remove it, or the continuation character"
                        " before it")
        self.lines.append(line)
        if line.keyword in WITH_HEREDOCS or line.keyword == "ONBUILD":
            index = self._heredocs(source, line, index)
        return index

    @staticmethod
    def _split(joined: str, pieces: list[tuple[int, int, int]], first: int, last: int) -> Line:
        keyword, rest = first_word(joined)
        start = len(joined) - len(rest)
        number, column = pieces[0][1], pieces[0][2]
        return Line(keyword.upper(), keyword, joined[start:], Position(number, column, last),
                    [(offset - start, line, column) for offset, line, column in pieces])

    def _heredocs(self, source: DockerfileSource, line: Line, index: int) -> int:
        if "<<" not in line.rest:
            return index
        if line.keyword == "ONBUILD" and first_word(line.rest)[0].upper() not in WITH_HEREDOCS:
            return index
        # "<< X" may be a shift in a shell's arithmetic: without an end it is not a here-document.
        line.heredocs = [one for one in find_heredocs(line.rest, self.escape)
                         if not one.apart or any(map(one.ends, source.lines[index:]))]
        for heredoc in line.heredocs:
            begin = index
            heredoc.place = Position(begin + 1)
            while index < len(source.lines):
                text = source.lines[index]
                index += 1
                if heredoc.ends(text):
                    break
                heredoc.content += text + "\n"
            else:
                source.wrong(line.at(heredoc.start), f'the here-document "{heredoc.name}" has no end',
                             f'write a line "{heredoc.name}" where it ends')
                break
        line.last = line.place.last = index
        return index


def find_heredocs(text: str, escape: str = "\\") -> list[Heredoc]:
    """The here-documents of an instruction's text: words like ``<<EOF``, ``<<-"EOF"``, ``3<<X``, ``<< EOF``; not in
    quotes (so the JSON form has none), and not ``<<<``."""
    found: list[Heredoc] = []
    index, quote = 0, ""
    while index < len(text):
        letter = text[index]
        if letter == escape and quote != "'":
            index += 2
        elif quote:
            quote = "" if letter == quote else quote
            index += 1
        elif letter in "'\"":
            quote = letter
            index += 1
        elif text.startswith("<<", index):
            heredoc = _heredoc(text, index, escape)
            if heredoc:
                found.append(heredoc)
                index = heredoc.end
            else:
                index += 3 if text.startswith("<<<", index) else 2
        else:
            index += 1
    return found


def _heredoc(text: str, index: int, escape: str) -> Heredoc | None:
    start = index
    while start and text[start - 1].isdigit():
        start -= 1
    if start and text[start - 1] not in SPACE:
        return None   # for example $((a<<b))
    index += 2
    chomp = text.startswith("-", index)
    index += chomp
    blanks = len(text) - index - len(text[index:].lstrip(" \t"))
    index += blanks
    name, end, quoted = _heredoc_name(text, index, escape)
    if not name or text[index] in "0123456789" or (end < len(text) and text[end] not in SPACE + ";&|)<>"):
        return None
    return Heredoc(name, expand=not quoted, chomp=chomp, start=start, end=end, apart=blanks > 0)


def _heredoc_name(text: str, index: int, escape: str) -> tuple[str, int, bool]:
    """A name, possibly quoted in parts (``eo"f"``, ``\\EOF``): without its quotes, its end, and whether anything was
    quoted; "" if there is none."""
    name, begin, quoted = "", index, False
    while index < len(text):
        letter = text[index]
        if letter in ("'", '"'):
            end = text.find(letter, index + 1)
            if end < 0:
                return "", index, True
            name, index, quoted = name + text[index + 1:end], end + 1, True
        elif letter == escape and index + 1 < len(text):
            name, index, quoted = name + text[index + 1], index + 2, True
        elif letter in _NAME or (index > begin and letter in ".-"):
            name, index = name + letter, index + 1
        else:
            break
    return name, index, quoted
