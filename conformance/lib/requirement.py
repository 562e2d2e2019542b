"""The registry of our cases: each is a function with the section and the requirement that it tests.

    @requirement("runtime.md#state", "the state names the container's id")
    def state_has_id(t: Trial) -> None: ...

The requirement is in our own words; the section refers to the text of the specification.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conformance.lib.trial import Trial

Body = Callable[["Trial"], None]


@dataclass(frozen=True)
class Case:
    """``level`` is the keyword of the specification: MUST, MUST NOT, SHALL, SHOULD or SHOULD NOT."""

    name: str
    section: str
    rule: str
    level: str
    body: Body


_cases: dict[str, Case] = {}


def requirement(section: str, rule: str, *, level: str = "MUST", name: str = "") -> Callable[[Body], Body]:
    """Register a case under ``module.function`` (or ``module.name``, for functions made in a loop)."""

    def register(body: Body) -> Body:
        module = body.__module__.rpartition(".")[2]
        full = f"{module}.{name or body.__name__}"
        if full in _cases:
            raise ValueError(f"two cases are named {full}")
        _cases[full] = Case(full, section, rule, level, body)
        return body

    return register


def all_cases() -> list[Case]:
    """Every case of every module below ``conformance.cases``, in the order of the modules' names and sources."""
    package = importlib.import_module("conformance.cases")
    for module in sorted(entry.name for entry in pkgutil.iter_modules(package.__path__)):
        importlib.import_module(f"conformance.cases.{module}")
    return list(_cases.values())
