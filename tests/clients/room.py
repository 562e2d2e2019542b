"""A place where a daemon may do what it likes: mount, network and PID namespaces of its own.

/run is empty there, so no socket, state directory or fifo of the host is touched. When the room is closed its init
process is killed, and the kernel ends every process in it and drops its mounts. Only cgroups outlive it (the
hierarchies are the host's); what appeared below the names that the clients were told to use is removed at the end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PATIENCE = 60
# tini reaps what daemons leave to init. The holder's death kills it (--kill-child), and with it the PID namespace; the
# holder itself dies with the tests, however they end (setpriv).
_SETUP = """set -e
mount -t tmpfs -o mode=755 tmpfs /run
mount --make-shared /run
mkdir -p /run/lock /run/user
ip link set lo up
exec tini -s -- sleep infinity"""
_BARE = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}


def hierarchies() -> list[Path]:
    """Where the cgroup hierarchies are mounted."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [Path(line.split()[4]) for line in lines if line.split(" - ")[1].split()[0] in ("cgroup", "cgroup2")]


class Room:
    """The namespaces; ``cgroups`` are the names of the top cgroups that whoever runs in them makes."""

    def __init__(self, path: Path, cgroups: list[str], first_in_path: str = "") -> None:
        for program in ("unshare", "nsenter", "setpriv", "ip", "tini"):
            if not shutil.which(program):
                raise FileNotFoundError(f"{program} is not installed: run tools/install-deps test")
        self.path = path
        self.environment = {**_BARE, "PATH": ":".join(filter(None, [first_in_path, _BARE["PATH"]]))}
        self._cgroups = [top / name for top in hierarchies() for name in cgroups]
        self._before = [directory for directory in self._cgroups if directory.exists()]
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._holder = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--ipc", "--fork",
             "--kill-child", "--mount-proc", "--propagation", "private", "sh", "-c", _SETUP],
            stdin=subprocess.DEVNULL, start_new_session=True)
        self._init = self._wait_for_init()

    def _wait_for_init(self) -> int:
        """The PID of the room's init, once it has set up the room."""
        holder = self._holder.pid
        children = Path(f"/proc/{holder}/task/{holder}/children")
        for _ in self.patience():
            assert self._holder.poll() is None, "the room's set-up failed"
            words = children.read_text().split()
            if words and Path(f"/proc/{words[0]}/comm").read_text() == "tini\n":
                return int(words[0])
        raise TimeoutError("the room's set-up did not end")

    @staticmethod
    def patience() -> Iterator[None]:
        """Turns of a loop that waits for something, until it has waited long enough."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            yield
            time.sleep(0.02)

    def seen(self, path: str) -> str:
        """A path of the room as processes outside see it."""
        return f"/proc/{self._init}/root{path}"

    def words(self, *words: str) -> list[str]:
        """The command that runs a command in the room."""
        return ["nsenter", "--target", str(self._init), "--mount", "--net", "--pid", "--ipc", "--", *words]

    def run(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command in the room to its end, without a terminal or a standard input."""
        return subprocess.run(self.words(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                              **{"timeout": 110, "env": self.environment, **options})

    def ok(self, *words: str, **options: Any) -> str:
        done = self.run(*words, **options)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def daemon(self, log: Path, *words: str) -> subprocess.Popen[bytes]:
        """Start a command in the room that goes on until the room is closed."""
        with log.open("ab") as file:
            self._daemons.append(subprocess.Popen(self.words(*words), stdin=subprocess.DEVNULL, stdout=file,
                                                  stderr=file, env=self.environment, start_new_session=True))
        return self._daemons[-1]

    def close(self) -> None:
        """End everything in the room, and remove the cgroups."""
        self._holder.kill()
        self._holder.wait()
        for daemon in self._daemons:
            daemon.wait()
        for top in self._cgroups:
            if top not in self._before and top.exists():
                for directory, _, _ in os.walk(top, topdown=False):
                    self._remove(Path(directory))

    def _remove(self, directory: Path) -> None:
        for _ in self.patience():
            try:
                return directory.rmdir()
            except OSError as error:   # the kernel is still taking killed processes out of it
                problem = error
        raise problem
