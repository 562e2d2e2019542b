"""Programs: suggestions for mistyped commands, and the modules of snapshots."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pyruntime.commandline.parse import Command
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


def test_modules_that_the_host_cannot_load_are_left_to_their_commands(tmp_path: Path,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lacking.py").write_text("from pyruntime.errors import HostError\nraise HostError('no libseccomp')\n")
    (tmp_path / "present.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    Program("a", Command("", "", ""), {}, "", lambda _: None, str, ahead=("lacking", "present")).load_all()
    assert "present" in sys.modules and "lacking" not in sys.modules
    del sys.modules["present"]
