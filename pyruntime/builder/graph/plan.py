"""Plans the steps of the needed stages from a Dockerfile, with everything expanded.

Pure except for one query: which image a base is. A step that changes files has everything that its cache key needs,
except the content that it takes from elsewhere.
"""

from __future__ import annotations

import posixpath
import sys

from pyruntime.builder.dockerfile import instructions as kinds
from pyruntime.builder.dockerfile.arguments import Globals, Scope, automatic
from pyruntime.builder.dockerfile.lines import Heredoc
from pyruntime.builder.dockerfile.mounts import Mount, MountError, parse_mount
from pyruntime.builder.dockerfile.parse import parse_source, parse_trigger
from pyruntime.builder.dockerfile.source import DockerfileSource, Position
from pyruntime.builder.dockerfile.words import Expansion, WordError
from pyruntime.builder.steps.origins import is_url
from pyruntime.errors import BuildError, PyruntimeError, UsageError
from pyruntime.images.platform import Platform
from pyruntime.system import durations
from pyruntime.system.json import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence
    from typing import Any, Protocol

    from pyruntime.builder.dockerfile.instructions import Instruction, Stage, Word
    from pyruntime.builder.dockerfile.source import Position
    from pyruntime.images.lookup import Image

    class Bases(Protocol):
        def image(self, name: str, platform: Platform | None) -> Image: ...

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PATH_NAME = "PATH"
SHELL = ["/bin/sh", "-c"]
COMMENT = "buildkit.dockerfile.v0"   # the value that readers of histories expect
_MOST, _FRAMES = 2000, 12   # stages; nested calls for each stage that is based on another one
_HEALTH = ("Interval", "Timeout", "StartPeriod", "StartInterval")


class BuildStep:
    """One instruction of a stage. ``kind``: "config" if it changes no files, else "run", "copy" or "workdir".

    ``title``   as shown                          ``created_by``  as in the history
    ``env``     the variables of RUN              ``words``       the cache key's words, without inputs
    """

    __slots__ = ("created_by", "cwd", "data", "env", "instruction", "kind", "place", "secret_env", "title", "user",
                 "words")

    def __init__(self, instruction: Instruction, kind: str, created_by: str, words: Sequence[str] = ()) -> None:
        self.instruction = instruction
        self.place: Position = instruction.place
        self.kind = kind
        self.title = instruction.text.strip()
        self.created_by = created_by
        self.words = list(words)
        self.env: list[str] = []
        self.secret_env: list[str] = []   # proxies: set for RUN, but not in the key or the history
        self.cwd = "/"
        self.user = ""
        self.data: Any = None


class RunData:
    """A RUN: ``args`` to execute, ``script`` for a file that they name, mounts, the network."""

    __slots__ = ("args", "mounts", "network", "script")

    def __init__(self, args: list[str], mounts: list[Mount], network: str, script: str = "") -> None:
        self.args = args
        self.mounts = mounts
        self.network = network
        self.script = script


class CopyData:
    """A COPY or ADD. ``origin``: "" for the build context, else a stage, a context or an image."""

    __slots__ = ("add", "checksum", "chmod", "chown", "exclude", "files", "keep_git", "link", "origin", "parents",
                 "sources", "target", "unpack")

    def __init__(self, copy: kinds.CopyInstruction, expand: Callable[[Word], str]) -> None:
        self.add = copy.add
        self.origin = copy.stage.text if copy.stage else ""
        self.sources = [expand(word) for word in copy.sources]
        self.target = expand(copy.target)
        self.chown = expand(copy.chown) if copy.chown else ""
        self.chmod = expand(copy.chmod) if copy.chmod else ""
        self.checksum = expand(copy.checksum) if copy.checksum else ""
        self.exclude = [expand(word) for word in copy.exclude]
        self.files: list[tuple[str, str]] = []
        self.link = copy.link
        self.parents = copy.parents
        self.keep_git = copy.keep_git
        self.unpack = copy.unpack

    @property
    def alone(self) -> bool:
        """Whether the result is independent of the files below, where names of owners would be looked up."""
        return self.link and all(part.isdigit() for part in self.chown.split(":") if part)


