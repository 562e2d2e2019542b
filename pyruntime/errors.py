"""Every error that pyruntime raises on purpose, in one tree.

    PyruntimeError                 exit 1   anything below
    ├── ConfigError                exit 1   config.json (or process.json, ...) is wrong; carries every Problem found
    ├── HostError                  exit 1   this kernel or machine lacks something the configuration asks for
    ├── UsageError                 exit 1   the command line or an argument is wrong
    ├── StateError                 exit 1   the container is not in a state that allows the operation
    │   ├── NoSuchContainer        exit 1
    │   ├── ContainerExists        exit 1
    │   ├── Interrupted            exit 1
    │   ├── NoSuchNetwork          exit 1
    │   └── NoSuchVolume           exit 1
    ├── StepError                  exit 1   a step of a plan failed; carries the step and the errno
    ├── SystemdError               exit 1   systemd refused what the cgroup driver asked it for
    ├── HookError                  exit 1   a hook failed, could not be run, or ran out of time
    ├── CriuError                  exit 1   CRIU could not checkpoint or restore a container; names its log
    ├── ImageError                 exit 1   an image cannot be used: its documents, blobs or layers are wrong
    │   ├── NoSuchImage            exit 1   nothing here has that name
    │   ├── DigestError            exit 1   content is not what its digest or size says
    │   └── LayerError             exit 1   a layer's archive is broken, or holds what no layer may hold
    ├── BuildError                 exit 1   a step of a build failed; carries its place in the Dockerfile
    │   └── DockerfileError        exit 1   a Dockerfile is wrong
    └── RegistryError              exit 1   a registry refused, or cannot be reached

The exit code stands on the class; the command `exec` exits 255 for all of them, since 1 may be its program's status.
Messages are lower case, have no full stop, put values in double quotes, and end with the system's own words. ``notes``
are clean-up failures: they are appended and never replace the cause.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def words(error: BaseException) -> str:
    """What an error says, without the number that Python puts in front of the system's words ("[Errno 2] ...")."""
    if isinstance(error, OSError) and error.strerror:
        about = error.filename.decode("utf-8", "replace") if isinstance(error.filename, bytes) else error.filename
        return f'"{about}": {error.strerror}' if about else error.strerror
    return str(error)


class Problem:
    """One thing that is wrong in a document, and what to do about it.

    ``where``   path in the document, for example ``mounts[7].destination``; empty for the document as a whole
    ``what``    what is wrong, with the value, for example ``"rel" is not an absolute path``
    ``remedy``  what to write instead, for example ``write "/rel", or remove the mount``; may be empty
    ``spec``    the section that says so, for example ``config.md#mounts``; may be empty
    """

    __slots__ = ("remedy", "spec", "what", "where")

    def __init__(self, where: str, what: str, remedy: str = "", spec: str = "") -> None:
        self.where = where
        self.what = what
        self.remedy = remedy
        self.spec = spec

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.remedy or self.spec:
            text += "\n  " + self.remedy
            if self.spec:
                text += ("     " if self.remedy else "") + f"[{self.spec}]"
        return text

    def __repr__(self) -> str:
        return f"Problem({self.where!r}, {self.what!r}, {self.remedy!r}, {self.spec!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Problem) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


class PyruntimeError(Exception):
    """The root of the tree. ``where``, ``step`` and ``spec`` go into ``--log-format json`` when they are set."""

    exit_code = 1
    for_people = False   # whether the command is there to tell people: lines stay lines, wherever they go
    place: str = ""
    where: str = ""
    step: str = ""
    spec: str = ""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.notes: list[str] = []

    def __str__(self) -> str:
        place = [self.place] if self.place else []
        return "\n  ".join([str(self.args[0]), *place, *(f"and while cleaning up: {note}" for note in self.notes)])

    @property
    def sentence(self) -> str:
        """The error on one line, for a log and for the programs that read it; the step is left out."""
        lines = str(self.args[0]).splitlines() + [f"and while cleaning up: {note}" for note in self.notes]
        return "; ".join(" [".join(part.strip() for part in line.split("     [")) for line in lines)


class ConfigError(PyruntimeError):
    """A document is wrong. ``problems`` holds everything that was found, in the document's order."""

    def __init__(self, document: str, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(f"{document}: {problem}" for problem in problems))
        self.document = document
        self.problems = list(problems)
        if problems:
            self.where = problems[0].where
            self.spec = problems[0].spec


class HostError(PyruntimeError):
    """The machine lacks something. ``where`` names the place in config.json that asks for it."""

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(message)
        self.where = where


class UsageError(PyruntimeError):
    """A command line or an argument of a library call is wrong."""


class StateError(PyruntimeError):
    """The container is not in a state that allows the operation (runtime.md#operations)."""


class NoSuchContainer(StateError):
    """No container has this ID."""


class ContainerExists(StateError):
    """The ID is taken (runtime.md#create)."""


class Interrupted(StateError):
    """Three SIGINT or SIGTERM ended the command; the program in the container ignores them and goes on."""


class NoSuchNetwork(StateError):
    """No network has this name."""


class NoSuchVolume(StateError):
    """No volume has this name."""


class StepError(PyruntimeError):
    """A step of a plan failed: ``index`` counts from 0, ``errno`` is 0 where the step failed without a system call;
    ``place`` is where the step stands in the plan."""

    def __init__(self, message: str, *, where: str = "", step: str = "", errno: int = 0, index: int = -1,
                 place: str = "") -> None:
        super().__init__(message)
        self.place = place
        self.where = where
        self.step = step
        self.errno = errno
        self.index = index


class HookError(PyruntimeError):
    """A hook failed. ``where`` is its place, for example ``hooks.prestart[0]``."""

    def __init__(self, message: str, where: str) -> None:
        super().__init__(message)
        self.where = where


class SystemdError(PyruntimeError):
    """systemd refused: ``name`` is the error's name on the bus, without what all of them begin with."""

    def __init__(self, what: str, name: str, text: str) -> None:
        super().__init__(f"systemd: {what}: {text or name}")
        self.name = name.rpartition(".")[2]


class CriuError(PyruntimeError):
    """CRIU could not do what it was asked. ``log`` is the path of its log; empty where there is none."""

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


class ImageError(PyruntimeError):
    """An image cannot be used. ``where`` names the document, blob or reference that is wrong."""

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(message)
        self.where = where


class NoSuchImage(ImageError):
    """Nothing here has that name."""


class DigestError(ImageError):
    """Content is not what its digest or its size says (descriptor.md#verification)."""


class LayerError(ImageError):
    """A layer's archive is broken, or holds what no layer may hold. ``where`` is the entry's name."""


class BuildError(PyruntimeError):
    """A step of a build failed. ``where`` is its place, for example ``Dockerfile:7``."""

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(message)
        self.where = where


class DockerfileError(BuildError):
    """A Dockerfile is wrong; the message shows every problem with its line."""


class RegistryError(PyruntimeError):
    """A registry refused, or cannot be reached. ``status`` is the HTTP status, 0 where there was no answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


# Whose message is all that they are made of, for those who look at their class.
_PLAIN = (HostError, UsageError, StateError, ImageError, BuildError, RegistryError)


def told(name: str, text: str, where: str = "") -> PyruntimeError:
    """The error that another process of ours has met, by the name of its class and its message."""
    kind = globals().get(name)
    error = kind(text) if isinstance(kind, type) and issubclass(kind, _PLAIN) else PyruntimeError(text)
    error.where = where
    return error
