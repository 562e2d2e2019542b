"""Flags to settings: the environment, labels and annotations, from flags and files."""

from __future__ import annotations

import os

from pyruntime.commandline.units import wrong
from pyruntime.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyruntime.pocker.settings import ContainerSettings


def read(settings: ContainerSettings, given: dict[str, Any]) -> ContainerSettings:
    """The settings with those of the flags; a flag overrides a line of a file. Raises UsageError."""
    return settings.replace(
        env=environment(given.get("env", []), given.get("env-file", [])),
        labels=labels(given.get("label", []), given.get("label-file", [])),
        annotations=dict(_named("annotation", text) for text in given.get("annotation", [])))


def environment(words: list[str], files: list[str] | tuple[str, ...] = ()) -> list[str]:
    """NAME=VALUE of each word and line; of equal names the last one. NAME alone copies the caller's value, or is left
    out if the caller has none."""
    result: dict[str, str] = {}
    for path in files:
        for line in lines("env-file", path):
            if any(sign.isspace() for sign in line.partition("=")[0]):
                raise UsageError(f'--env-file "{path}": "{line:.60}": the name of a variable must not contain a space')
            _set(result, "env-file", line)
    for word in words:
        _set(result, "env", word)
    return [f"{name}={value}" for name, value in result.items()]


def _set(result: dict[str, str], flag: str, text: str) -> None:
    name, equals, value = text.partition("=")
    if not name:
        raise wrong(flag, text, "write NAME=VALUE, or NAME alone to copy the host's value")
    if "\0" in text:
        raise wrong(flag, text, "a variable must not contain a NUL byte")
    result.pop(name, None)
    if equals:
        result[name] = value
    elif name in os.environ:
        result[name] = os.environ[name]


def labels(words: list[str], files: list[str] | tuple[str, ...] = ()) -> dict[str, str]:
    """NAME[=VALUE] of each word and line."""
    result: dict[str, str] = {}
    for path in files:
        result.update(_named("label-file", line) for line in lines("label-file", path))
    result.update(_named("label", word) for word in words)
    return result


def _named(flag: str, text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name:
        raise wrong(flag, text, "write NAME=VALUE")
    return name, value


def lines(flag: str, path: str) -> Iterator[str]:
    """The lines of a file of a flag, without comments and empty ones. Raises UsageError."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(1 << 22)
    except (OSError, UnicodeDecodeError) as error:
        words = error.strerror if isinstance(error, OSError) else "the file is not UTF-8"
        raise UsageError(f'--{flag} "{path}": {words}') from None
    for line in text.removeprefix("\ufeff").split("\n"):
        line = line.lstrip().removesuffix("\r")
        if line and not line.startswith("#"):
            yield line
