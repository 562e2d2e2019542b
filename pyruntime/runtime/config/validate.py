"""Find every violation of a schema, with its path, its value and a remedy.

This is the slow and precise side of ``check``: it imports jsonschema and runs only if ``conforms`` failed, in
``pyruntime validate``, and in tests.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError

from pyruntime.errors import Problem
from pyruntime.runtime.config.schemas import inlined
from pyruntime.runtime.config.text import GUESSES, nearest, shown
from pyruntime.system.json_path import member

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = {
    "config": "config.json",
    "process": "process.json",
    "resources": "resources.json",
    "state": "state.json",
    "features": "features.json",
}
_NAMES = {
    "integer": "a number",
    "string": "a string",
    "boolean": "true or false",
    "array": "an array",
    "object": "an object",
}
_CLASSES = {"integer": int, "string": str, "boolean": bool, "array": list, "object": dict}


def validate(value: object, kind: str = "config") -> list[Problem]:
    """All violations of the schema, in the document's order; empty if the document is valid.

    ``kind`` is one of KINDS. A member that is null counts as absent.
    """
    document = without_nulls(value)
    errors = list(_validator(kind).iter_errors(document))
    errors.sort(key=lambda error: _position(document, list(error.absolute_path)))
    problems = [_problem(error, kind, guess=number < GUESSES) for number, error in enumerate(errors)]
    if kind == "features" and not problems:
        problems = _version_order(document)
    return problems


def unknown_members(value: object, kind: str = "config") -> list[Problem]:
    """Warnings for members that the specification does not define and that are therefore ignored (config.md)."""
    problems = []
    for number, (where, name, known) in enumerate(_unknown(without_nulls(value), inlined(KINDS[kind]), "")):
        guess = nearest(name, known) if number < GUESSES else ""
        remedy = f'write "{guess}", if that is what you mean' if guess else "remove it if no program reads it"
        problems.append(Problem(where, "unknown property, ignored", remedy, "config.md#extensibility"))
    return problems


def without_nulls(value: Any) -> Any:
    """A copy without the members that are null. Nulls in arrays stay: removing them would shift the others."""
    if value.__class__ is dict:
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    if value.__class__ is list:
        return [without_nulls(item) for item in value]
    return value


@cache
def _validator(kind: str) -> Any:
    # JSON Schema accepts 1.0 as an integer, the stub's encoder does not; decode has already replaced it by 1.
    checker = Draft202012Validator.TYPE_CHECKER
    for name, kind_of in _CLASSES.items():
        checker = checker.redefine(name, lambda _, value, kind_of=kind_of: value.__class__ is kind_of)
    keywords = {"pattern": _pattern, "required": _required}
    extended: Any = validators.extend(Draft202012Validator, keywords, type_checker=checker)  # type: ignore[no-untyped-call]
    return extended(inlined(KINDS[kind]))


def _pattern(_: Any, pattern: str, value: object, __: Any) -> Iterator[ValidationError]:
    # In Python "$" also matches before a line break at the end; in JSON Schema it does not.
    if value.__class__ is str and not re.search(pattern.removesuffix("$") + r"\Z" * pattern.endswith("$"), str(value)):
        yield ValidationError("pattern")


def _required(_: Any, names: list[str], value: Any, __: Any) -> Iterator[ValidationError]:
    """Like jsonschema's "required", with the missing member in the path of the error."""
    if value.__class__ is dict:
        for name in names:
            if name not in value:
                yield ValidationError("required", path=[name])


def _position(value: Any, path: list[str | int]) -> list[int]:
    """A sort key in the order of the document; missing members come after existing ones."""
    position = []
    for part in path:
        if isinstance(part, int):
            position.append(part)
            value = value[part]
        else:
            names = list(value)
            position.append(names.index(part) if part in value else len(names))
            value = value.get(part)
    return position


def _problem(error: ValidationError, kind: str, *, guess: bool) -> Problem:
    path = list(error.absolute_path)
    where = ""
    for part in path:
        where = f"{where}[{part}]" if isinstance(part, int) else member(where, part)
    node, spec = _schema_at(kind, path)
    what, remedy = _WORDS[str(error.validator)](error, node) if guess or error.validator != "enum" else _listed(
        error, node)
    return Problem(where, what, remedy, spec)


def _schema_at(kind: str, path: list[str | int]) -> tuple[dict[str, Any], str]:
    """The schema of the value at ``path``, and the closest section of the specification."""
    node = inlined(KINDS[kind])
    spec = node["x-spec"]
    for part in path:
        node = (
            node["items"]
            if isinstance(part, int)
            else node.get("properties", {}).get(part) or node["additionalProperties"]
        )
        spec = node.get("x-spec", spec)
    return node, spec


