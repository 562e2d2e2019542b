"""The default state directory, without --root."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import TOP


@pytest.mark.parametrize(("environment", "inside", "expected"), [
    ({}, False, "/run/pyruntime"),
    ({"XDG_RUNTIME_DIR": "/x"}, False, "/run/pyruntime"),
    ({"XDG_RUNTIME_DIR": "/x"}, True, "/x/pyruntime"),
    ({"XDG_RUNTIME_DIR": "/x", "USER": "me"}, True, "/x/pyruntime"),
    ({"XDG_RUNTIME_DIR": "/x", "USER": "root"}, True, "/run/pyruntime"),
    ({"XDG_RUNTIME_DIR": ""}, True, "/run/pyruntime"),
])
def test_the_default_root(environment: dict[str, str], inside: bool, expected: str) -> None:
    """Rootless Podman calls the runtime as root of a user namespace."""
    if Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]:
        pytest.skip("the tests themselves run in a user namespace")
    command = [sys.executable, "-c",
               "from pyruntime.runtime.lifecycle.store import default_root; print(default_root())"]
    if inside:
        command = ["unshare", "--user", "--map-root-user", *command]
    done = subprocess.run(command, cwd=TOP, env={"PATH": "/usr/bin:/bin", **environment}, capture_output=True,
                          text=True, check=True)
    assert done.stdout == expected + "\n"
