"""Parses a Dockerfile into stages of typed instructions, with every problem that is visible without building.

Spec: Docker's Dockerfile reference. Deprecated forms are accepted with a warning.
"""

from __future__ import annotations

from pyruntime.builder.dockerfile import instructions as kinds
from pyruntime.builder.dockerfile.flags import Flags, read_flags
from pyruntime.builder.dockerfile.forms import NotTexts, json_texts
from pyruntime.builder.dockerfile.instructions import Dockerfile, Instruction, Stage, Word
from pyruntime.builder.dockerfile.lines import Lines
from pyruntime.builder.dockerfile.names import INSTRUCTIONS, nearest
from pyruntime.builder.dockerfile.source import DockerfileSource, Position
from pyruntime.builder.dockerfile.words import SPACE, first_word, split_fields, split_words
from pyruntime.system import durations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.builder.dockerfile.lines import Line
    from pyruntime.builder.dockerfile.source import Position

_TIMES = {"interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod",
          "start-interval": "StartInterval"}
_LEAST = 10**6   # nanoseconds: the minimum of HEALTHCHECK's times in Docker's daemon, a millisecond
_MOST = (1 << 63) - 1   # the maximum in an image's configuration
_STAGE_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.-")
_NO_TRIGGERS = {"ONBUILD": "ONBUILD cannot contain another ONBUILD", "FROM": "ONBUILD cannot contain FROM",
                "MAINTAINER": "ONBUILD cannot contain MAINTAINER"}
_RESERVED = frozenset(("context", "scratch"))


def parse(text: str, name: str = "Dockerfile", warn: Callable[[str], None] | None = None) -> Dockerfile:
    """Read a Dockerfile. Raises DockerfileError with every problem; ``warn`` is called for discouraged forms."""
    source = DockerfileSource(name, text)
    dockerfile = parse_source(source)
    if warn is not None:
        for complaint in source.warnings:
            warn(source.show(complaint))
    source.done()
    return dockerfile


def parse_source(source: DockerfileSource) -> Dockerfile:
    """Like ``parse``, with the problems and warnings left in ``source``."""
    lines = Lines(source)
    dockerfile = Dockerfile(lines.directives, lines.escape)
    for line in lines.lines:
        instruction = _Parser(source, lines.escape).read(line)
        if instruction is None:
            if line.keyword == "FROM":   # later instructions must not be reported as misplaced
                start = kinds.FromInstruction(line, Word("scratch", line, 0), "", None)
                dockerfile.stages.append(Stage(len(dockerfile.stages), start))
            continue
        _place(source, dockerfile, instruction)
    if not dockerfile.stages and not source.problems:
        source.wrong(Position(max(1, len(source.lines))), "there is no FROM", 'start with "FROM" and an image, or "FROM'
                     ' scratch"')
    for stage in dockerfile.stages:
        _look_over(source, stage)
    return dockerfile


def parse_trigger(text: str, escape: str, name: str, place: Position | None = None) -> Instruction:
    """The instruction of a base image's ONBUILD; ``place``: the position of the FROM. Raises DockerfileError."""
    source = DockerfileSource(name, text)
    lines = Lines(source)
    instruction = None
    if len(lines.lines) == 1:
        instruction = _Parser(source, escape).read(lines.lines[0])
    source.done()
    if instruction is None:
        source.wrong(Position(1), "this is not a single instruction")
        source.done()
    assert instruction is not None
    if place is not None:
        line = instruction.line
        line.place, line.last, line.pinned = place, place.last, True
        for heredoc in line.heredocs:
            heredoc.place = place
    return instruction


