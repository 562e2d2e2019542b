"""The compared runtimes, and how each is called.

A runtime has a cgroup of its own, ``/bench-PID/NAME``, which contains its worker and, because of ``linux.cgroupsPath``,
its containers. So the CPU time of that cgroup is the time of everything that a command has started: the command, its
children, and the container's init before and after it moves to the container's cgroup.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from errno import EBUSY
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parent.parent
OURS = "pyruntime"
KNOWN = (OURS, "crun", "runc", "youki")
HYBRID = "/sys/fs/cgroup/unified"
# A mount namespace without the cgroup v2 mount of a hybrid layout, which crun refuses.
WITHOUT_HYBRID = ("unshare", "-m", "--propagation", "slave", "sh", "-c", f'umount {HYBRID} && exec "$@"', "sh")
GROUP = f"/bench-{os.getpid()}"


class Failed(Exception):
    """A command of a runtime failed."""


@dataclass(frozen=True)
class Taken:
    """What a command took: ``wall`` seconds, and readings of the runtime's CPU time in seconds before and after."""

    wall: float
    begun: float
    ended: float

    @property
    def cpu(self) -> float:
        """CPU seconds."""
        return self.ended - self.begun


def hierarchies() -> dict[str, Path]:
    """The mounted cgroup hierarchies: name of a v1 controller, or "" for v2 -> mount point."""
    found = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place, _, kind = line.partition(" - ")
        name, _source, options = kind.split(" ", 2)
        if name == "cgroup2":
            found[""] = Path(place.split()[4])
        elif name == "cgroup":
            found.update(dict.fromkeys(options.split(","), Path(place.split()[4])))
    return found


class Peer:
    """One runtime, with its own state directory below ``directory``, and its own cgroup."""

    def __init__(self, name: str, command: str, directory: Path) -> None:
        self.name = name
        self.command = [command, "--root", str(directory / name)]
        done = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
        self.version = done.stdout.partition("\n")[0] or name
        self.group = f"{GROUP}/{name}"
        mounted = hierarchies()
        # cpu.stat of v2 exists without any controller.
        mount, file = (mounted["cpuacct"], "cpuacct.usage") if "cpuacct" in mounted else (mounted[""], "cpu.stat")
        self._account = mount / self.group[1:]
        (self._account / "worker").mkdir(parents=True)
        wrapper = WITHOUT_HYBRID if "crun" in self.version and os.path.ismount(HYBRID) else ()
        self._worker = subprocess.Popen(
            [*wrapper, sys.executable, "-m", "bench.worker", self._account / "worker", self._account / file],
            cwd=TOP, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            start_new_session=True)   # an interrupt from the terminal must not end the worker before its containers

    def call(self, *words: object) -> tuple[Taken, bool, str]:
        """What the command took, whether it succeeded, and its standard error."""
        assert self._worker.stdin and self._worker.stdout
        self._worker.stdin.write(json.dumps([*self.command, *map(str, words)]) + "\n")
        self._worker.stdin.flush()
        answer: dict[str, Any] = json.loads(self._worker.stdout.readline())
        return (Taken(answer["seconds"], answer["begun"], answer["ended"]), answer["status"] == 0, answer["error"])

    def time(self, *words: object) -> Taken:
        """What the command took; raises Failed."""
        taken, good, error = self.call(*words)
        if not good:
            raise Failed(f"{self.name} {' '.join(map(str, words))}: {error}")
        return taken

    def processes(self, container: str) -> int:
        """The number of processes of a container, zombies included."""
        return len((self._account / container / "cgroup.procs").read_text().split())

    def close(self) -> None:
        """End the worker."""
        assert self._worker.stdin and self._worker.stdout
        self._worker.stdin.close()
        self._worker.wait(10)
        self._worker.stdout.close()


def remove_groups() -> None:
    """Remove the cgroups of all runtimes. Ends the processes of containers that a runtime has left behind."""
    places = [mount / GROUP[1:] for mount in set(hierarchies().values())]
    for procs in (path for place in places for path in place.rglob("cgroup.procs")):
        for pid in procs.read_text().split():
            os.kill(int(pid), signal.SIGKILL)
    for place in places:
        for path in sorted((path for path in [place, *place.rglob("*")] if path.is_dir()), reverse=True):
            _remove(path)


def _remove(path: Path) -> None:
    """Remove a cgroup; its killed processes take a moment to exit."""
    for _ in range(100):
        try:
            path.rmdir()
            return
        except OSError as error:
            if error.errno != EBUSY:
                raise
            time.sleep(0.02)
    raise Failed(f"{path}: the processes of this cgroup do not exit")


def installed(chosen: list[str]) -> dict[str, str]:
    """Name -> program. ``chosen`` are ``NAME`` or ``NAME=PROGRAM``; by default pyruntime and the peers found in
    PATH."""
    known = {name: shutil.which(name) or "" for name in KNOWN} | {OURS: str(TOP / ".venv/bin/pyruntime")}
    if not chosen:
        return {name: program for name, program in known.items() if program}
    wanted = dict(item.partition("=")[::2] for item in chosen)
    return {name: program or known.get(name) or shutil.which(name) or name for name, program in wanted.items()}
