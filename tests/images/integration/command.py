"""The command ``pyimage`` with a store of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from tests.commands import BIN

PYIMAGE = BIN / "pyimage"


class Pyimage:
    """The command line; ``path`` is a directory for the test's files, ``store`` the store in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = path / "store"
        self.environment = {**os.environ, "XDG_RUNTIME_DIR": str(path), "HOME": str(path)}

    def __call__(self, *words: object, **options: Any) -> subprocess.CompletedProcess[str]:
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("timeout", 300)
        environment = {**self.environment, **options.pop("env", {})}
        done = subprocess.run([str(PYIMAGE), "--root", str(self.store), *map(str, words)], capture_output=True,
                              text=True, check=False, env=environment, **options)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def ok(self, *words: object, **options: Any) -> str:
        done = self(*words, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def fails(self, *words: object, **options: Any) -> str:
        """The message of a command that fails; it prints nothing else."""
        done = self(*words, **options)
        assert done.returncode == 1, (done.stdout, done.stderr)
        return done.stderr

    def leftovers(self) -> list[str]:
        """Files that no command may leave behind: work in the store, leases, unfinished files next to an output."""
        found = [path for name in ("work", "trash", "leases") for path in (self.store / name).glob("*")]
        return [str(path) for path in [*found, *self.path.glob("*.partial"), *self.path.glob("*/*.partial")]]

    def blobs(self) -> set[str]:
        """The digests of all blobs of the store."""
        return {f"sha256:{path.name}" for path in (self.store / "blobs/sha256").glob("*")}

    def close(self) -> None:
        """Unmount everything below the directory."""
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        for target in reversed([line.split()[4] for line in lines]):
            if target.startswith(f"{self.path}/"):
                subprocess.run(["umount", target], check=True)
