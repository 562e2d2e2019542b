"""The document of a checkpoint of a sandbox: sandbox.json.

    PATH/sandbox.json   what the restored sandbox is made of: `SandboxRecord`
    PATH/image/         the processes (CRIU, pyruntime/runtime/lifecycle/checkpoint_image.py)
    PATH/files/         the directories of the sandbox's place, and (below/) the layers of a template
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from pyruntime.sandbox.configuration import filter_of
from pyruntime.sandbox.limits import Limits
from pyruntime.sandbox.settings import OPTIONS
from pyruntime.sandbox.sources import HostMount
from pyruntime.system.records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


_OF_PROGRAM: dict[str, Any] = {
    "number": int, "pid": int, "args": list, "seconds": (int, float, type(None)), "text": bool, "pipes": list}


@dataclass(frozen=True)
class SavedProgram:
    """A program of `popen` or `run`.

    ``number``   of its run; ``pid``: in the sandbox
    ``seconds``  until its time is over; None: never
    ``pipes``    the keys of its standard streams, "pipe:[N]"; "" for those that are empty
    """

    number: int
    pid: int
    args: Sequence[str]
    seconds: float | None
    text: bool
    pipes: Sequence[str]

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> SavedProgram:
        """Of sandbox.json. Raises ValueError."""
        for name, kinds in _OF_PROGRAM.items():
            if not isinstance(value[name], kinds):
                raise ValueError(f"{name} {value[name]!r}")
        return cls(**{**value, "args": [word if isinstance(word, str) else os.fsdecode(bytes(word))
                                        for word in value["args"]]})

    def document(self) -> dict[str, Any]:
        """As in sandbox.json: JSON has no texts for arguments that are not UTF-8, they are lists of bytes."""
        words = [os.fsencode(word) for word in self.args]
        return {**asdict(self), "args": [list(word) if _is_foreign(word) else word.decode() for word in words]}


@dataclass(frozen=True)
class SavedPipe:
    """A pipe from or to the outside.

    ``data``   what nobody had read; ``size``: how much it can hold, in bytes
    ``ended``  whether nobody could write to it any more
    """

    data: bytes
    size: int
    ended: bool

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> SavedPipe:
        """Of sandbox.json. Raises ValueError."""
        data = b64decode(value["data"], validate=True)
        if len(data) > value["size"]:
            raise ValueError(f"{len(data)} bytes in a pipe of {value['size']}")
        return cls(data, value["size"], bool(value["ended"]))

    def document(self) -> dict[str, Any]:
        """As in sandbox.json."""
        return {**asdict(self), "data": b64encode(self.data).decode()}


class SandboxRecord(Record):
    """sandbox.json.

    ``options``   of Sandbox
    ``layers``    directories, bottom first; ``image``: the store and the ID of the image that they are, or empty
    ``paths``     of a sandbox of the host's system, instead
    ``below``     how many layers of a template are above them, in the checkpoint; ``work``: whether /work has one, too
    ``env``, ``cwd``  the defaults of programs
    ``runs``      the number of the last run
    """

    FIELDS = ("options", "layers", "image", "paths", "below", "work", "env", "cwd", "runs", "programs", "pipes")
    NEEDED = FIELDS

    def __init__(self, **values: Any) -> None:
        self.options: dict[str, Any] = {}
        self.layers: list[str] = []
        self.image: list[str] = []
        self.paths: list[str] = []
        self.below = 0
        self.work = False
        self.env: list[str] = []
        self.cwd = ""
        self.runs = 0
        self.programs: list[SavedProgram] = []
        self.pipes: dict[str, SavedPipe] = {}
        self._set(values)

    def document(self) -> dict[str, Any]:
        """As of Record."""
        return {**super().document(), "programs": [program.document() for program in self.programs],
                "pipes": {key: pipe.document() for key, pipe in self.pipes.items()}}

    READ: Mapping[str, Callable[[Any], Any]] = {   # type: ignore[misc]
        "image": lambda value: _image_of(value),   # noqa: PLW0108 -- defined below
        "options": lambda value: _options_of(value),   # noqa: PLW0108 -- defined below
        "programs": lambda value: [SavedProgram.parse(program) for program in value],
        "pipes": lambda value: {key: SavedPipe.parse(pipe) for key, pipe in value.items()},
    }


def _is_foreign(word: bytes) -> bool:
    try:
        word.decode()
    except UnicodeDecodeError:
        return True
    return False


def written_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of Sandbox, as in sandbox.json."""
    limits, env, seccomp = options["limits"], options["env"], options["seccomp"]
    return {**options, "limits": asdict(limits) if limits else None, "env": dict(env) if env else None,
            "seccomp": None if seccomp is None else filter_of(seccomp),
            "mounts": [asdict(mount) for mount in options["mounts"]], "devices": list(options["devices"])}


def _options_of(value: Mapping[str, Any]) -> dict[str, Any]:
    limits, user = value["limits"], value["user"]
    if value.keys() != OPTIONS:
        raise ValueError(f"expected {', '.join(sorted(OPTIONS))}; got {', '.join(sorted(value))}")
    if value["checkpointable"] is not True:   # it would have too few cgroups for CRIU
        raise ValueError("the sandbox is not checkpointable")
    return {**value, "limits": Limits(**limits) if limits else None, "user": user if type(user) is int else tuple(user),
            "mounts": [HostMount(**mount) for mount in value["mounts"]]}


def _image_of(value: list[str]) -> list[str]:
    if value and (len(value) != 2 or not all(isinstance(part, str) for part in value)):
        raise ValueError(f"expected a store and an ID; got {value!r}")
    return value
