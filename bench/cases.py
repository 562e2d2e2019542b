"""The cases: what is measured in each round of a configuration, and how.

A round has one `run` of true; the life of a container, command by command; and commands in two running containers, one
for attached and one for detached `exec`, because the first request of a kind in a container differs from later ones.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from bench.configurations import SLEEP, STATIC_TRUE, TRUE, Bundles
from bench.peers import Failed, Peer, Taken
from bench.results import Samples

PAGE = 4       # KiB; limits are whole pages
MOST = 16384   # KiB; the search for the smallest limit starts here
TIMES = 5      # number of runs that must succeed with a limit
PAUSE = 0.002  # seconds before each command, for what the last one has started: execve in init, the end of a container
PATIENCE = 10  # seconds for a process that exits at once

# name -> description
CASES = {
    "create": "create",
    "state": "state of the running container",
    "start": "start",
    "kill": "kill (SIGKILL)",
    "pause": "pause",
    "resume": "resume",
    "delete": "delete of the stopped container",
    "delete-force": "delete --force of a running container",
    "life": "life: create + start + state + kill + delete",
    "run": "run of true, until the container is deleted",
    "exec-first": "exec of true, the first request in a container",
    "exec-repeated": "exec of true, a repeated request",
    "exec-varied": "exec of true with an argument that is new each time",
    "detach-first": "exec --detach of true, the first request in a container",
    "detach-repeated": "exec --detach of true, a repeated request",
    "detach-varied": "exec --detach of true with an argument that is new each time",
    "created": "memory of init while it waits for start (PSS)",
    "least": "smallest memory.limit with which a static true runs 5 of 5 times",
}
_LIFE = ("create", "start", "state", "kill", "delete")
_NUMBERS = count()


class Round:
    """Takes the cases of one runtime with one configuration."""

    def __init__(self, peer: Peer, configuration: str, bundles: Bundles, *, cold: bool = False) -> None:
        self.peer = peer
        self._cold = cold
        programs = {"run": TRUE, "life": SLEEP, "exec": SLEEP, "detach": SLEEP}
        self._bundles = {name: bundles.bundle(configuration, peer, name, *program)
                         for name, program in programs.items()}
        self._taken: dict[str, Taken] = {}
        self.memory = 0.0

    def __call__(self, samples: Samples, section: str) -> None:
        """Perform a round, and add its values to the section. Raises Failed; no container is left."""
        self._taken = {}
        with self._deleted("run"):
            self._take("run", "run", "--bundle", self._bundles["run"], "run")
        with self._deleted("life"):
            self._life()
        with self._running("exec"):
            self._exec("exec")
            self._take("pause", "pause", "exec")
            self._take("resume", "resume", "exec")
        with self._running("detach"):
            self._exec("detach", "--detach")
        for case, taken in self._taken.items():
            samples.add(section, case, "wall", self.peer.name, taken.wall * 1000)
            samples.add(section, case, "cpu", self.peer.name, taken.cpu * 1000)
        samples.add(section, "created", "pss", self.peer.name, self.memory)

    def _take(self, case: str, *words: object) -> None:
        if self._cold:
            drop_caches()
        time.sleep(PAUSE)
        self._taken[case] = self.peer.time(*words)

    @contextmanager
    def _deleted(self, container: str) -> Iterator[None]:
        """Leave no container if a command fails."""
        try:
            yield
        except BaseException:
            self.peer.call("delete", "--force", container)
            raise

    def _life(self) -> None:
        bundle = self._bundles["life"]
        pid_file = bundle / "pid"
        self._take("create", "create", "--bundle", bundle, "--pid-file", pid_file, "life")
        pid = int(pid_file.read_text())
        self.memory = pss(pid)
        self._take("start", "start", "life")
        self._take("state", "state", "life")
        self._take("kill", "kill", "life", "KILL")
        await_end(pid)
        self._take("delete", "delete", "life")
        parts = [self._taken[name] for name in _LIFE]
        # From the first reading to the last: with what init uses between two commands.
        self._taken["life"] = Taken(sum(part.wall for part in parts), parts[0].begun, parts[-1].ended)

    @contextmanager
    def _running(self, container: str) -> Iterator[None]:
        """A running container, deleted with --force."""
        with self._deleted(container):
            self.peer.time("run", "--detach", "--bundle", self._bundles[container], container)
            yield
            self._take("delete-force", "delete", "--force", container)

    def _exec(self, kind: str, *options: str) -> None:
        for case, argument in (("first", ()), ("repeated", ()), ("varied", (str(next(_NUMBERS)),))):
            self._take(f"{kind}-{case}", "exec", *options, kind, "true", *argument)
            self._alone(kind)

    def _alone(self, container: str) -> None:
        """Wait until a container has no process but init: a detached `true` must not disturb the next command."""
        deadline = time.monotonic() + PATIENCE
        while self.peer.processes(container) > 1:
            if time.monotonic() > deadline:
                raise Failed(f"{self.peer.name}: the processes of exec in {container} did not exit")
            time.sleep(0.0005)


def rounds(performed: list[Round], samples: Samples, section: str, number: int) -> None:
    """Perform a number of rounds, interleaved; their order rotates."""
    for turn in range(number):
        place = turn % len(performed)
        for one in performed[place:] + performed[:place]:
            one(samples, section)


def warmed(performed: list[Round]) -> tuple[list[Round], dict[str, str]]:
    """Perform one round of each, which is not counted; return those that succeeded, and why the others did not, by
    runtime. Raises Failed if the first, which is pyruntime, fails."""
    good, failed = [], {}
    for one in performed:
        try:
            one(Samples(), "")
            good.append(one)
        except Failed as error:
            if one is performed[0]:
                raise
            failed[one.peer.name] = str(error)
    return good, failed


def drop_caches() -> None:
    """Write dirty pages to disk, and drop clean ones, directory entries and inodes. proc_sys_vm(5)."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n")


def pss(pid: int) -> float:
    """The proportional set size of a process in KiB. proc_pid_smaps(5)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return float(line.split()[1])
    raise Failed(f"/proc/{pid}/smaps_rollup has no Pss line")


def await_end(pid: int) -> None:
    """Wait until a process has exited; it may still be a zombie."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return
        if stat.rpartition(") ")[2].startswith(("Z", "X")):
            return
        time.sleep(0.0005)
    raise Failed(f"process {pid} did not exit")


def least_memory(peer: Peer, bundles: Bundles) -> float:
    """The smallest limit in KiB with which the program runs TIMES times in a row; bisection by pages."""
    def works(pages: int) -> bool:
        path = bundles.bundle("minimal", peer, "least", STATIC_TRUE, memory={"limit": pages * PAGE * 1024})
        for _ in range(TIMES):
            _taken, good, _error = peer.call("run", "--bundle", path, "least")
            if not good:
                peer.call("delete", "--force", "least")
                return False
        return True

    return smallest(works, MOST // PAGE) * PAGE


def smallest(works: Callable[[int], bool], most: int) -> int:
    """The smallest number that works, if every larger number does, too; raises Failed if not even ``most`` works."""
    if not works(most):
        raise Failed(f"no value up to {most} works")
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle, high)
    return high
