"""Programs without a package in Debian 12, built with the Go toolchain from pinned modules and cached between runs.

``python -m tests.clients.builds`` builds them if the host can.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

CACHE = Path(os.environ.get("CLIENT_CACHE", Path.home() / ".cache/pyruntime-clients"))
CONTAINERD = "v2.4.2"
OLDEST_GO = (1, 24)   # since 1.21 the toolchain downloads the newer version that a module requires; Debian 12 has 1.19
_COMMANDS = [f"github.com/containerd/containerd/v2/cmd/{name}" for name in
             ("containerd", "ctr", "containerd-shim-runc-v2")]
_TAGS = "no_btrfs,no_zfs,no_devmapper,no_aufs"


def why_not() -> str:
    """The reason why the host cannot use or build the current containerd, or empty."""
    if (CACHE / f"containerd-{CONTAINERD}").is_dir():
        return ""
    if not (go := shutil.which("go")):
        return f"containerd {CONTAINERD} is not in {CACHE}, and there is no Go to build it"
    version = subprocess.run([go, "version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"go(\d+)\.(\d+)", version)
    if not found or (int(found[1]), int(found[2])) < OLDEST_GO:
        return f"containerd {CONTAINERD} is not in {CACHE}, and needs Go 1.24 to build; here: {version.strip()}"
    return ""


def containerd() -> Path:
    """The directory of the current containerd's programs; built once (two minutes on two CPUs)."""
    made = CACHE / f"containerd-{CONTAINERD}"
    if made.is_dir():
        return made
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:   # tests in another process may be building it
        fcntl.flock(lock, fcntl.LOCK_EX)
        return made if made.is_dir() else _build(made)


def _build(made: Path) -> Path:
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        place = Path(work, "bin")
        done = subprocess.run(["go", "install", "-tags", _TAGS, "-ldflags", "-s -w",
                               *(f"{name}@{CONTAINERD}" for name in _COMMANDS)],
                              env={**os.environ, "GOBIN": str(place), "CGO_ENABLED": "0", "GOFLAGS": ""},
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=800)
        if done.returncode:
            raise RuntimeError(f"go install containerd {CONTAINERD}: {done.stderr[-2000:]}")
        place.rename(made)
    return made


if __name__ == "__main__" and not why_not():   # before the tests, whose time is limited
    containerd()