def _type(error: ValidationError, node: dict[str, Any]) -> tuple[str, str]:
    wanted = node["type"]
    value: Any = error.instance
    name = "a whole number" if wanted == "integer" and value.__class__ is float else _NAMES[wanted]
    return f"expected {name}, got {_kind(value)}", _converted(wanted, value) or node.get("x-remedy") or f"write {name}"


def _converted(wanted: str, value: Any) -> str:
    """The remedy if the value is right but has the wrong type."""
    text = value.strip() if value.__class__ is str else ""
    if wanted == "integer" and text.removeprefix("-").isdecimal():
        return f"write {text} without the quotes"
    if wanted == "boolean" and text.lower() in ("true", "false"):
        return f"write {text.lower()} without the quotes"
    if wanted == "boolean" and value in (0, 1) and value.__class__ is int:
        return "write true" if value else "write false"
    if wanted == "string" and value.__class__ is int:
        return f'write "{value}" in double quotes'
    if wanted == "array" and value.__class__ is str:
        return f"write [{shown(value)}]"
    return ""


def _kind(value: Any) -> str:
    if value.__class__ is str:
        return f"the string {shown(value)}"
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if value.__class__ in (int, float):
        return f"the number {value}"
    return {dict: "an object", list: "an array"}.get(value.__class__, f"a {type(value).__name__}")


def _enum(error: ValidationError, node: dict[str, Any]) -> tuple[str, str]:
    what, remedy = _listed(error, node)
    guess = nearest(error.instance, tuple(node["enum"])) if isinstance(error.instance, str) else ""
    return what, f'write "{guess}", if that is what you mean' if guess else remedy


def _listed(error: ValidationError, node: dict[str, Any]) -> tuple[str, str]:
    text = error.instance if isinstance(error.instance, str) else ""
    what = _filled(node.get("x-problem", "{quoted} is not one of the values allowed here"), text)
    return what, "write one of " + ", ".join(f'"{word}"' for word in node["enum"])


def _form(error: ValidationError, node: dict[str, Any]) -> tuple[str, str]:
    template = node.get("x-problem", "{quoted} does not have the form " + str(error.validator_value))
    remedy = node.get("x-pattern-remedy") or node.get("x-remedy") or "write it in that form"
    return _filled(template, str(error.instance)), remedy


def _filled(template: str, text: str) -> str:
    return template.replace("{quoted}", shown(text)).replace("{value}", shown(text)[1:-1])


def _range(error: ValidationError, node: dict[str, Any]) -> tuple[str, str]:
    side = "below" if error.validator == "minimum" else "above"
    limits = f"write a number from {node['minimum']} to {node['maximum']}" if "maximum" in node else ""
    remedy = node.get("x-remedy") or limits or f"write a number that is not {side} {error.validator_value}"
    return f"{error.instance} is {side} {error.validator_value}", remedy


def _missing(_: ValidationError, node: dict[str, Any]) -> tuple[str, str]:
    return node.get("x-missing", "is missing"), node.get("x-remedy") or f"add it, as {_NAMES[node['type']]}"


def _empty(_: ValidationError, node: dict[str, Any]) -> tuple[str, str]:
    return "must not be empty", node.get("x-remedy", "write at least one")


_WORDS = {
    "type": _type,
    "enum": _enum,
    "pattern": _form,
    "minimum": _range,
    "maximum": _range,
    "required": _missing,
    "minItems": _empty,
    "minLength": _empty,
}


def _unknown(value: Any, node: dict[str, Any], where: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Place and name of each unknown member, and the known members there."""
    if value.__class__ is dict:
        known = node.get("properties", {})
        for name, item in value.items():
            below = known.get(name) or node.get("additionalProperties")
            if below:
                yield from _unknown(item, below, member(where, name))
            elif known:
                yield member(where, name), name, tuple(known)
    elif value.__class__ is list and "items" in node:
        for index, item in enumerate(value):
            yield from _unknown(item, node["items"], f"{where}[{index}]")


def _version_order(document: dict[str, Any]) -> list[Problem]:
    """features.md: ociVersionMax must not be less than ociVersionMin."""
    least, most = (
        [int(number) for number in document[name].partition("+")[0].partition("-")[0].split(".")]
        for name in ("ociVersionMin", "ociVersionMax")
    )
    if least <= most:
        return []
    what = f'"{document["ociVersionMax"]}" is less than ociVersionMin, "{document["ociVersionMin"]}"'
    return [Problem("ociVersionMax", what, "swap the two", "features.md#specification-version")]