class StagePlan:
    """A stage with its steps. ``base`` is another StagePlan, an image, or None for scratch; ``config`` is the
    ``config`` of its image's configuration, ``author`` beside it. ``origin`` is the name in its FROM."""

    __slots__ = ("author", "base", "config", "index", "name", "origin", "platform", "scope", "steps")

    def __init__(self, stage: Stage, base: StagePlan | Image | None, platform: Platform) -> None:
        self.index = stage.index
        self.name = stage.start.stage_name or f"stage-{stage.index}"
        self.base = base
        self.platform = platform
        self.steps: list[BuildStep] = []
        self.config: dict[str, Any] = {}
        self.author = ""
        self.origin = ""
        self.scope: Scope | None = None


class BuildPlan:
    """The build: the ``target`` and the stages that it needs, in order."""

    __slots__ = ("_bases", "_done", "_host", "_target_platform", "contexts", "dockerfile", "globals", "platform",
                 "source", "stages", "target")

    def __init__(self, text: str, name: str, bases: Bases, *, arguments: Mapping[str, str], target: str = "",
                 platform: Platform | None = None, contexts: Container[str] = ()) -> None:
        """``contexts``: names of named contexts, which take precedence over stages.

        Raises DockerfileError for an invalid file, UsageError for a target that does not exist.
        """
        self.source = DockerfileSource(name, text)
        self._bases = bases
        self.contexts = contexts
        self._host = Platform.host()
        self._target_platform = platform
        self.platform = platform or self._host
        self._done: dict[int, StagePlan] = {}
        self.dockerfile = parse_source(self.source)
        self.source.done()
        self.globals = Globals(self.source, self.dockerfile, arguments,
                               automatic(self._host, platform or self._host, target))
        wanted = self.dockerfile.stage(target) if target else self.dockerfile.stages[-1]
        if wanted is None:
            names = ", ".join(stage.name for stage in self.dockerfile.stages)
            raise UsageError(f'{name} has no stage "{target}"; it has {names}')
        self.target = self._planned(wanted)
        self.source.done()
        self.stages = [self._done[index] for index in sorted(self._done)]
        for unused in self.globals.unused():
            self.source.warn(Position(1), f'no ARG declares the build argument "{unused}"',
                             f'write "ARG {unused}" where it is used')

    def warnings(self) -> list[str]:
        """Valid but discouraged instructions: a sentence for each, with its position."""
        return [self.source.show(complaint) for complaint in self.source.warnings]

    def origin(self, name: str, before: int) -> StagePlan | None:
        """The stage of ``--from=name`` in the stage with the number ``before``; None for something else."""
        stage = self.dockerfile.stage(name)
        if name in self.contexts:
            return None
        if stage is None or stage.index >= before:
            for one in reversed(self.dockerfile.stages[:before]):
                if one.start.stage_name and one.start.stage_name == name.lower():
                    return self._stage(one)
            return None
        return self._stage(stage)

    def _planned(self, wanted: Stage) -> StagePlan:
        stages = self.dockerfile.stages
        if len(stages) > _MOST:
            self.source.wrong(stages[_MOST].start.place, f"more than {_MOST} stages", "make it simpler")
            raise self.source.error()
        before = sys.getrecursionlimit()
        sys.setrecursionlimit(before + _FRAMES * len(stages))
        try:
            return self._stage(wanted)
        finally:
            sys.setrecursionlimit(before)

    def _stage(self, stage: Stage) -> StagePlan:
        if stage.index not in self._done:
            made = _Evaluation(self, stage, self._bases)
            self._done[stage.index] = made.evaluate(self._host, self._target_platform)
        return self._done[stage.index]


