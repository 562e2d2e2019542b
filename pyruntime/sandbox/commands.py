"""What the callers of runs give, and what they get."""

from __future__ import annotations

import os
from collections.abc import Mapping
from math import isnan

from pyruntime.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyruntime.sandbox.result import Done

    AnyPath = str | os.PathLike[str]


def words_of(argv: Sequence[str]) -> list[str]:
    """A program and its arguments. Raises UsageError."""
    if not argv or isinstance(argv, (str, bytes)):
        raise UsageError(f'argv {argv!r}: give a list of the program and its arguments')
    try:
        return [os.fsdecode(word) for word in argv]
    except TypeError:
        raise UsageError(f"argv {argv!r}: write every argument as a text, as str(5)") from None


def variables_of(env: Mapping[str, str] | None) -> list[str] | None:
    """An environment, as execve(2) takes it. Raises UsageError."""
    if env is None:
        return None
    if not isinstance(env, Mapping):
        raise UsageError(f'env {env!r}: give a dictionary, as {{"NAME": "value"}}')
    for name, value in env.items():
        if not (isinstance(name, str) and isinstance(value, str) and name) or "=" in name or "\0" in name + value:
            raise UsageError(f'env {{{name!r}: {value!r}}}: give texts, and a name without "="')
    return [f"{name}={value}" for name, value in env.items()]


def seconds_of(timeout: float | None, otherwise: float | None) -> float | None:
    """A time limit; ``otherwise``: that of a run without one. Raises UsageError."""
    if timeout is None:
        return otherwise
    if not isinstance(timeout, (int, float)) or isnan(timeout):
        raise UsageError(f"timeout {timeout!r}: give a number of seconds, or None")
    return timeout


def bytes_of(data: bytes | str) -> bytes:
    """Input, or the content of a file. Raises UsageError."""
    if not isinstance(data, (str, bytes, bytearray, memoryview)):
        raise UsageError(f"data of the type {type(data).__name__}: give bytes or a text")
    return data.encode() if isinstance(data, str) else data


def path_of(name: str, path: AnyPath) -> str:
    """A path; ``name``: of the parameter. Raises UsageError."""
    if not isinstance(path, (str, os.PathLike)):
        raise UsageError(f"{name} {path!r}: give a path, as a text or a Path")
    return os.fsdecode(path)


def finished(done: Done, *, text: bool, check: bool) -> Done:
    """The result as the caller of `Sandbox.run` wants it."""
    if text:
        done = done.decoded()
    return done.check() if check else done
