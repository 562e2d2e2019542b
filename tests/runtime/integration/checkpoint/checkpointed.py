"""Containers that are written to disk, what is seen of them, and CRIUs that are none."""

from __future__ import annotations

import time
from pathlib import Path

from tests.containers import PATIENCE

# Its descriptors are the container's own: those of the fixture are of a kind (O_NOFOLLOW) that CRIU cannot open again.
QUIET = "exec </dev/null >/dev/null 2>&1; "
COUNT = QUIET + "n=0; while :; do n=$((n+1)); echo $n >/count; sleep 0.02; done"


def grows(path: Path) -> int:
    """Wait until the container writes another number than is there; the new one. What a stopped container has written
    may be cut off: the file is empty between opening and writing."""
    before, deadline = path.read_text() if path.exists() else "", time.monotonic() + PATIENCE
    while not (path.exists() and (text := path.read_text()).strip() and text != before):
        assert time.monotonic() < deadline, f"it still says {before!r}"
        time.sleep(0.005)
    return int(text)


def mountinfo(pid: int) -> dict[str, tuple[str, str]]:
    """The mounts of a process: place -> options of the mount, kind of filesystem."""
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
    """A program that has CRIU's version, and does ``swrk`` when it is asked for something."""
    return script(directory / "fake/criu", f'[ "$1" = swrk ] || {{ echo "Version: 4.1"; exit; }}\n{swrk}')