class _Evaluation:
    """Evaluates one stage, and first those that it needs."""

    def __init__(self, plan: BuildPlan, stage: Stage, bases: Bases) -> None:
        self.whole = plan
        self.source = plan.source
        self.escape = plan.dockerfile.escape
        self.bases = bases
        self.stage = stage

    def evaluate(self, host: Platform, wanted: Platform | None) -> StagePlan:
        """The plan. No constructor, because Python 3.12 limits how deeply those may be nested, by a fixed number."""
        stage, plan = self.stage, self.whole
        base, platform = self._base(stage, wanted, host)
        self.plan = StagePlan(stage, base, platform)
        self.plan.origin = plan.globals.expand(stage.start.image, plan.globals.values())
        self.triggers: list[str] = []
        self.env: dict[str, str] = {}
        if isinstance(base, StagePlan):
            assert base.scope is not None
            self.config: dict[str, Any] = {key: value.copy() if isinstance(value, dict | list) else value
                           for key, value in base.config.items()}
            self.scope = base.scope.copy()
            self.plan.author = base.author
        else:
            self.config = dict(base.config.config) if base else {"Env": [PATH]}
            self.scope = Scope(plan.globals)
            self.plan.author = str(base.config.document.get("author") or "") if base else ""
        for entry in self.config.get("Env") or []:
            name, _, value = entry.partition("=")
            self.env[name] = value
        if PATH_NAME not in self.env:   # the default path, which ENV PATH=$PATH:... needs
            self.env = {PATH_NAME: PATH.partition("=")[2], **self.env}
        self.own_cmd = False
        for text in self.config.pop("OnBuild", None) or []:
            self._trigger(text)
        for instruction in stage.instructions:
            self._one(instruction)
        self.config["Env"] = [f"{name}={value}" for name, value in self.env.items()]
        self.plan.config = self.config
        self.plan.scope = self.scope
        return self.plan

    def _base(self, stage: Stage, wanted: Platform | None, host: Platform
              ) -> tuple[StagePlan | Image | None, Platform]:
        start, above = stage.start, self.whole.globals
        before = len(self.source.problems)
        name = above.expand(start.image, above.values())
        platform = wanted
        if start.platform is not None:
            text = above.expand(start.platform, above.values())
            try:
                platform = Platform.parse(text) if text else wanted
            except UsageError as error:
                self.source.wrong(start.platform.place, str(error))
        if not name:
            self.source.wrong(start.image.place, f'"{start.image.text}" expands to nothing',
                              "give the argument a default, or --build-arg a value")
        if len(self.source.problems) > before:
            self.source.done()
        origin = self.whole.origin(name, stage.index) if not name.isdigit() else None
        if origin is not None:
            return origin, origin.platform
        if name == "scratch":
            return None, platform or host
        try:
            image = self.bases.image(name, platform)
        except BuildError:
            raise
        except PyruntimeError as error:   # every error gets its line
            self.source.wrong(start.image.place, str(error))
            raise self.source.error() from None
        return image, Platform.of(image.config.document) or platform or host

    # ---- expansion ------------------------------------------------------------------------------

    def _values(self) -> dict[str, str]:
        return {**self.scope.values(), **self.env}

    def _expand(self, word: Word) -> str:
        return self.whole.globals.expand(word, self._values())

    def _expand_all(self, word: Word) -> list[str]:
        try:
            return Expansion(self._values(), self.escape).words(word.text)
        except WordError as error:
            self.source.wrong(word.line.at(word.offset + error.offset), str(error), error.remedy)
            return []

    def _one(self, instruction: Instruction) -> None:
        getattr(self, f"_{instruction.name.lower()}")(instruction)

    def _trigger(self, text: str) -> None:
        start = self.stage.start
        before = len(self.source.problems)
        self._one(parse_trigger(text, "\\", f"ONBUILD of {start.image.text}", start.place))
        for problem in self.source.problems[before:]:
            problem.what = f"ONBUILD {text.partition(chr(10))[0]}: {problem.what}"

    def _add_step(self, instruction: Instruction, created_by: str, kind: str = "config",
                  words: Sequence[str] = ()) -> BuildStep:
        step = BuildStep(instruction, kind, created_by, words)
        step.env = [f"{name}={value}" for name, value in self._values().items()]
        step.cwd = self.config.get("WorkingDir") or "/"
        step.user = self.config.get("User") or ""
        self.plan.steps.append(step)
        return step

    # ---- configuration --------------------------------------------------------------------------

    def _env(self, instruction: kinds.EnvInstruction) -> None:
        values = self._values()   # the old values: ENV a=1 b=$a uses the old a
        pairs = [(self.whole.globals.expand(name, values), self.whole.globals.expand(value, values))
                 for name, value in instruction.pairs]
        self.env.update(pairs)
        self._add_step(instruction, "ENV " + " ".join(f"{name}={value}" for name, value in pairs))

    def _label(self, instruction: kinds.LabelInstruction) -> None:
        pairs = [(self._expand(name), self._expand(value)) for name, value in instruction.pairs]
        self.config["Labels"] = {**(self.config.get("Labels") or {}), **dict(pairs)}
        self._add_step(instruction, "LABEL " + " ".join(f"{name}={value}" for name, value in pairs))

    def _arg(self, instruction: kinds.ArgInstruction) -> None:
        self.scope.declare(instruction, self.env)
        told = []
        for name, _ in instruction.pairs:
            value = self.scope.declared.get(name.text)
            told.append(name.text if value is None else f"{name.text}={value}")
        self._add_step(instruction, "ARG " + " ".join(told))

    def _shell_args(self, instruction: kinds.ProgramInstruction) -> list[str]:
        if instruction.shell:
            return [*(self.config.get("Shell") or SHELL), *instruction.args]
        return list(instruction.args)

    def _cmd(self, instruction: kinds.CmdInstruction) -> None:
        self.config["Cmd"] = self._shell_args(instruction)
        self.own_cmd = True
        self._add_step(instruction, f"CMD {_quoted(self.config['Cmd'])}")

    def _entrypoint(self, instruction: kinds.EntrypointInstruction) -> None:
        self.config["Entrypoint"] = self._shell_args(instruction)
        if not self.own_cmd:   # the base's Cmd has arguments of another program
            self.config.pop("Cmd", None)
        self._add_step(instruction, f"ENTRYPOINT {_quoted(self.config['Entrypoint'])}")

    def _shell(self, instruction: kinds.ShellInstruction) -> None:
        self.config["Shell"] = list(instruction.args)
        self._add_step(instruction, f"SHELL [{' '.join(instruction.args)}]")

    def _user(self, instruction: kinds.UserInstruction) -> None:
        self.config["User"] = self._expand(instruction.word)
        self._add_step(instruction, f"USER {self.config['User']}")

    def _stopsignal(self, instruction: kinds.StopSignalInstruction) -> None:
        signal = self._expand(instruction.word)
        if not _is_signal(signal):
            self.source.wrong(instruction.word.place, f'"{signal}" is not a signal', 'write "SIGTERM" or "15", for'
                              " example")
        self.config["StopSignal"] = signal
        self._add_step(instruction, f"STOPSIGNAL {signal}")

    def _maintainer(self, instruction: kinds.MaintainerInstruction) -> None:
        self.plan.author = instruction.word.text
        self._add_step(instruction, f"MAINTAINER {instruction.word.text}")

    def _expose(self, instruction: kinds.ExposeInstruction) -> None:
        ports: list[str] = []
        for word in instruction.words:
            for text in self._expand_all(word):
                found = _ports(text)
                if found is None:
                    self.source.wrong(word.place, f'"{text}" is not a port', 'write "80", "53/udp" or "8000-8010"')
                else:
                    ports += found
        self.config["ExposedPorts"] = {**(self.config.get("ExposedPorts") or {}), **{port: {} for port in ports}}
        told = " ".join(f"{port}:{{}}" for port in sorted(set(ports)))   # in the format of a Go map
        self._add_step(instruction, f"EXPOSE map[{told}]")

    def _volume(self, instruction: kinds.VolumeInstruction) -> None:
        paths = [self._expand(word) for word in instruction.words]
        for word, path in zip(instruction.words, paths, strict=True):
            if not path:
                self.source.wrong(word.place, "the volume has no path", 'write "VOLUME /path"')
        self.config["Volumes"] = {**(self.config.get("Volumes") or {}), **{path: {} for path in paths}}
        self._add_step(instruction, f"VOLUME [{' '.join(paths)}]")

    def _healthcheck(self, instruction: kinds.HealthcheckInstruction) -> None:
        self.config["Healthcheck"] = {"Test": instruction.test, **instruction.times}
        times = " ".join(f'"{durations.text(instruction.times.get(name, 0))}"' for name in _HEALTH)
        retries = _rune(instruction.times.get("Retries", 0))
        self._add_step(instruction, f"HEALTHCHECK &{{{_quoted(instruction.test)} {times} '{retries}'}}")

    def _onbuild(self, instruction: kinds.OnbuildInstruction) -> None:
        self.config["OnBuild"] = [*(self.config.get("OnBuild") or []), instruction.trigger]
        self._add_step(instruction, f"ONBUILD {instruction.trigger}")

    # ---- files ----------------------------------------------------------------------------------

    def _workdir(self, instruction: kinds.WorkdirInstruction) -> None:
        path = self._expand(instruction.word)
        if not path:
            self.source.wrong(instruction.word.place, f'"{instruction.word.text}" expands to nothing',
                              'write "WORKDIR /path"')
        whole = posixpath.normpath(posixpath.join("/", self.config.get("WorkingDir") or "/", path))
        self.config["WorkingDir"] = "/" + whole.lstrip("/")
        kind = "workdir" if self.config["WorkingDir"] != "/" else "config"   # which always exists
        step = self._add_step(instruction, f"WORKDIR {self.config['WorkingDir']}", kind,
                              [self.config["WorkingDir"], self.config.get("User") or ""])
        step.cwd = self.config["WorkingDir"]

    def _copy(self, instruction: kinds.CopyInstruction) -> None:
        data = CopyData(instruction, self._expand)
        for heredoc in instruction.files:
            data.files.append((heredoc.name, self._document(heredoc)))
        if not data.target:
            self.source.wrong(instruction.target.place, f'"{instruction.target.text}" expands to nothing',
                              "write a path")
        slash = data.target.endswith(("/", "/.")) or data.target in (".", "..")
        path = posixpath.normpath(posixpath.join("/", self.config.get("WorkingDir") or "/", data.target))
        data.target = "/" + path.lstrip("/") + ("/" if slash and path.strip("/") else "")
        flags = [f"--chown={data.chown}"] * bool(data.chown) + [f"--chmod={data.chmod}"] * bool(data.chmod) + \
            ["--link"] * data.link + ["--parents"] * data.parents + [f"--exclude={one}" for one in data.exclude]
        words = [*flags, *data.sources, *(f"<<{name}" for name, _ in data.files), data.target]
        name = instruction.name
        step = self._add_step(instruction, f"{name} {' '.join(words)} # buildkit", "copy",
                              [name, *words, str(data.unpack), str(data.keep_git), data.checksum])
        step.data = data
        if instruction.checksum is not None:
            self._checksum(data, instruction.checksum.place)
        if instruction.stage is not None:
            self._origin(data.origin, instruction.stage.place)

    _add = _copy

    def _checksum(self, data: CopyData, place: Position) -> None:
        if not data.checksum:   # else nothing would be checked, without a message
            self.source.wrong(place, '"--checksum" expands to nothing', "give its argument a value, or remove it")
        elif len(data.sources) != 1 or data.files or not is_url(data.sources[0]):
            self.source.wrong(place, '"--checksum" needs exactly one source that is downloaded', 'remove "--checksum"')

    def _origin(self, name: str, place: Position) -> None:
        """Plan the stage of a --from; a problem for an invalid name."""
        if not name:
            self.source.wrong(place, '"--from" names nothing', "write a stage, a context or an image")
        elif "$" in name:
            self.source.wrong(place, f'"--from={name}": variables are not expanded there',
                              "start a stage with the variable, \"FROM $NAME AS stage\", and copy from that stage")
        elif self.whole.origin(name, self.stage.index) is None:
            if name in self.whole.contexts:
                return
            if name.isascii() and name.isdigit():
                self.source.wrong(place, f'there is no stage {name} above this one', "stages are counted from 0")
            elif self.whole.dockerfile.stage(name) is not None:
                self.source.warn(place, f'the stage "{name}" is not above this one, so the name means an image')

    def _document(self, heredoc: Heredoc) -> str:
        if not heredoc.expand:
            return heredoc.text()
        try:
            return Expansion(self._values(), self.escape, raw_quotes=True).word(heredoc.text())
        except WordError as error:
            self.source.wrong(heredoc.place, str(error), error.remedy)
            return ""

    def _run(self, instruction: kinds.RunInstruction) -> None:
        args, script = self._shell_args(instruction), ""
        if instruction.heredocs:
            args, script = self._with_heredocs(instruction)
        mounts = []
        for word in instruction.mounts:
            try:
                mount = parse_mount(self._expand(word), self.config.get("WorkingDir") or "/")
            except MountError as error:
                self.source.wrong(word.place, str(error), error.remedy)
                continue
            mounts.append(mount)
            if mount.origin:
                self._origin(mount.origin, word.place)
        if instruction.security == "insecure":
            self.source.wrong(instruction.place, "RUN --security is not supported", 'remove "--security"')
        # A variable of ENV takes precedence, and is in the history already.
        told = [f"{name}={value}" for name, value in self.scope.values().items() if name not in self.env]
        prefix = f"|{len(told)} {' '.join(told)} " if told else ""
        command = " ".join(args) if not script else f"{' '.join(args)}\n{script}"
        step = self._add_step(instruction, f"RUN {prefix}{command} # buildkit", "run")
        step.secret_env = [f"{name}={value}" for name, value in self.scope.proxies().items()]
        step.words = [*args, script, step.cwd, step.user, *sorted(step.env), instruction.network,
                      str(self.plan.platform), *(word for mount in mounts for word in mount.words())]
        step.data = RunData(args, mounts, instruction.network or "default", script)

    def _with_heredocs(self, instruction: kinds.RunInstruction) -> tuple[list[str], str]:
        """A single here-document is a script: for the shell, or for the program in its first line."""
        shell = self.config.get("Shell") or SHELL
        first = instruction.heredocs[0]
        text = instruction.args[0]
        alone = len(instruction.heredocs) == 1 and text.strip() == instruction.line.rest[first.start:first.end].strip()
        if not alone:
            return [*shell, "\n".join([text, *(f"{one.content}{one.name}" for one in instruction.heredocs)])], ""
        script = first.text()
        return ([], script) if script.startswith("#!") else ([*shell, script], "")


