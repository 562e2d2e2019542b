"""The exceptions of pyruntime, in one tree.

    PyruntimeError                 exit 1   anything below
    ├── ConfigError                exit 1   config.json (or process.json, ...) is wrong; carries every Problem found
    ├── HostError                  exit 1   the host lacks something that the configuration requires
    ├── UsageError                 exit 1   the command line or an argument is wrong
    ├── StateError                 exit 1   the container is not in a state that allows the operation
    │   ├── NoSuchContainer        exit 1
    │   ├── ContainerExists        exit 1
    │   ├── Interrupted            exit 1
    │   ├── NoSuchNetwork          exit 1
    │   └── NoSuchVolume           exit 1
    ├── RecordError                exit 1   a file of pyruntime's own is damaged, or of a version that is not known
    ├── StepError                  exit 1   a step of a plan failed; carries the step and the errno
    ├── SystemdError               exit 1   systemd refused a request of the cgroup driver
    ├── HookError                  exit 1   a hook failed, could not be run, or timed out
    ├── CriuError                  exit 1   CRIU could not checkpoint or restore a container; names CRIU's log
    ├── ImageError                 exit 1   an image cannot be used: its documents, blobs or layers are wrong
    │   ├── NoSuchImage            exit 1   no local image has that name
    │   ├── DigestError            exit 1   content does not match its digest or size
    │   └── LayerError             exit 1   a layer's archive is damaged, or has an entry that no layer may have
    ├── BuildError                 exit 1   a step of a build failed; carries its place in the Dockerfile
    │   └── DockerfileError        exit 1   a Dockerfile is invalid
    ├── RunFailed                  exit 1   a program in a sandbox failed; carries its result
    ├── WaitTimeout                exit 1   a program in a sandbox is still running after the time to wait
    ├── SandboxFileError           exit 1   a file of a sandbox cannot be read or written
    └── RegistryError              exit 1   a registry refused, or cannot be reached

Each class has its exit code. `exec` exits with 255 for all of them, since 1 may be the command's own status. Messages
are in lower case, have no full stop, put values in double quotes, and end with the system's message. ``notes`` are
errors of the cleanup: they are appended and never replace the cause.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def words(error: BaseException) -> str:
    """The message of an error, without the number that Python puts before the system's message ("[Errno 2] ...")."""
    if isinstance(error, OSError) and error.strerror:
        about = error.filename.decode("utf-8", "replace") if isinstance(error.filename, bytes) else error.filename
        return f'"{about}": {error.strerror}' if about else error.strerror
    return str(error)


class Problem:
    """One mistake in a document, and how to correct it.

    ``where``   path in the document, for example ``mounts[7].destination``; empty for the document as a whole
    ``what``    the mistake, with the value, for example ``"rel" is not an absolute path``
    ``remedy``  what to write instead, for example ``write "/rel", or remove the mount``; may be empty
    ``spec``    the section that states the rule, for example ``config.md#mounts``; may be empty
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
    """The root of the tree. ``where``, ``step`` and ``spec``, if set, are keys of ``--log-format json``."""

    exit_code = 1
    for_people = False   # a command for people (validate): line breaks are kept even without a terminal
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
        """The error on one line, without the step, for logs and for programs that read them."""
        lines = str(self.args[0]).splitlines() + [f"and while cleaning up: {note}" for note in self.notes]
        return "; ".join(" [".join(part.strip() for part in line.split("     [")) for line in lines)


class ConfigError(PyruntimeError):
    """A document is invalid. ``problems`` has all problems that were found, in the order of the document."""

    def __init__(self, document: str, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(f"{document}: {problem}" for problem in problems))
        self.document = document
        self.problems = list(problems)
        if problems:
            self.where = problems[0].where
            self.spec = problems[0].spec


class HostError(PyruntimeError):
    """The host lacks something. ``where`` is the place in config.json that requires it."""

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
    """Three SIGINT or SIGTERM ended the command; the program in the container ignores them and keeps running."""


class NoSuchNetwork(StateError):
    """No network has this name."""


class NoSuchVolume(StateError):
    """No volume has this name."""


class RecordError(PyruntimeError):
    """A file that a pyruntime wrote is damaged, or ``unknown``: it has a format of a newer version. The message says
    what to do."""

    unknown = False


class StepError(PyruntimeError):
    """A step of a plan failed: ``index`` counts from 0, ``errno`` is 0 if no system call failed;
    ``place`` is the position of the step in the plan."""

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
    """systemd refused: ``name`` is the D-Bus name of the error, without the prefix that all of them share."""

    def __init__(self, what: str, name: str, text: str) -> None:
        super().__init__(f"systemd: {what}: {text or name}")
        self.name = name.rpartition(".")[2]


class CriuError(PyruntimeError):
    """CRIU failed. ``log`` is the path of its log, or empty if there is none; ``died``: it ended without an answer."""

    def __init__(self, message: str, log: str = "", *, died: bool = False) -> None:
        super().__init__(message)
        self.log = log
        self.died = died


class ImageError(PyruntimeError):
    """An image cannot be used. ``where`` names the invalid document, blob or reference."""

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(message)
        self.where = where


class NoSuchImage(ImageError):
    """No local image has that name."""


class DigestError(ImageError):
    """Content does not match its digest or its size (descriptor.md#verification)."""


class LayerError(ImageError):
    """A layer's archive is damaged, or has an entry that no layer may have. ``where`` is the entry's name."""


class BuildError(PyruntimeError):
    """A step of a build failed. ``where`` is its place, for example ``Dockerfile:7``."""

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(message)
        self.where = where


class DockerfileError(BuildError):
    """A Dockerfile is invalid; the message shows every problem with its line."""


class RunFailed(PyruntimeError):
    """A program in a sandbox did not exit with status 0. ``done`` is its result (pyruntime.sandbox.result.Done)."""

    def __init__(self, message: str, done: object) -> None:
        super().__init__(message)
        self.done = done


class WaitTimeout(PyruntimeError, TimeoutError):
    """A program in a sandbox is still running after the time that its caller wanted to wait."""


class SandboxFileError(PyruntimeError):
    """A file of a sandbox cannot be read or written: it is missing, not a regular file, or too large."""


class RegistryError(PyruntimeError):
    """A registry refused, or cannot be reached. ``status`` is the HTTP status, or 0 if there was no response."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


# Classes whose constructor takes only the message.
_PLAIN = (HostError, UsageError, StateError, ImageError, BuildError, RegistryError)


def told(name: str, text: str, where: str = "") -> PyruntimeError:
    """Rebuild an error of another pyruntime process from the name of its class and its message."""
    kind = globals().get(name)
    error = kind(text) if isinstance(kind, type) and issubclass(kind, _PLAIN) else PyruntimeError(text)
    error.where = where
    return error
