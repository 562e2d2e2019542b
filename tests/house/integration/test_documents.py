"""Run all commands of the documents, including those that need root."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.containers import Leftovers, Runtime
from tests.house.unit.test_documents import WITH_COMMANDS, examples, play

WITH_ROOT = [name for name in WITH_COMMANDS if any(example.root for example in examples(name))]


@pytest.mark.parametrize("document", WITH_ROOT)
def test_commands(document: str, tmp_path: Path) -> None:
    runtime = Runtime(tmp_path / "home/state")
    leftovers = Leftovers(runtime.root)
    os.chmod(tmp_path, 0o755)
    try:
        play(document, tmp_path, root=True)
    finally:
        for name in runtime.ok("list", "-q").split() if runtime.root.is_dir() else []:
            runtime("delete", "--force", name)
    leftovers.check()
    _check_pocker(tmp_path)


def _check_pocker(path: Path) -> None:
    """Nothing of pocker is left: no containers and no processes; the name server exits a second after the last
    container."""
    assert not list(path.glob("home/pocker/containers/*"))
    deadline = time.monotonic() + 20
    while left := [entry.name for entry in Path("/proc").glob("[0-9]*") if _speaks_of(entry, path)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def _speaks_of(process: Path, path: Path) -> bool:
    try:
        return str(path).encode() in (process / "cmdline").read_bytes()
    except OSError:
        return False   # it has exited


def test_documents_with_commands_exist() -> None:
    assert {"README.md", "HACKING.md"} <= set(WITH_ROOT)
