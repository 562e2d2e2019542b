"""Podman with its own store, and one of the runtimes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from tests.clients.image import layout

OPTIONS = ["--network", "none"]      # tests do not use the network
# The host may not permit raising hard limits, which Podman's defaults do.
LIMITS = '[containers]\ndefault_ulimits = ["nofile=1000:1000", "nproc=2000:2000"]\n'
# The users and groups for `--userns=auto` are in two files of the host, which are not changed.
_SUBORDINATE = """set -e
printf 'containers:200000:200000\\n' > "$0"
mount --bind "$0" /etc/subuid
mount --bind "$0" /etc/subgid
exec "$@\""""


class Podman:
    """The command with a runtime, or with that of a configuration; ``path`` is the directory of its store."""

    def __init__(self, path: Path, runtime: str, configuration: str = "") -> None:
        self.path = path
        self.configuration = path / ("configured.conf" if configuration else "containers.conf")
        self.configuration.write_text(LIMITS + configuration)
        self.words = ["podman", "--root", str(path / "root"), "--runroot", str(path / "run"), "--tmpdir",
                      str(path / "tmp"), "--storage-driver", "overlay", "--cgroup-manager", "cgroupfs"]
        if runtime:
            self.words += ["--runtime", runtime]

    def __call__(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self._run([*self.words, *words], **options)

    def with_subordinates(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command with subordinate users for Podman, in a separate mount namespace."""
        return self._run(["unshare", "--mount", "--propagation", "private", "sh", "-c", _SUBORDINATE,
                          str(self.path / "subordinate"), *self.words, *words])

    def _run(self, words: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        options.setdefault("stdin", subprocess.DEVNULL)
        # conmon leaves a file named "oom" in its working directory when a container runs out of memory.
        options.setdefault("cwd", self.path)
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=120,
                              env={**os.environ, "CONTAINERS_CONF": str(self.configuration)}, **options)

    def ok(self, *words: str, **options: Any) -> str:
        done = self(*words, **options)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def load(self) -> None:
        """An image with busybox and a user, built without pyimage."""
        made = layout(self.path)
        self.ok("pull", "-q", f"oci:{made.path}:box")
        self.ok("tag", self.ok("images", "-q").split()[0], "localhost/box")

    def close(self) -> None:
        """Remove the containers and images, and unmount the mounts of the store."""
        self("pod", "rm", "-f", "-a", "-t", "0")
        self("rm", "-f", "-a", "-t", "0")
        self("rmi", "-f", "-a")
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            target = line.split()[4]
            if target.startswith(f"{self.path}/"):
                subprocess.run(["umount", target], check=True)
