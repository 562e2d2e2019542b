"""An isolated environment for a daemon: separate mount, network and PID namespaces.

/run is empty there, so no socket, state directory or fifo of the host is affected. When the room is closed, its init
process is killed, and the kernel kills every process in it and unmounts everything. Only cgroups remain (the
hierarchies are the host's); cgroups below the given names are removed at the end.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PATIENCE = 60
# tini reaps orphans of daemons. It is killed with its parent (--kill-child), and the PID namespace with it; the
# parent itself is killed when the tests end for any reason (setpriv).
_SETUP = """set -e
mount -t tmpfs -o mode=755 tmpfs /run
mount --make-shared /run
mkdir -p /run/lock /run/user
ip link set lo up
exec tini -s -- sleep infinity"""
# For a room that shares systemd with the host, which has to know the PIDs that it is told.
_SETUP_WITH_SYSTEMD = """set -e
mount -t tmpfs -o mode=755 tmpfs /mnt
for place in systemd dbus; do mkdir /mnt/$place; mount --rbind /run/$place /mnt/$place; done
mount --no-mtab --move /mnt /run
""" + _SETUP.partition("tmpfs /run\n")[2]
_BARE = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}


def hierarchies() -> list[Path]:
    """The mount points of the cgroup hierarchies."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [Path(line.split()[4]) for line in lines if line.split(" - ")[1].split()[0] in ("cgroup", "cgroup2")]


class Room:
    """The namespaces; ``cgroups`` are the names of the top-level cgroups that the programs in them create. With
    ``systemd`` it has the host's systemd and its PIDs: its processes are then found by their mount namespace."""

    def __init__(self, path: Path, cgroups: list[str], first_in_path: str = "", *, systemd: bool = False) -> None:
        for program in ("unshare", "nsenter", "setpriv", "ip", "tini"):
            if not shutil.which(program):
                raise FileNotFoundError(f"{program} is not installed: run tools/install-deps test")
        self.path = path
        self.environment = {**_BARE, "PATH": ":".join(filter(None, [first_in_path, _BARE["PATH"]]))}
        self._cgroups = [top / name for top in hierarchies() for name in cgroups]
        self._before = [directory for directory in self._cgroups if directory.exists()]
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._systemd = systemd
        self._holder = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--ipc", "--fork", "--kill-child",
             *([] if systemd else ["--pid", "--mount-proc"]), "--propagation", "private", "sh", "-c",
             _SETUP_WITH_SYSTEMD if systemd else _SETUP], stdin=subprocess.DEVNULL, start_new_session=True)
        self._init = self._wait_for_init()

    def _wait_for_init(self) -> int:
        """The PID of the room's init, after it has set up the room."""
        holder = self._holder.pid
        children = Path(f"/proc/{holder}/task/{holder}/children")
        for _ in self.patience():
            assert self._holder.poll() is None, "the room's set-up failed"
            words = children.read_text().split()
            if words and Path(f"/proc/{words[0]}/comm").read_text() == "tini\n":
                return int(words[0])
        raise TimeoutError("the set-up of the room did not finish")

    @staticmethod
    def patience() -> Iterator[None]:
        """Iterate with pauses until the timeout."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            yield
            time.sleep(0.02)

    def seen(self, path: str) -> str:
        """The host's path for a path in the room."""
        return f"/proc/{self._init}/root{path}"

    def words(self, *words: str) -> list[str]:
        """The prefix to run a command in the room."""
        return ["nsenter", "--target", str(self._init), "--mount", "--net", "--pid", "--ipc", "--", *words]

    def run(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command in the room and wait for it, without a terminal or standard input."""
        return subprocess.run(self.words(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                              **{"timeout": 110, "env": self.environment, **options})

    def ok(self, *words: str, **options: Any) -> str:
        done = self.run(*words, **options)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def daemon(self, log: Path, *words: str) -> subprocess.Popen[bytes]:
        """Start a command in the room that runs until the room is closed."""
        with log.open("ab") as file:
            self._daemons.append(subprocess.Popen(self.words(*words), stdin=subprocess.DEVNULL, stdout=file,
                                                  stderr=file, env=self.environment, start_new_session=True))
        return self._daemons[-1]

    def close(self) -> None:
        """Kill all processes in the room, and remove the cgroups."""
        if self._systemd:
            for pid in self._inhabitants():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._holder.kill()
        self._holder.wait()
        for daemon in self._daemons:
            daemon.wait()
        for top in self._cgroups:
            if top not in self._before and top.exists():
                for directory, _, _ in os.walk(top, topdown=False):
                    self._remove(Path(directory))

    def _inhabitants(self) -> list[int]:
        """The processes in the room's mount namespace, its init last."""
        room, found = os.readlink(f"/proc/{self._init}/ns/mnt"), []
        for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
            with contextlib.suppress(OSError):   # it has ended
                if os.readlink(f"/proc/{pid}/ns/mnt") == room:
                    found.append(pid)
        return sorted(found, key=lambda pid: pid == self._init)

    def _remove(self, directory: Path) -> None:
        for _ in self.patience():
            try:
                return directory.rmdir()
            except OSError as error:   # killed processes have not left the cgroup yet
                problem = error
        raise problem
