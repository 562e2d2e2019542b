"""A Dockerfile's text, positions in it, and problems.

A problem is shown with its position:

    Dockerfile:7:12: unknown flag "--fro"
      COPY --fro=a b c
           ^
      write "--from"
"""

from __future__ import annotations

from pyruntime.errors import DockerfileError

_SHOWN = 160   # characters of a line that are shown


class Position:
    """A position in a file: ``line`` and ``column`` count from 1; ``last`` is the last line of the instruction."""

    __slots__ = ("column", "last", "line")

    def __init__(self, line: int, column: int = 1, last: int = 0) -> None:
        self.line = line
        self.column = column
        self.last = last or line

    def __repr__(self) -> str:
        return f"Place({self.line}, {self.column}, {self.last})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Position) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


class Complaint:
    """A problem, or a warning, at a position."""

    __slots__ = ("place", "remedy", "what")

    def __init__(self, place: Position, what: str, remedy: str = "") -> None:
        self.place = place
        self.what = what
        self.remedy = remedy

    def __repr__(self) -> str:
        return f"Complaint({self.place!r}, {self.what!r}, {self.remedy!r})"


class DockerfileSource:
    """A file's name and lines, and its problems and warnings."""

    __slots__ = ("lines", "name", "problems", "warnings")

    def __init__(self, name: str, text: str) -> None:
        """``text`` as read: a byte order mark and all line ends are handled here."""
        self.name = name
        # Not splitlines(): form feeds and similar characters do not end a line of a Dockerfile.
        self.lines = [line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n")]
        if self.lines and not self.lines[-1]:
            self.lines.pop()
        self.problems: list[Complaint] = []
        self.warnings: list[Complaint] = []

    def wrong(self, place: Position, what: str, remedy: str = "") -> None:
        """Add a problem; ``done`` raises them together."""
        self.problems.append(Complaint(place, what, remedy))

    def warn(self, place: Position, what: str, remedy: str = "") -> None:
        """Add a warning."""
        self.warnings.append(Complaint(place, what, remedy))

    def show(self, complaint: Complaint) -> str:
        """The complaint with its position, the line, and a caret below it."""
        place = complaint.place
        text = f"{self.name}:{place.line}:{place.column}: {complaint.what}"
        if 0 < place.line <= len(self.lines):
            line = self.lines[place.line - 1].replace("\t", " ")
            start = max(0, place.column - _SHOWN // 2)
            text += f"\n  {line[start:start + _SHOWN]}\n  {' ' * (place.column - 1 - start)}^"
        return text + (f"\n  {complaint.remedy}" if complaint.remedy else "")

    def error(self) -> DockerfileError:
        """All problems, in the file's order."""
        ordered = sorted(self.problems, key=lambda problem: (problem.place.line, problem.place.column))
        return DockerfileError("\n".join(map(self.show, ordered)), f"{self.name}:{ordered[0].place.line}")

    def done(self) -> None:
        """Raise DockerfileError with every problem, if there are any."""
        if self.problems:
            raise self.error()
