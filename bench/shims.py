"""Measure containerd's tasks with pyruntime's shim, and with containerd's own shim and runc or crun.

    python -m bench.shims [--rounds 30] [--only exec]

Rounds are interleaved; all shims have the same containerd (Debian's), in the environment of bench/clients.py. CPU time
is that of everything: containerd, ctr, shims, runtimes and containers.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.peers import HYBRID, hierarchies
from tests.clients.containerd import IMAGE, NAMESPACE, SOCKET, Containerd
from tests.clients.room import Room

AT_ONCE = 20
CTR = ("ctr", "--address", SOCKET, "--namespace", NAMESPACE)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.shims", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--only", default="", metavar="TEXT", help="only what has this text in its title")
    options = parser.parse_args()
    shims: dict[str, tuple[str, ...]] = {"pyruntime": ("--runtime", "io.containerd.pyruntime.v2"), **{
        f"Go shim, {name}": ("--runc-binary", path) for name in ("crun", "runc") if (path := shutil.which(name))}}
    with tempfile.TemporaryDirectory(prefix="bench-shims-") as work, CpuTime() as cpu:
        daemon = Containerd(Path(work), None)
        try:
            if os.path.ismount(HYBRID):
                daemon.room.ok("umount", HYBRID)
            print("| |", " | ".join(shims), "|\n| --- |", " | ".join("---" for _ in shims), "|", flush=True)
            for title, (prepare, measured, repeat) in _measured(daemon.room).items():
                if options.only in title:
                    for words in shims.values():
                        prepare(words)
                    walls, times = _rounds(shims, measured, cpu, max(options.rounds // repeat, 3))
                    print(f"| {title}, wall, ms |", " | ".join(_ratios(walls)), "|", flush=True)
                    print(f"| {title}, CPU, ms |", " | ".join(_ratios(times)), "|", flush=True)
        finally:
            daemon.close()
    return 0


class CpuTime:
    """The CPU time of this process's descendants and of their containers: of a cgroup and of the containers' parent."""

    def __enter__(self) -> CpuTime:
        self._top = hierarchies()["cpuacct"]
        self._own = self._top / f"bench-{os.getpid()}"
        self._own.mkdir()
        (self._own / "cgroup.procs").write_text(str(os.getpid()))
        return self

    def read(self) -> float:
        """Milliseconds."""
        files = [directory / "cpuacct.usage" for directory in (self._own, self._top / NAMESPACE)]
        return sum(int(file.read_text()) for file in files if file.exists()) / 1e6

    def __exit__(self, *_: object) -> None:
        (self._top / "cgroup.procs").write_text(str(os.getpid()))
        for _pause in Room.patience():
            try:
                return self._own.rmdir()
            except OSError:   # processes that were killed have not left it yet
                pass


Action = Callable[[tuple[str, ...]], None]


def _measured(room: Room) -> dict[str, tuple[Action, Action, int]]:
    """Title -> what prepares a measurement, what is measured, and by what the number of rounds is divided."""
    count = iter(range(10**9))
    shell = subprocess.Popen(room.words("sh"), env=room.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             text=True, bufsize=1)   # so that entering the environment is not measured

    def ctr(*words: str) -> None:
        assert shell.stdin and shell.stdout
        shell.stdin.write(f"{shlex.join([*CTR, *words])} </dev/null >/dev/null; echo $?\n")
        assert shell.stdout.readline() == "0\n", words

    def run(shim: tuple[str, ...]) -> None:
        ctr("run", "--rm", *shim, IMAGE, f"run-{next(count)}", "true")

    def nothing(_shim: tuple[str, ...]) -> None:
        """Nothing is to be prepared."""

    def keep(shim: tuple[str, ...]) -> None:
        room.ok(*CTR, "run", "--detach", *shim, IMAGE, _name(shim), "sleep", "100000")

    def execute(shim: tuple[str, ...]) -> None:
        ctr("task", "exec", "--exec-id", f"exec-{next(count)}", _name(shim), "true")

    def at_once(shim: tuple[str, ...]) -> None:
        commands = [subprocess.Popen(
            room.words(*CTR, "run", "--rm", *shim, IMAGE, f"run-{next(count)}", "true"), env=room.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(AT_ONCE)]
        for command in commands:
            _, errors = command.communicate()
            assert command.returncode == 0, errors

    return {"ctr run --rm": (nothing, run, 1), "ctr task exec": (keep, execute, 1),
            f"{AT_ONCE} ctr run --rm at once": (nothing, at_once, 4)}


def _name(shim: tuple[str, ...]) -> str:
    return f"kept{shim[1].replace('/', '-')}"


def _rounds(shims: dict[str, tuple[str, ...]], measured: Action, cpu: CpuTime, rounds: int
            ) -> tuple[list[list[float]], list[list[float]]]:
    walls: list[list[float]] = [[] for _ in shims]
    times: list[list[float]] = [[] for _ in shims]
    for turn in range(rounds + 1):
        for number, words in enumerate(shims.values()):
            before, begun = cpu.read(), time.perf_counter()
            measured(words)
            wall = 1000 * (time.perf_counter() - begun)
            time.sleep(0.05)   # what goes on after the answer is counted
            if turn:   # the first round is not counted
                walls[number].append(wall)
                times[number].append(cpu.read() - before)
    return walls, times


def _ratios(taken: list[list[float]]) -> list[str]:
    """The medians, and the median of the ratios of each round to that of the first shim."""
    return [f"{statistics.median(values):.1f}" + (
        f" ({statistics.median(ours / theirs for ours, theirs in zip(taken[0], values, strict=True)):.2f})"
        if number else "") for number, values in enumerate(taken)]


if __name__ == "__main__":
    sys.exit(main())
