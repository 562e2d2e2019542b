"""CRIU for tests: the host's, or that of tools/install-criu."""

from __future__ import annotations

import functools
import os
import subprocess

import pytest

from tests.conftest import TOP


@functools.cache
def provided() -> tuple[str, str]:
    """The directory of a working CRIU, or the reason why there is none."""
    done = subprocess.run([TOP / "tools/install-criu"], capture_output=True, text=True, check=False, timeout=300)
    directory = done.stdout.strip()
    if done.returncode or not directory:
        return "", f"no CRIU 4.1 or later, and it cannot be downloaded: {done.stderr.strip() or done.returncode}"
    checked = subprocess.run([f"{directory}/criu", "check"], capture_output=True, text=True, check=False, timeout=60)
    if checked.returncode:
        return "", f"CRIU cannot work with this kernel: {(checked.stderr or checked.stdout).strip()}"
    return directory, ""


def path_with_criu() -> str:
    """A PATH with a working CRIU; skips the test with the reason if there is none."""
    directory, reason = provided()
    if reason:
        pytest.skip(reason)
    return f"{directory}:{os.environ['PATH']}"
