"""The compared runtimes, and how each is called."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parent.parent
HYBRID = "/sys/fs/cgroup/unified"
# A mount namespace without the cgroup v2 mount of a hybrid layout, which crun refuses.
WITHOUT_HYBRID = ("unshare", "-m", "--propagation", "slave", "sh", "-c", f'umount {HYBRID} && exec "$@"', "sh")


class Failed(Exception):
    """A command of a runtime failed."""


class Peer:
    """One runtime, with its own state directory below ``directory``."""

    def __init__(self, name: str, command: str, directory: Path) -> None:
        self.name = name
        self.command = [command, "--root", str(directory / name)]
        done = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
        self.version = done.stdout.partition("\n")[0] or name
        wrapper = WITHOUT_HYBRID if "crun" in self.version and os.path.ismount(HYBRID) else ()
        self._worker = subprocess.Popen([*wrapper, sys.executable, "-m", "bench.worker"], cwd=TOP, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def call(self, *words: object) -> tuple[float, bool, str]:
        """The time in seconds, whether the command succeeded, and its standard error."""
        assert self._worker.stdin and self._worker.stdout
        self._worker.stdin.write(json.dumps([*self.command, *map(str, words)]) + "\n")
        self._worker.stdin.flush()
        answer: dict[str, Any] = json.loads(self._worker.stdout.readline())
        return answer["seconds"], answer["status"] == 0, answer["error"]

    def time(self, *words: object) -> float:
        """The time that the command takes, in seconds; raises Failed."""
        seconds, good, error = self.call(*words)
        if not good:
            raise Failed(f"{self.name} {' '.join(map(str, words))}: {error}")
        return seconds

    def close(self) -> None:
        """End the worker."""
        assert self._worker.stdin and self._worker.stdout
        self._worker.stdin.close()
        self._worker.wait(10)
        self._worker.stdout.close()


def installed(chosen: list[str]) -> dict[str, str]:
    """Name -> program. ``chosen`` are ``NAME`` or ``NAME=PROGRAM``; by default pyruntime and the peers found in
    PATH."""
    ours = str(TOP / ".venv/bin/pyruntime")
    known = {"pyruntime": ours, **{name: shutil.which(name) or "" for name in ("crun", "runc")}}
    if not chosen:
        return {name: program for name, program in known.items() if program}
    wanted = dict(item.partition("=")[::2] for item in chosen)
    return {name: program or known.get(name) or shutil.which(name) or name for name, program in wanted.items()}
