"""The instructions of a Dockerfile, a class for each; values are as written, and expanded later.

Every instruction has its ``place``, and ``text``: the line as written, with continuation lines joined.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.builder.dockerfile.lines import Heredoc, Line
    from pyruntime.builder.dockerfile.source import Position


class Word:
    """A text to be expanded, and its position: ``line`` and the offset in it."""

    __slots__ = ("line", "offset", "text")

    def __init__(self, text: str, line: Line, offset: int) -> None:
        self.text = text
        self.line = line
        self.offset = offset

    @property
    def place(self) -> Position:
        """Its position."""
        return self.line.at(self.offset)

    def __repr__(self) -> str:
        return f"Word({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Word) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


class Instruction:
    """The base of all instructions."""

    __slots__ = ("line",)
    name = ""

    def __init__(self, line: Line) -> None:
        self.line = line

    @property
    def place(self) -> Position:
        """The first line and column, and the last line."""
        return self.line.place

    @property
    def text(self) -> str:
        """The instruction as it was written, its lines joined."""
        return f"{self.line.keyword} {self.line.rest}".rstrip()

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({fields})"


class FromInstruction(Instruction):
    """FROM [--platform=P] IMAGE [AS NAME]; ``stage_name`` in lower case."""

    __slots__ = ("image", "platform", "stage_name")
    name = "FROM"

    def __init__(self, line: Line, image: Word, stage_name: str, platform: Word | None) -> None:
        super().__init__(line)
        self.image = image
        self.stage_name = stage_name
        self.platform = platform


class ProgramInstruction(Instruction):
    """A program to run: ``args`` of the exec form, or one string for the shell."""

    __slots__ = ("args", "shell")

    def __init__(self, line: Line, args: list[str], *, shell: bool) -> None:
        super().__init__(line)
        self.args = args
        self.shell = shell


class CmdInstruction(ProgramInstruction):
    """CMD."""

    __slots__ = ()
    name = "CMD"


class EntrypointInstruction(ProgramInstruction):
    """ENTRYPOINT."""

    __slots__ = ()
    name = "ENTRYPOINT"


class RunInstruction(ProgramInstruction):
    """RUN; ``mounts`` are the values of --mount, ``heredocs`` belong to the text."""

    __slots__ = ("heredocs", "mounts", "network", "security")
    name = "RUN"

    def __init__(self, line: Line, args: list[str], *, shell: bool, mounts: list[Word], network: str, security: str,
                 heredocs: list[Heredoc]) -> None:
        super().__init__(line, args, shell=shell)
        self.mounts = mounts
        self.network = network
        self.security = security
        self.heredocs = heredocs


class CopyInstruction(Instruction):
    """COPY and ADD. ``sources`` and ``target`` as words; ``files`` are here-documents, whose names are file names.

    Missing flags are None or False; ``keep_git`` and ``unpack`` are ADD's, None without the flag.
    """

    __slots__ = ("add", "checksum", "chmod", "chown", "exclude", "files", "keep_git", "link", "parents", "sources",
                 "stage", "target", "unpack")

    def __init__(self, line: Line, *, add: bool, sources: list[Word], target: Word, files: list[Heredoc],
                 stage: Word | None, chown: Word | None, chmod: Word | None, checksum: Word | None,
                 exclude: list[Word], link: bool, parents: bool, keep_git: bool, unpack: bool | None) -> None:
        super().__init__(line)
        self.add = add
        self.sources = sources
        self.target = target
        self.files = files
        self.stage = stage
        self.chown = chown
        self.chmod = chmod
        self.checksum = checksum
        self.exclude = exclude
        self.link = link
        self.parents = parents
        self.keep_git = keep_git
        self.unpack = unpack

    @property
    def name(self) -> str:  # type: ignore[override]
        """ADD or COPY."""
        return "ADD" if self.add else "COPY"


class PairsInstruction(Instruction):
    """ENV, LABEL: names and values."""

    __slots__ = ("pairs",)

    def __init__(self, line: Line, pairs: list[tuple[Word, Word]]) -> None:
        super().__init__(line)
        self.pairs = pairs


class EnvInstruction(PairsInstruction):
    """ENV."""

    __slots__ = ()
    name = "ENV"


class LabelInstruction(PairsInstruction):
    """LABEL."""

    __slots__ = ()
    name = "LABEL"


class ArgInstruction(Instruction):
    """ARG: names, each with a default or None."""

    __slots__ = ("pairs",)
    name = "ARG"

    def __init__(self, line: Line, pairs: list[tuple[Word, Word | None]]) -> None:
        super().__init__(line)
        self.pairs = pairs


class SingleInstruction(Instruction):
    """An instruction with one word."""

    __slots__ = ("word",)

    def __init__(self, line: Line, word: Word) -> None:
        super().__init__(line)
        self.word = word


class WorkdirInstruction(SingleInstruction):
    """WORKDIR."""

    __slots__ = ()
    name = "WORKDIR"


class UserInstruction(SingleInstruction):
    """USER."""

    __slots__ = ()
    name = "USER"


class StopSignalInstruction(SingleInstruction):
    """STOPSIGNAL."""

    __slots__ = ()
    name = "STOPSIGNAL"


class MaintainerInstruction(SingleInstruction):
    """MAINTAINER."""

    __slots__ = ()
    name = "MAINTAINER"


class SeveralInstruction(Instruction):
    """An instruction with several words; ``json`` if written as a list."""

    __slots__ = ("json", "words")

    def __init__(self, line: Line, words: list[Word], *, json: bool) -> None:
        super().__init__(line)
        self.words = words
        self.json = json


class ExposeInstruction(SeveralInstruction):
    """EXPOSE."""

    __slots__ = ()
    name = "EXPOSE"


class VolumeInstruction(SeveralInstruction):
    """VOLUME."""

    __slots__ = ()
    name = "VOLUME"


class ShellInstruction(Instruction):
    """SHELL: the program that runs shell forms."""

    __slots__ = ("args",)
    name = "SHELL"

    def __init__(self, line: Line, args: list[str]) -> None:
        super().__init__(line)
        self.args = args


class HealthcheckInstruction(Instruction):
    """HEALTHCHECK: ``test`` as in configurations (["NONE"], ["CMD", ...], ["CMD-SHELL", text]); ``times`` in
    nanoseconds by the configuration's names, with Retries."""

    __slots__ = ("test", "times")
    name = "HEALTHCHECK"

    def __init__(self, line: Line, test: list[str], times: dict[str, int]) -> None:
        super().__init__(line)
        self.test = test
        self.times = times


