"""What .dockerignore keeps out of a build's context, exactly as Docker has it.

The last pattern that matches decides; ``!`` takes files back in. A pattern that matches a directory matches all in it,
yet a later ``!`` can take something below back in: therefore a directory is passed over unread only where no such
pattern can mean anything in it.
"""

from __future__ import annotations

import posixpath

from pyruntime.builder.patterns import PatternError, has_magic, whole
from pyruntime.errors import BuildError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re


class Ignore:
    """The patterns of one file. ``excluded(path)`` is asked for paths relative to the context, parents first."""

    __slots__ = ("_known", "_patterns", "_returning")

    def __init__(self, text: str = "", name: str = ".dockerignore") -> None:
        """Raises BuildError for a pattern that is none."""
        self._patterns: list[tuple[re.Pattern[str], bool]] = []   # expression, whether it takes back in
        self._returning: list[str] = []
        self._known: dict[str, list[bool]] = {"": []}   # which patterns match a directory
        for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
            # A comment begins in the first column: " #a" is a pattern.
            pattern = "" if line.startswith("#") else line.strip()
            if not pattern:
                continue
            back = pattern.startswith("!")
            cleaned = clean(pattern.removeprefix("!").strip() if back else pattern)
            if back and not cleaned:
                raise BuildError(f'{name}:{number}: "!" stands alone: write a pattern behind it', f"{name}:{number}")
            if not cleaned:
                continue
            self.add(cleaned, back=back, where=f"{name}:{number}")

    def add(self, pattern: str, *, back: bool = False, where: str = "") -> None:
        """One more pattern. Raises BuildError."""
        try:
            self._patterns.append((whole(pattern), back))
        except PatternError as error:
            raise BuildError(f'{where}: "{pattern}" is no pattern: {error}', where) from None
        if back:
            self._returning.append(pattern)

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def _matches(self, path: str) -> list[bool]:
        """For each pattern whether it matches the path, or a directory above it."""
        known = self._known.get(path)
        if known is None:
            above = self._matches(path.rpartition("/")[0])
            known = [(bool(above) and above[index]) or expression.fullmatch(path) is not None
                     for index, (expression, _) in enumerate(self._patterns)]
            if len(self._known) > 65536:
                self._known = {"": []}
            self._known[path] = known
        return known

    def excluded(self, path: str) -> bool:
        """Whether the path is kept out; of a directory: itself, not all that is in it (see ``skips``)."""
        if not self._patterns or not path:
            return False
        out = False
        for matches, (_, back) in zip(self._matches(path), self._patterns, strict=True):
            if matches:
                out = not back
        return out

    def skips(self, path: str) -> bool:
        """Whether nothing at all of a directory is in the context."""
        if not self.excluded(path):
            return False
        return not any(_may_reach(pattern, path) for pattern in self._returning)


def clean(pattern: str) -> str:
    """The pattern as Go's filepath.Clean leaves it, without a slash before it; "" for one that means nothing."""
    if not pattern:
        return ""
    cleaned = posixpath.normpath(pattern).lstrip("/")
    return "" if cleaned == "." else cleaned


def _may_reach(pattern: str, path: str) -> bool:
    """Whether the pattern can match something below the directory; in doubt it can."""
    ours, theirs = path.split("/"), pattern.split("/")
    for mine, part in zip(ours, theirs, strict=False):
        if "**" in part:
            return True
        if not has_magic(part):
            if part != mine:
                return False
        else:
            try:
                if whole(part).fullmatch(mine) is None:
                    return False
            except PatternError:
                return True
    return True
