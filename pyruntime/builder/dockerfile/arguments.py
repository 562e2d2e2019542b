"""ARG: the names and values of build arguments.

global    before the first FROM; visible in FROM lines, and in a stage that declares the name without a default
a stage   from its ARG on, and in stages based on it
given     --build-arg; valid where the name is declared, and for the proxy names, which RUN always has
automatic TARGETPLATFORM and others: visible in FROM lines, and in stages that declare them

ENV takes precedence over any ARG of the same name.
"""

from __future__ import annotations

from pyruntime.builder.dockerfile.words import Expansion, WordError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyruntime.builder.dockerfile.instructions import ArgInstruction, Dockerfile, Word
    from pyruntime.builder.dockerfile.source import DockerfileSource
    from pyruntime.images.platform import Platform

# Valid without a declaration, and in neither the cache key nor the history.
PROXIES = frozenset(name for pair in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
                    for name in (pair, pair.lower()))
_SETTINGS = ("BUILDKIT_", "SOURCE_DATE_EPOCH")   # settings of the build, which need no declaration either


def automatic(build: Platform, target: Platform, stage: str) -> dict[str, str]:
    """The arguments of every build."""
    values: dict[str, str] = {}
    for prefix, platform in (("BUILD", build), ("TARGET", target)):
        values |= {f"{prefix}PLATFORM": str(platform), f"{prefix}OS": platform.os,
                   f"{prefix}ARCH": platform.architecture, f"{prefix}VARIANT": platform.variant}
    return {**values, "TARGETSTAGE": stage or "default"}


class Globals:
    """The arguments before the first FROM, and the given ones."""

    __slots__ = ("_source", "automatic", "declared", "escape", "given", "known")

    def __init__(self, source: DockerfileSource, dockerfile: Dockerfile, given: Mapping[str, str],
                 automatic: Mapping[str, str]) -> None:
        self._source = source
        self.escape = dockerfile.escape
        self.given = given
        self.automatic = automatic
        self.declared: dict[str, str] = {}
        self.known: set[str] = set()   # all declared names
        for arg in dockerfile.arguments:
            for name, default in arg.pairs:
                self.known.add(name.text)
                value = given.get(name.text)
                if value is None and default is not None:
                    value = self.expand(default, {**automatic, **self.declared})
                if value is None:
                    value = automatic.get(name.text)
                if value is not None:
                    self.declared[name.text] = value

    def expand(self, word: Word, values: Mapping[str, str]) -> str:
        """The expanded word; an error becomes a problem, and the word is kept."""
        try:
            return Expansion(values, self.escape).word(word.text)
        except WordError as error:
            self._source.wrong(word.line.at(word.offset + error.offset), str(error), error.remedy)
            return word.text

    def values(self) -> dict[str, str]:
        """The values in FROM lines."""
        return {**self.automatic, **self.declared}

    def unused(self) -> list[str]:
        """Given names that nothing declares; to be called after all stages."""
        return sorted(name for name in self.given
                      if name not in self.known and name not in PROXIES and not name.startswith(_SETTINGS))


class Scope:
    """The arguments of a stage, up to the current instruction."""

    __slots__ = ("_globals", "declared")

    def __init__(self, above: Globals, declared: dict[str, str | None] | None = None) -> None:
        self._globals = above
        self.declared: dict[str, str | None] = dict(declared or {})

    def copy(self) -> Scope:
        """The initial scope of a stage based on this one."""
        return Scope(self._globals, self.declared)

    def declare(self, arg: ArgInstruction, env: Mapping[str, str]) -> None:
        """Process an ARG; ``env`` are the variables of ENV at this point."""
        above = self._globals
        for name, default in arg.pairs:
            above.known.add(name.text)
            value = above.given.get(name.text)
            if value is None and default is not None:
                value = above.expand(default, {**self.values(), **env})
            if value is None and default is None:
                value = above.declared.get(name.text, above.automatic.get(name.text))
                if value is None:   # a repeated declaration keeps the value
                    value = self.declared.get(name.text)
            self.declared[name.text] = value

    def values(self) -> dict[str, str]:
        """The declared names that have a value."""
        return {name: value for name, value in self.declared.items() if value is not None}

    def proxies(self) -> dict[str, str]:
        """Given proxy names that are not declared: RUN has them, the cache key does not."""
        return {name: value for name, value in self._globals.given.items()
                if name in PROXIES and name not in self.declared}