def _place(source: DockerfileSource, dockerfile: Dockerfile, instruction: Instruction) -> None:
    if isinstance(instruction, kinds.FromInstruction):
        name = instruction.stage_name
        if name and any(stage.start.stage_name == name for stage in dockerfile.stages):
            source.warn(instruction.place, f'two stages have the name "{name}", which means the later one')
        dockerfile.stages.append(Stage(len(dockerfile.stages), instruction))
    elif dockerfile.stages:
        dockerfile.stages[-1].instructions.append(instruction)
    elif isinstance(instruction, kinds.ArgInstruction):
        dockerfile.arguments.append(instruction)
    else:
        source.wrong(instruction.place, f"{instruction.line.keyword} before the first FROM",
                     "only ARG is allowed there: move it below a FROM")


def _look_over(source: DockerfileSource, stage: Stage) -> None:
    """Warn of instructions that a later one overrides."""
    for kind in (kinds.CmdInstruction, kinds.EntrypointInstruction, kinds.HealthcheckInstruction):
        there = [one for one in stage.instructions if isinstance(one, kind)]
        for one in there[:-1]:
            source.warn(one.place, f"this stage has a later {kind.name}, and only the last one takes effect",
                        "remove it")


class _Parser:
    """Parses single instructions; problems go to the source, and the instruction is then None."""

    def __init__(self, source: DockerfileSource, escape: str) -> None:
        self.source = source
        self.escape = escape

    def read(self, line: Line) -> Instruction | None:
        """The instruction of a line."""
        if line.keyword not in INSTRUCTIONS:
            close = nearest(line.keyword, INSTRUCTIONS)
            self.source.wrong(line.place, f'unknown instruction "{line.written[:60]}"',
                              f'write "{close}"' if close else "instructions are " + ", ".join(INSTRUCTIONS))
            return None
        before = len(self.source.problems)
        flags = read_flags(self.source, line)
        if not line.rest[flags.end:].strip(SPACE):
            self.source.wrong(line.place, f"{line.keyword} needs an argument", _EXAMPLES[line.keyword])
            return None
        read: Callable[[Line, Flags], Instruction | None] = getattr(self, f"_{line.keyword.lower()}")
        instruction = read(line, flags)
        return instruction if len(self.source.problems) == before else None

    def _wrong(self, place: Position, what: str, remedy: str = "") -> None:
        self.source.wrong(place, what, remedy)

    # ---- FROM, ARG, ENV, LABEL ------------------------------------------------------------------

    def _from(self, line: Line, flags: Flags) -> Instruction | None:
        words = self._fields(line, flags.end)
        name = ""
        if len(words) == 3 and words[1].text.upper() == "AS":
            name = words[2].text.lower()
            if not name[0].isalpha() or not name.isascii() or not _STAGE_NAME.issuperset(name):
                self._wrong(words[2].place, f'"{words[2].text}" cannot be the name of a stage',
                            'begin with a letter, and use letters, digits, "_", "." and "-"')
            elif name in _RESERVED:
                self._wrong(words[2].place, f'"{name}" is reserved, and cannot be the name of a stage',
                            "take another name")
        elif len(words) != 1:
            self._wrong(words[1].place, "FROM needs an image, and optionally AS with a name",
                        'write "FROM image AS name"')
        return kinds.FromInstruction(line, words[0], name, self._flag(line, flags, "platform"))

    def _arg(self, line: Line, flags: Flags) -> Instruction | None:
        pairs: list[tuple[Word, Word | None]] = []
        for offset, text in split_words(line.rest[flags.end:], self.escape):
            name, equals, value = text.partition("=")
            start = flags.end + offset
            if not name or any(letter in name for letter in "'\"$"):
                self._wrong(line.at(start), f'"{text[:60]}" is not the name of an argument', 'write "NAME" or'
                            ' "NAME=default"')
            pairs.append((Word(name, line, start), Word(value, line, start + len(name) + 1) if equals else None))
        return kinds.ArgInstruction(line, pairs)

    def _pairs(self, line: Line, flags: Flags, kind: type[kinds.PairsInstruction]) -> Instruction | None:
        words = split_words(line.rest[flags.end:], self.escape)
        pairs: list[tuple[Word, Word]] = []
        if "=" not in words[0][1]:
            name, value = first_word(line.rest[flags.end:])
            start = flags.end + words[0][0]
            if not value:
                self._wrong(line.at(start), f'{line.keyword}: "{name[:60]}" has no value',
                            f'write "{line.keyword} {name[:60]}=value"')
                return None
            self.source.warn(line.at(start), f'"{line.keyword} name value" is a legacy form',
                             f'write "{line.keyword} {name}=value"')
            begin = len(line.rest) - len(value)
            return kind(line, [(Word(name, line, start), Word(value.rstrip(SPACE), line, begin))])
        for offset, text in words:
            name, equals, value = text.partition("=")
            start = flags.end + offset
            if not equals or not name:
                self._wrong(line.at(start), f'"{text[:60]}" has no {"name" if equals else "value"}',
                            'write "name=value", in quotes if it has blanks')
                continue
            pairs.append((Word(name, line, start), Word(value, line, start + len(name) + 1)))
        return kind(line, pairs)

    def _env(self, line: Line, flags: Flags) -> Instruction | None:
        return self._pairs(line, flags, kinds.EnvInstruction)

    def _label(self, line: Line, flags: Flags) -> Instruction | None:
        return self._pairs(line, flags, kinds.LabelInstruction)

    # ---- programs -------------------------------------------------------------------------------

    def _texts(self, line: Line, start: int) -> list[str] | None:
        """The list of the exec form; None for the shell form."""
        try:
            return json_texts(line.rest[start:])
        except NotTexts:
            self._wrong(line.at(start), "the list must contain only strings", 'write each in double quotes')
            return []

    def _program(self, line: Line, flags: Flags, kind: type[kinds.ProgramInstruction]) -> Instruction:
        texts = self._texts(line, flags.end)
        if texts is None and line.rest.startswith("[", flags.end) and line.rest.rstrip(SPACE).endswith("]") and \
                not line.rest.startswith("[ ", flags.end) and "[[" not in line.rest:
            self.source.warn(line.at(flags.end), "this is not a list of strings, so a shell will run it",
                             'write each string in double quotes, separated by commas: ["a", "b"]')
        return kind(line, [line.rest[flags.end:]] if texts is None else texts, shell=texts is None)

    def _cmd(self, line: Line, flags: Flags) -> Instruction | None:
        return self._program(line, flags, kinds.CmdInstruction)

    def _entrypoint(self, line: Line, flags: Flags) -> Instruction | None:
        return self._program(line, flags, kinds.EntrypointInstruction)

    def _run(self, line: Line, flags: Flags) -> Instruction | None:
        texts = self._texts(line, flags.end)
        if texts is not None and not texts:
            self._wrong(line.at(flags.end), "RUN needs a program", _EXAMPLES["RUN"])
        mounts = [Word(value, line, offset + len("--mount=")) for value, offset in
                  zip(flags.every("mount"), flags.offsets.get("mount", []), strict=True)]
        for flag, values in (("network", ("default", "host", "none")), ("security", ("sandbox", "insecure"))):
            if flag in flags and flags.one(flag) not in values:
                self._wrong(line.at(flags.offsets[flag][0]), f'"--{flag}" cannot be "{flags.one(flag)}"',
                            f"write {' or '.join(values)}")
        return kinds.RunInstruction(line, [line.rest[flags.end:]] if texts is None else texts, shell=texts is None,
                                    mounts=mounts, network=flags.one("network"), security=flags.one("security"),
                                    heredocs=line.heredocs if texts is None else [])

    def _shell(self, line: Line, flags: Flags) -> Instruction | None:
        texts = self._texts(line, flags.end)
        if not texts:
            self._wrong(line.at(flags.end), "SHELL needs a list of strings", _EXAMPLES["SHELL"])
            return None
        return kinds.ShellInstruction(line, texts)

    def _healthcheck(self, line: Line, flags: Flags) -> Instruction | None:
        word, rest = first_word(line.rest[flags.end:])
        start = len(line.rest) - len(rest)
        times: dict[str, int] = {}
        for flag, values in flags.values.items():
            place = line.at(flags.offsets[flag][0])
            if flag == "retries":
                if not values[-1].isascii() or not values[-1].isdigit():
                    self._wrong(place, f'"--retries" must be a number, not "{values[-1]}"', "write 3, for example")
                else:
                    times["Retries"] = int(values[-1])
                continue
            time = durations.parse(values[-1])
            if time is None or 0 < time < _LEAST or time > _MOST:
                self._wrong(place, f'"--{flag}" must be a time from a millisecond to 292 years, not "{values[-1]:.60}"',
                            'write "30s" or "1m30s", for example')
            elif time:
                times[_TIMES[flag]] = time
        if word.upper() == "NONE":
            if rest or flags.values:
                self._wrong(line.at(flags.end), "HEALTHCHECK NONE takes no arguments", 'write "HEALTHCHECK NONE"')
            return kinds.HealthcheckInstruction(line, ["NONE"], {})
        if word.upper() != "CMD":
            self._wrong(line.at(flags.end), f'HEALTHCHECK takes CMD or NONE, not "{word[:60]}"',
                        _EXAMPLES["HEALTHCHECK"])
            return None
        if not rest:
            self._wrong(line.at(flags.end), "HEALTHCHECK CMD needs a program", _EXAMPLES["HEALTHCHECK"])
            return None
        texts = self._texts(line, start)
        test = ["CMD-SHELL", line.rest[start:]] if texts is None else ["CMD", *texts]
        return kinds.HealthcheckInstruction(line, test, times)

    # ---- COPY, ADD ------------------------------------------------------------------------------

    def _copy(self, line: Line, flags: Flags, *, add: bool = False) -> Instruction | None:
        words = self._listed(line, flags.end)
        if words is None:
            return None
        if len(words) < 2:
            self._wrong(line.at(flags.end), f"{line.keyword} needs a source and a target",
                        f'write "{line.keyword} source target"')
            return None
        files = [heredoc for heredoc in line.heredocs if not heredoc.start <= words[-1].offset < heredoc.end]
        sources = [word for word in words[:-1]
                   if not any(heredoc.start <= word.offset < heredoc.end for heredoc in line.heredocs)]
        if files and "from" in flags:
            self._wrong(line.at(files[0].start), "a here-document cannot come from another stage", 'remove "--from"')
        if len(files) < len(line.heredocs):
            self._wrong(words[-1].place, "a here-document cannot be the target", "write a path after it")
        if len(words) > 2 and not words[-1].text.endswith(("/", "/.", "}")) and words[-1].text not in (".", "..") \
                and "$" not in words[-1].text:
            self._wrong(words[-1].place, f'several sources need a directory as target, and "{words[-1].text}" does not'
                        " end with a slash", f'write "{words[-1].text}/"')
        return kinds.CopyInstruction(
            line, add=add, sources=sources, target=words[-1], files=files, stage=self._flag(line, flags, "from"),
            chown=self._flag(line, flags, "chown"), chmod=self._flag(line, flags, "chmod"),
            checksum=self._flag(line, flags, "checksum"), link=flags.yes("link"), parents=flags.yes("parents"),
            keep_git=flags.yes("keep-git-dir"), unpack=flags.yes("unpack") if "unpack" in flags else None,
            exclude=[Word(value, line, offset + len("--exclude=")) for value, offset in
                     zip(flags.every("exclude"), flags.offsets.get("exclude", []), strict=True)])

    def _add(self, line: Line, flags: Flags) -> Instruction | None:
        return self._copy(line, flags, add=True)

    # ---- the rest -------------------------------------------------------------------------------

    def _single(self, line: Line, flags: Flags, kind: type[kinds.SingleInstruction]) -> Instruction | None:
        return kind(line, Word(line.rest[flags.end:].strip(SPACE), line, flags.end))

    def _workdir(self, line: Line, flags: Flags) -> Instruction | None:
        return self._single(line, flags, kinds.WorkdirInstruction)

    def _user(self, line: Line, flags: Flags) -> Instruction | None:
        return self._single(line, flags, kinds.UserInstruction)

    def _stopsignal(self, line: Line, flags: Flags) -> Instruction | None:
        words = self._fields(line, flags.end)
        if len(words) > 1:
            self._wrong(words[1].place, "STOPSIGNAL takes one signal", _EXAMPLES["STOPSIGNAL"])
        return self._single(line, flags, kinds.StopSignalInstruction)

    def _maintainer(self, line: Line, flags: Flags) -> Instruction | None:
        self.source.warn(line.place, "MAINTAINER is deprecated",
                         'write "LABEL org.opencontainers.image.authors=..."')
        return self._single(line, flags, kinds.MaintainerInstruction)

    def _expose(self, line: Line, flags: Flags) -> Instruction | None:
        return kinds.ExposeInstruction(line, self._fields(line, flags.end), json=False)

    def _volume(self, line: Line, flags: Flags) -> Instruction | None:
        texts = self._texts(line, flags.end)
        words = self._listed(line, flags.end)
        return kinds.VolumeInstruction(line, words, json=texts is not None) if words else None

    def _onbuild(self, line: Line, flags: Flags) -> Instruction | None:
        keyword, rest = first_word(line.rest[flags.end:])
        upper = keyword.upper()
        if upper in _NO_TRIGGERS:
            self._wrong(line.at(flags.end), _NO_TRIGGERS[upper], "write another instruction")
            return None
        below = line.below(keyword, len(line.rest) - len(rest))
        below.place = line.at(flags.end)
        if self.read(below) is None:
            return None
        text = f"{line.rest[flags.end:]}\n" + "".join(f"{one.content}{one.name}\n" for one in line.heredocs)
        return kinds.OnbuildInstruction(line, text if line.heredocs else text[:-1])

    # ---- what they have in common ---------------------------------------------------------------

    def _fields(self, line: Line, start: int) -> list[Word]:
        return [Word(text, line, start + offset) for offset, text in split_fields(line.rest[start:])]

    def _listed(self, line: Line, start: int) -> list[Word] | None:
        """The words of a list, or those between blanks."""
        texts = self._texts(line, start)
        if texts is None:
            return self._fields(line, start)
        if not texts:
            self._wrong(line.at(start), f"{line.keyword} needs an argument", _EXAMPLES[line.keyword])
            return None
        words, offset = [], start
        for text in texts:   # a string with escapes is not found, and gets the previous position
            offset = max(line.rest.find(f'"{text}"', offset), offset)
            words.append(Word(text, line, offset))
        return words

    @staticmethod
    def _flag(line: Line, flags: Flags, name: str) -> Word | None:
        if name not in flags:
            return None
        return Word(flags.one(name), line, flags.offsets[name][-1] + len(f"--{name}="))


_EXAMPLES = {
    "ADD": 'write "ADD source target"', "ARG": 'write "ARG NAME" or "ARG NAME=default"',
    "CMD": 'write "CMD ["program", "argument"]"', "COPY": 'write "COPY source target"',
    "ENTRYPOINT": 'write "ENTRYPOINT ["program", "argument"]"', "ENV": 'write "ENV NAME=value"',
    "EXPOSE": 'write "EXPOSE 80"', "FROM": 'write "FROM image"',
    "HEALTHCHECK": 'write "HEALTHCHECK CMD program" or "HEALTHCHECK NONE"', "LABEL": 'write "LABEL name=value"',
    "MAINTAINER": 'write "MAINTAINER name"', "ONBUILD": 'write "ONBUILD RUN program"', "RUN": 'write "RUN program"',
    "SHELL": 'write "SHELL ["/bin/sh", "-c"]"', "STOPSIGNAL": 'write "STOPSIGNAL SIGTERM"',
    "USER": 'write "USER name"', "VOLUME": 'write "VOLUME /path"', "WORKDIR": 'write "WORKDIR /path"',
}
