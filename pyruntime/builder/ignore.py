""".dockerignore: the files that are excluded from a build context, by Docker's rules.

The last matching pattern decides; ``!`` includes files again. A pattern that matches a directory matches everything in
it, but a later ``!`` can include something below: a directory is skipped unread only if no such pattern can match.
"""

from __future__ import annotations

import posixpath

from pyruntime.builder.patterns import PatternError, has_magic, whole
from pyruntime.errors import BuildError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re


class Ignore:
    """The patterns of one file. ``excluded(path)`` takes paths relative to the context, parents first."""

    __slots__ = ("_known", "_patterns", "_returning")

    def __init__(self, text: str = "", name: str = ".dockerignore") -> None:
        """Raises BuildError for an invalid pattern."""
        self._patterns: list[tuple[re.Pattern[str], bool]] = []   # expression, whether it includes again
        self._returning: list[str] = []
        self._known: dict[str, list[bool]] = {"": []}   # the patterns that match a directory
        for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
            # A comment begins in the first column: " #a" is a pattern.
            pattern = "" if line.startswith("#") else line.strip()
            if not pattern:
                continue
            back = pattern.startswith("!")
            cleaned = clean(pattern.removeprefix("!").strip() if back else pattern)
            if back and not cleaned:
                raise BuildError(f'{name}:{number}: "!" without a pattern: write one after it', f"{name}:{number}")
            if not cleaned:
                continue
            self.add(cleaned, back=back, where=f"{name}:{number}")

    def add(self, pattern: str, *, back: bool = False, where: str = "") -> None:
        """Add a pattern. Raises BuildError."""
        try:
            self._patterns.append((whole(pattern), back))
        except PatternError as error:
            raise BuildError(f'{where}: "{pattern}" is not a valid pattern: {error}', where) from None
        if back:
            self._returning.append(pattern)

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def _matches(self, path: str) -> list[bool]:
        """For each pattern, whether it matches the path or a directory above it."""
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
        """Whether the path is excluded; a directory itself, not everything in it (see ``skips``)."""
        if not self._patterns or not path:
            return False
        out = False
        for matches, (_, back) in zip(self._matches(path), self._patterns, strict=True):
            if matches:
                out = not back
        return out

    def skips(self, path: str) -> bool:
        """Whether everything in a directory is excluded."""
        if not self.excluded(path):
            return False
        return not any(_may_reach(pattern, path) for pattern in self._returning)


def clean(pattern: str) -> str:
    """The pattern normalised by Go's filepath.Clean, without a leading slash; "" for an empty one."""
    if not pattern:
        return ""
    cleaned = posixpath.normpath(pattern).lstrip("/")
    return "" if cleaned == "." else cleaned


def _may_reach(pattern: str, path: str) -> bool:
    """Whether the pattern can match something below the directory; in doubt, True."""
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