def _quoted(words: list[str]) -> str:
    """A list of strings in the format of Go's %q, as in histories."""
    return f"[{' '.join(encode(word) for word in words)}]"


def _rune(number: int) -> str:
    """A number as a character in the format of Go's %q: the form of retries in histories."""
    if number > 0x10FFFF or 0xD800 <= number < 0xE000:
        return "\ufffd"
    named = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 39: "\\'", 92: "\\\\"}
    letter = chr(number)
    if number in named or letter.isprintable():
        return named.get(number, letter)
    return f"\\x{number:02x}" if number < 0x80 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _is_signal(text: str) -> bool:
    # lazy: the module signal would cost 5 ms
    import _signal  # type: ignore[import-not-found]

    name = text.upper().removeprefix("SIG")
    real = name.startswith(("RTMIN+", "RTMAX-")) and name[6:].isdigit() and int(name[6:]) <= 30
    return real or hasattr(_signal, f"SIG{name}") or (text.isascii() and text.isdigit() and 0 < int(text[:3]) <= 64)


def _ports(text: str) -> list[str] | None:
    """The ports of ``80``, ``53/udp``, ``8000-8010``; None if the text is invalid."""
    numbers, slash, protocol = text.partition("/")
    protocol = (protocol if slash else "tcp").lower()
    first, dash, last = numbers.rpartition(":")[2].partition("-")
    last = last if dash else first
    if protocol not in ("tcp", "udp", "sctp") or not all(
            part.isascii() and part.isdigit() and len(part) <= 5 and 0 < int(part) < 65536 for part in (first, last)):
        return None
    if int(last) < int(first):
        return None
    return [f"{port}/{protocol}" for port in range(int(first), int(last) + 1)]
