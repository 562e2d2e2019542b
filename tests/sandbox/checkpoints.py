"""What tests of checkpoints share: a place for them, and programs to save."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyruntime import Sandbox
from pyruntime.sandbox.api import PIPE, STDOUT, Process
from pyruntime.sandbox.settings import NOBODY
from pyruntime.system.restrictions import capable
from tests.criu import path_with_criu

# CRIU may read the limits of other users' processes with this capability only.
WHO = NOBODY if capable("CAP_SYS_RESOURCE") else 0
PYTHON = ["python3", "-i", "-q"]
_started: list[Process] = []


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Where to write a checkpoint, with CRIU in PATH; afterwards nothing is beside it."""
    if tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) < (6, 15):
        pytest.skip("checkpointable sandboxes need Linux 6.15")
    monkeypatch.setenv("PATH", path_with_criu())
    place = tmp_path / "checkpoints"
    place.mkdir()
    yield place / "saved"
    while _started:
        _started.pop().close()
    assert set(os.listdir(place)) <= {"saved", "again"}
    subprocess.run(["rm", "-rf", place], check=True)   # some are deeper than Python's stack, with which pytest removes


def start(box: Sandbox, argv: list[str], **options: Any) -> Process:
    """As box.popen; closed after the test."""
    _started.append(box.popen(argv, **options))
    return _started[-1]


def interpreter(box: Sandbox, code: str) -> Process:
    """A started Python that has executed this code."""
    process = start(box, PYTHON, stdin=PIPE, stderr=STDOUT, text=True)
    assert ask(process, f"{code}; print('loaded')") == "loaded"
    return process


def ask(process: Process, code: str) -> str:
    """The next line that the interpreter prints."""
    assert process.stdin and process.stdout
    process.stdin.write(f"{code}\n")
    return str(process.stdout.readline()).rpartition(">>> ")[2].strip()
