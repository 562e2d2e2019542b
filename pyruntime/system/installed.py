"""Where the package is installed: its programs in C, its documents."""

from __future__ import annotations

import os

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))   # the directory pyruntime/


def native(name: str) -> str:
    """The path of the program that is built from pyruntime/native/NAME."""
    return os.path.join(PACKAGE, "native", name, name)
