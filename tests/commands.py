"""The commands under test: those of this checkout, of ``--commands DIRECTORY``, or in PATH."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.conftest import COMMANDS, TOP


def _directory() -> Path:
    """The directory of the commands; symbolic links are kept, since a package may install its commands as links."""
    if chosen := os.environ.get(COMMANDS):
        return Path(chosen).absolute()
    built = TOP / ".venv/bin"
    if not (built / "pyruntime").exists() and (found := shutil.which("pyruntime")):
        return Path(found).parent
    return built


BIN = _directory()
COMMAND = BIN / "pyruntime"
