"""What the callers of runs give, and what they get."""

from __future__ import annotations

import os

from pyruntime.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyruntime.sandbox.result import Done


def words_of(argv: Sequence[str]) -> list[str]:
    """A program and its arguments. Raises UsageError."""
    if not argv or isinstance(argv, (str, bytes)):
        raise UsageError(f'argv {argv!r}: give a list of the program and its arguments')
    return [os.fsdecode(word) for word in argv]


def variables_of(env: Mapping[str, str] | None) -> list[str] | None:
    """An environment, as execve(2) takes it."""
    return None if env is None else [f"{name}={value}" for name, value in env.items()]


def text_of(data: bytes | str | None) -> bytes | None:
    """Input, or the content of a file."""
    return data.encode() if isinstance(data, str) else data


def finished(done: Done, *, text: bool, check: bool) -> Done:
    """The result as the caller of `Sandbox.run` wants it."""
    if text:
        done = done.decoded()
    return done.check() if check else done