class OnbuildInstruction(Instruction):
    """ONBUILD: an instruction for builds based on the image; ``trigger`` is its text."""

    __slots__ = ("trigger",)
    name = "ONBUILD"

    def __init__(self, line: Line, trigger: str) -> None:
        super().__init__(line)
        self.trigger = trigger


class Stage:
    """A stage: its FROM and the following instructions. ``index`` counts from 0."""

    __slots__ = ("index", "instructions", "start")

    def __init__(self, index: int, start: FromInstruction) -> None:
        self.index = index
        self.start = start
        self.instructions: list[Instruction] = []

    @property
    def name(self) -> str:
        """Its name, or its number."""
        return self.start.stage_name or str(self.index)


class Dockerfile:
    """A whole file: directives, the ARGs before the first FROM, the stages."""

    __slots__ = ("arguments", "directives", "escape", "stages")

    def __init__(self, directives: dict[str, str], escape: str) -> None:
        self.directives = directives
        self.escape = escape
        self.arguments: list[ArgInstruction] = []
        self.stages: list[Stage] = []

    def stage(self, name: str) -> Stage | None:
        """The stage of this name (ignoring case) or number; the last of equal names."""
        for stage in reversed(self.stages):
            if stage.start.stage_name == name.lower() and name:
                return stage
        if name.isascii() and name.isdigit() and int(name) < len(self.stages):
            return self.stages[int(name)]
        return None
