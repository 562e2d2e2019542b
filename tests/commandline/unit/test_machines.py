"""Where there are no snapshots, commands start an interpreter, and none is started in vain to take one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from pyruntime.commandline import snapshot


def test_other_machines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="aarch64"))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a program was started"))
    assert snapshot.write("pyruntime", str(tmp_path / "new/pyruntime.snapshot")) == "there are none on aarch64"
    snapshot.renew("pyruntime", str(tmp_path / "new/pyruntime.snapshot"))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
