"""Find and read the JSON Schemas. Not for the hot path: it imports json."""

from __future__ import annotations

import json
import os
from functools import cache
from typing import Any

from pyruntime.system.installed import PACKAGE

FILES = (
    "config.json",
    "features.json",
    "freebsd.json",
    "linux.json",
    "process.json",
    "resources.json",
    "seccomp.json",
    "solaris.json",
    "state.json",
    "types.json",
    "vm.json",
    "windows.json",
    "zos.json",
)


def directory() -> str:
    """The absolute path of the directory ``spec``.

    In an installation it is the package ``pyruntime.spec``; in the source tree it is beside ``pyruntime``. Raises
    FileNotFoundError if it is in neither place.
    """
    for path in (os.path.join(PACKAGE, "spec"), os.path.join(os.path.dirname(PACKAGE), "spec")):
        if os.path.isfile(os.path.join(path, "runtime", "config.json")):
            return path
    raise FileNotFoundError(f'the schemas are missing: no "spec/runtime/config.json" in or beside "{PACKAGE}"')


@cache
def schema(file: str) -> dict[str, Any]:
    """The schema in ``runtime/<file>``; callers must not change it."""
    with open(os.path.join(directory(), "runtime", file), encoding="utf-8") as stream:
        loaded: dict[str, Any] = json.load(stream)
    return loaded


def resolve(file: str, node: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """``node`` with its ``$ref`` replaced by the referenced schema, and the file that contains it.

    Annotations of the node itself take precedence over those of the referenced schema.
    """
    while "$ref" in node:
        target, _, pointer = node["$ref"].partition("#")
        file = target or file
        found: Any = schema(file)
        for part in pointer.split("/")[1:]:
            found = found[part]
        node = {**found, **{key: value for key, value in node.items() if key != "$ref"}}
    return file, node


@cache
def inlined(file: str) -> dict[str, Any]:
    """The schema in ``runtime/<file>`` with every ``$ref`` replaced, so that a validator needs no other file."""
    return _inline(file, schema(file))


def _inline(file: str, node: dict[str, Any]) -> dict[str, Any]:
    file, node = resolve(file, node)
    whole = {}
    for key, value in node.items():
        if key == "properties":
            whole[key] = {name: _inline(file, below) for name, below in value.items()}
        elif key in ("items", "additionalProperties", "if", "then"):
            whole[key] = _inline(file, value)
        elif key not in ("$defs", "$schema"):  # a nested $schema would make jsonschema drop our own keywords
            whole[key] = value
    return whole
