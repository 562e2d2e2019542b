"""A copy of the Python interpreter, so that the bench does not keep pyruntime's interpreter in the page cache.

Dropping caches does not drop pages that a process has mapped. The bench itself runs in Python: without a copy, the
interpreter would be the one program that is never cold.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

_TOP = Path(__file__).resolve().parent.parent
_VARIABLE = "BENCH_INTERPRETER"   # the directory of the copy
_SET = ("LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")


def execute_copy(module: str, words: list[str]) -> None:
    """Replace this process by ``python -m MODULE WORDS`` with a copy of the interpreter, its library and its extension
    modules."""
    directory = Path(tempfile.mkdtemp(prefix="pyruntime-bench-python-"))
    shutil.copy(os.path.realpath(sys.executable), directory / "python")
    library = Path(sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME") or "none")
    if library.is_file():
        shutil.copy(library, directory)
    shutil.copytree(sysconfig.get_config_var("DESTSHARED"), directory / "extensions")
    values = (str(directory), sys.base_prefix, f"{directory}/extensions:{_TOP}", "1")
    try:
        os.execve(directory / "python", ["python", "-m", module, *words],
                  {**os.environ, _VARIABLE: str(directory), **dict(zip(_SET, values, strict=True))})
    finally:
        shutil.rmtree(directory)   # not reached unless execve has failed


def is_copy() -> bool:
    """Whether this process is the copy."""
    return _VARIABLE in os.environ


def clean_environment(environment: dict[str, str]) -> dict[str, str]:
    """The environment for measured commands: without the variables that the copy needs, and without faults to
    inject."""
    dropped = (*_SET, _VARIABLE) if is_copy() else ()
    return {key: value for key, value in environment.items() if key not in (*dropped, "PYRUNTIME_FAULT")}


def remove_copy() -> None:
    """Remove the copy's files; the process keeps what it has mapped."""
    shutil.rmtree(os.environ[_VARIABLE])
