"""Records that are damaged, or that a newer version wrote: no command ends in a traceback, an error names the file, the
rest of the state can be used, and what is damaged can be removed."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.upgrade.integration.states import Left, left_by

pytestmark = [pytest.mark.root, pytest.mark.skipif(platform.machine() != "x86_64", reason=(
    "the images that earlier versions have left have programs for x86-64"))]

# Below the place of the state; "ended" and "killed" stand for the directory of the container.
FILES = ("ended/container.json", "ended/run.json", "ended/exit", "ended/config.json", "ended/.pyimage",
         "killed/container.json", "killed/run.json", "pocker/volumes/data/volume.json", "pocker/networks/lab.json",
         "run/networks/containers/*", "run/networks/up/lab", "run/networks/names", "run/runtime/*/state.json",
         "run/runtime/*/exec.json", "store/version", "store/names/*:1", "store/layers/*/info", "store/bundles/*",
         "store/cache/steps/*")
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("pocker", "ps", "-a"), ("pocker", "inspect", "ended"), ("pocker", "volume", "ls"), ("pocker", "images"),
    ("pocker", "network", "inspect", "lab"), ("pyimage", "verify"), ("pocker", "start", "-a", "ended"),
    ("pocker", "start", "killed"))
REMOVALS: tuple[tuple[str, ...], ...] = (
    ("pocker", "rm", "-f", "-v", "killed"), ("pocker", "rm", "-f", "-v", "ended", "created"),
    ("pocker", "network", "rm", "lab"), ("pocker", "volume", "rm", "data"),
    ("pocker", "system", "prune", "-a", "-f", "--volumes"))


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Left]:
    """The state of the last release."""
    with left_by("0.1.0", tmp_path) as found:
        yield found


def damaged(data: bytes, damage: str) -> bytes:
    """The content of a file, damaged."""
    if damage == "nulls":
        try:
            value = json.loads(data)
        except ValueError:
            return bytes(len(data))
        return json.dumps({name: None for name in value}).encode()
    if damage == "newer":
        try:
            value = json.loads(data)
        except ValueError:
            return b"99\n"
        return json.dumps({**value, "version": 99}).encode()
    return b""


@pytest.mark.parametrize("damage", ["empty", "nulls", "newer"])
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_record_is_named_and_can_be_removed(left: Left, file: str, damage: str) -> None:
    first, _, rest = file.partition("/")
    place = left.directory(first) if first in ("ended", "killed") else left.path / first
    paths = sorted(place.glob(rest))
    assert paths, file
    for path in paths:
        path.write_bytes(damaged(path.read_bytes(), damage))
    problems = []
    for program, *words in COMMANDS:
        done = left(*words, program=program)   # a traceback is a failure
        if done.returncode and not any(str(path) in done.stdout + done.stderr for path in paths):
            problems.append((words, done.returncode, done.stderr[-600:]))
    for program, *words in REMOVALS:
        done = left(*words, program=program)
        if done.returncode and any(str(path) in done.stderr for path in paths):
            for path in paths:   # as the message says
                shutil.rmtree(path.parent) if path.name == "volume.json" else path.unlink(missing_ok=True)
            done = left(*words, program=program)
            if done.returncode and "no such" in done.stderr:   # that was all of it
                continue
        if done.returncode:
            problems.append((words, done.returncode, done.stderr[-600:]))
    assert problems == []
    shutil.rmtree(left.path / "unpacked")
    left.ok("prune", program="pyimage")
    left.check()
