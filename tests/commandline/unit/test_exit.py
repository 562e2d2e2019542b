"""The end of a command: at once, without losing output or exit handlers."""

from __future__ import annotations

import subprocess
import sys

import pytest


def end(code: str, redirection: str = "") -> subprocess.CompletedProcess[str]:
    """Run Python code that ends with ``leave(7)``; a shell may redirect its output."""
    program = f"import sys\nfrom pyruntime.commandline.program import leave\n{code}\nleave(7)\n"
    return subprocess.run(["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-IS", "-c",
                           f"import sys; sys.path[:0] = {sys.path!r}\n{program}"],
                          capture_output=True, text=True, check=False)


def test_output_is_flushed() -> None:
    done = end("sys.stdout.write('out'); sys.stderr.write('err')")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out", "err")


@pytest.mark.parametrize("code", [
    "import atexit; atexit.register(print, 'called')",
    "import threading; threading.Timer(0.2, print, ['called']).start()",
    "import tempfile, weakref; weakref.finalize(leave, print, 'called')"])
def test_exit_functions_are_called(code: str) -> None:
    done = end(code)
    assert (done.returncode, done.stdout) == (7, "called\n"), done.stderr


def test_the_interpreter_is_not_finalized() -> None:
    done = end("class Last:\n    def __del__(self): print('too late')\nlast = Last()")
    assert (done.returncode, done.stdout) == (7, "")


def test_an_error_of_writing_output_is_reported() -> None:
    done = end("print('lost')", ">/dev/full")
    assert done.returncode == 120 and "No space left on device" in done.stderr


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_descriptors(redirection: str) -> None:
    assert end("print('nowhere')", redirection).returncode == 7
