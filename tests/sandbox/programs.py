"""Programs in a sandbox of a test."""

from __future__ import annotations

import time

from pyruntime import Sandbox


def sh(box: Sandbox, script: str, **options: object) -> str:
    """The standard output of a shell script that has to succeed."""
    done = box.run(["sh", "-c", script], text=True, check=True, **options)  # type: ignore[arg-type]
    return str(done.stdout)


def await_programs(box: Sandbox, name: str, count: int = 1) -> None:
    """Wait until so many of these programs run."""
    deadline = time.monotonic() + 60
    while sh(box, "ps").count(name) < count:
        assert time.monotonic() < deadline, f"not {count} of {name}"
        time.sleep(0.02)
