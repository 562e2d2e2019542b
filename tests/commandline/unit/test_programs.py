"""Suggestions for mistyped commands, in pyimage and pocker."""

from __future__ import annotations

import pytest

from pyruntime.commandline.program import Program
from pyruntime.images.cli.main import PROGRAM as PYIMAGE
from pyruntime.pocker.cli.main import PROGRAM as POCKER


@pytest.mark.parametrize(("program", "word", "hint"), [
    (POCKER, "rnu", "do you mean run?"), (POCKER, "xyzzy", "see `pocker --help`"),
    (POCKER, "image s", "do you mean images or image?"), (PYIMAGE, "pul", "do you mean pull?")])
def test_an_unknown_command(program: Program, word: str, hint: str,
                                       capfd: pytest.CaptureFixture[str]) -> None:
    assert program.main([word]) == 1
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("", f'error: "{word}" is not a command of {program.name}: {hint}\n')
