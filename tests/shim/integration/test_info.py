"""`-v` and `-info`, which the program answers itself."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from pyruntime._version import __version__, commit
from pyruntime.runtime.api import Runtime
from pyruntime.shim import messages
from pyruntime.shim.features import header
from tests.conftest import TOP
from tests.shim.client import SHIM, ran

CRIU = "org.opencontainers.runc.checkpoint.enabled"


def test_the_header_is_current() -> None:
    assert (TOP / "pyruntime/native/shim/features.h").read_text() == header(), "run `make generate`"


@pytest.mark.parametrize("flag", ["-v", "--v", "-version", "--version"])
def test_version(flag: str) -> None:
    lines = f"containerd-shim-pyruntime-v2:\n  Version:  {__version__}\n  Revision: {commit()}\n"
    assert ran([SHIM, flag]).stdout.decode() == lines


@pytest.mark.parametrize("flag", ["-info", "--info"])
@pytest.mark.parametrize("criu", [False, True])
def test_info(flag: str, criu: bool, tmp_path: Path) -> None:
    """The features are those of `pyruntime features`; the options come back."""
    if criu:
        (tmp_path / "criu").write_text("#!/bin/sh\n")
        (tmp_path / "criu").chmod(0o755)
    options = messages.ANY.encode({"type_url": "some.Type", "value": os.urandom(20000)})
    for given in (options, b""):
        done = ran([SHIM, flag], input=given, env={"PATH": f"/nowhere::{tmp_path}"})
        assert done.returncode == 0 and not done.stderr
        info = messages.RUNTIME_INFO.decode(done.stdout)
        assert info["name"] == "io.containerd.pyruntime.v2"
        assert info["version"] == {"version": __version__, "revision": commit()}
        assert info["options"] == (messages.ANY.decode(options) if given else None)
        assert info["features"]["type_url"] == "types.containerd.io/opencontainers/runtime-spec/1/features/Features"
        features = json.loads(info["features"]["value"])
        expected = Runtime.features()
        del expected["annotations"]["io.github.seccomp.libseccomp.version"]
        expected["annotations"][CRIU] = str(criu).lower()
        assert features == json.loads(json.dumps(expected))


def test_no_python_is_needed(tmp_path: Path) -> None:
    alone = str(shutil.copy(SHIM, tmp_path))
    for flag in ("-v", "-info"):
        assert ran([alone, flag], input=b"", env={}).returncode == 0
