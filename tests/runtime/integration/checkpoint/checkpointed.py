"""Containers to checkpoint, checks of their state, and fake CRIU programs."""

from __future__ import annotations

import time
from pathlib import Path

from tests.containers import PATIENCE

# Own descriptors of the container: CRIU cannot reopen those of the fixture (O_NOFOLLOW).
QUIET = "exec </dev/null >/dev/null 2>&1; "
COUNT = QUIET + "n=0; while :; do n=$((n+1)); echo $n >/count; sleep 0.02; done"


def grows(path: Path) -> int:
    """Wait until the container writes another number; return the new number. The output of a stopped container may be
    cut off: the file is empty between open and write."""
    before, deadline = path.read_text() if path.exists() else "", time.monotonic() + PATIENCE
    while not (path.exists() and (text := path.read_text()).strip() and text != before):
        assert time.monotonic() < deadline, f"it still says {before!r}"
        time.sleep(0.005)
    return int(text)


def mountinfo(pid: int) -> dict[str, tuple[str, str]]:
    """The mounts of a process: mount point -> options of the mount, filesystem type."""
    found = {}
    for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split()
        found[fields[4]] = (fields[5], right.split()[0])
    return found


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def fake_criu(directory: Path, swrk: str) -> Path:
    """A program that prints CRIU's version, and runs the script ``swrk`` for a request."""
    return script(directory / "fake/criu", f'[ "$1" = swrk ] || {{ echo "Version: 4.1"; exit; }}\n{swrk}')
