"""What the program and its hooks are started with: descriptors, environment, identity."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.integration.conftest import COMMAND, PATIENCE, Bundle, Runtime


@pytest.mark.parametrize("closed", ["0", "1", "2", "0 1 2"])
def test_closed_standard_descriptors_become_dev_null(runtime: Runtime, bundle: Bundle, closed: str) -> None:
    bundle.save(process__args=["sleep", "100"])
    redirections = " ".join(f"{fd}<&-" for fd in closed.split())
    script = f'exec {redirections}; exec "$0" --root "$1" run --detach c1 "$2"'
    with subprocess.Popen(["sh", "-c", script, COMMAND, runtime.root, bundle.path], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        assert process.wait(PATIENCE) == 0
    fds = f"/proc/{runtime.state('c1')['pid']}/fd"
    assert {fd: os.readlink(f"{fds}/{fd}") for fd in os.listdir(fds)} == dict.fromkeys("012", "/dev/null")
