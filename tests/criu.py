"""A CRIU for tests: the machine's, or the one that tools/install-criu provides."""

from __future__ import annotations

import functools
import os
import subprocess

import pytest

from tests.conftest import TOP


@functools.cache
def provided() -> tuple[str, str]:
    """The directory of a CRIU that works here, or why there is none."""
    done = subprocess.run([TOP / "tools/install-criu"], capture_output=True, text=True, check=False, timeout=300)
    directory = done.stdout.strip()
    if done.returncode or not directory:
        return "", f"no CRIU of 4.1 or later, and none can be fetched: {done.stderr.strip() or done.returncode}"
    checked = subprocess.run([f"{directory}/criu", "check"], capture_output=True, text=True, check=False, timeout=60)
    if checked.returncode:
        return "", f"CRIU cannot work with this kernel: {(checked.stderr or checked.stdout).strip()}"
    return directory, ""


def path_with_criu() -> str:
    """A PATH that has a working CRIU in it; skips the test, and says why, where there can be none."""
    directory, reason = provided()
    if reason:
        pytest.skip(reason)
    return f"{directory}:{os.environ['PATH']}"
