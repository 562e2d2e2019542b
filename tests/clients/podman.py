"""Podman with a store of its own, and one of the runtimes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from tests.clients.image import layout

# A machine may not let us raise hard limits, which Podman's defaults do; and tests stay off the network.
OPTIONS = ["--network", "none", "--ulimit", "nofile=1000:1000", "--ulimit", "nproc=2000:2000"]


class Podman:
    """The command with a runtime, or with what a configuration names; ``path`` is the directory of its store."""

    def __init__(self, path: Path, runtime: str, configuration: str = "/dev/null") -> None:
        self.path = path
        self.configuration = configuration
        self.words = ["podman", "--root", str(path / "root"), "--runroot", str(path / "run"), "--tmpdir",
                      str(path / "tmp"), "--storage-driver", "overlay", "--cgroup-manager", "cgroupfs"]
        if runtime:
            self.words += ["--runtime", runtime]

    def __call__(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        options.setdefault("stdin", subprocess.DEVNULL)
        # conmon leaves a file named "oom" in its working directory when a container runs out of memory.
        options.setdefault("cwd", self.path)
        return subprocess.run([*self.words, *words], capture_output=True, text=True, check=False, timeout=120,
                              env={**os.environ, "CONTAINERS_CONF": self.configuration}, **options)

    def ok(self, *words: str, **options: Any) -> str:
        done = self(*words, **options)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def load(self) -> None:
        """An image with busybox and a user, made without any tool of ours."""
        made = layout(self.path)
        self.ok("pull", "-q", f"oci:{made.path}:box")
        self.ok("tag", self.ok("images", "-q").split()[0], "localhost/box")

    def close(self) -> None:
        """Remove the containers, the images, and what the store has mounted."""
        self("rm", "-f", "-a", "-t", "0")
        self("rmi", "-f", "-a")
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            target = line.split()[4]
            if target.startswith(f"{self.path}/"):
                subprocess.run(["umount", target], check=True)
