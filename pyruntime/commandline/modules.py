"""Modules that are loaded by their names: those of commands, when a command is called.

The names are only in static tables: Program (the commands of a program), Group (the members of a command) and
commandline.entry (the programs). A test reads these tables, checks that each module exists, and counts it as an import.
"""

from __future__ import annotations

import _frozen_importlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def load(name: str) -> Any:
    """The module of this name, imported if it was not: importlib.import_module, whose package costs 0.4 ms."""
    return _frozen_importlib._gcd_import(name)   # type: ignore[attr-defined]
