"""Apply the rules to a document without the sections that violate the schema.

One mistake of structure does not hide the others, and no rule complains about a removed section.
"""

from __future__ import annotations

from pyruntime.runtime.config import rules
from pyruntime.runtime.config.check import conforms
from pyruntime.runtime.config.node import Node
from pyruntime.runtime.config.validate import without_nulls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyruntime.errors import Problem

_KINDS = ("pid", "network", "mount", "ipc", "uts", "cgroup", "time")
_ANY_NAMESPACES = [*({"type": kind} for kind in _KINDS), {"type": "user", "path": "/proc/self/ns/user"}]
"""Replaces invalid namespaces: with these, every setting has the namespace that it needs."""


def remaining_problems(value: object, found: Sequence[Problem]) -> list[Problem]:
    """The problems of the rules in sections without problems of the schema (``found``)."""
    document = without_nulls(value)
    if document.__class__ is not dict:
        return []
    broken = {_section(problem.where) for problem in found}
    if not document.get("linux") and broken & {"freebsd", "solaris", "windows", "zos"}:
        return []  # without that section the document would be checked as a document for Linux
    rest = {name: item for name, item in document.items() if name not in broken}
    if rest.get("linux").__class__ is dict:
        rest["linux"] = {name: item for name, item in rest["linux"].items() if f"linux.{name}" not in broken}
    if "ociVersion" in broken:
        rest["ociVersion"] = rules.VERSION
    if broken & {"linux", "linux.namespaces"}:
        rest["linux"] = {**rest.get("linux", {}), "namespaces": _ANY_NAMESPACES}
    if not conforms(rest):  # a key with a dot or a bracket, which _section mistakes for a path
        return []
    return [problem for problem in rules.problems(Node(rest)) if _section(problem.where) not in broken]


def _section(where: str) -> str:
    """The member of the document, or of its linux member, that contains ``where``."""
    parts = where.replace("[", ".").split(".")
    return ".".join(parts[:2]) if parts[0] == "linux" else parts[0]
