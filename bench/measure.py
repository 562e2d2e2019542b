"""The measures and how they are taken."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.peers import Failed, Peer
from bundles.build import busybox_rootfs
from pyruntime.runtime.config.template import template

PAGE = 4       # KiB; limits are whole pages
MOST = 16384   # KiB; the search for the smallest limit starts here
TIMES = 5      # number of runs that must succeed with a limit
PATIENCE = 10  # seconds for a program that exits at once

# name -> description; in milliseconds, unless UNITS has another unit
MEASURES = {
    "run": "run: from the command to the exit status of true, container deleted",
    "create": "create",
    "state": "state of the created container",
    "start": "start",
    "kill": "kill: SIGCONT to the running container",
    "delete": "delete of the stopped container",
    "exec": "exec of true in a running container, a repeated request, to its exit status",
    "exec-detached": "exec --detach of true, a repeated request, until it has started",
    "pause": "pause",
    "resume": "resume",
    "init": "memory of init while it waits for start (PSS)",
    "least": "smallest memory.limit with which a static true runs 5 of 5 times",
}
UNITS = {"init": "KiB", "least": "KiB"}


class Bundle:
    """The bundle that every runtime gets: `pyruntime spec`'s configuration, without a terminal."""

    def __init__(self, path: Path) -> None:
        self.path = path
        busybox_rootfs(path / "rootfs")
        source = path / "true.c"
        source.write_text("int main(void) { return 0; }\n")
        subprocess.run(["gcc", "-static", "-O2", "-o", path / "rootfs/bin/static-true", source], check=True)
        self.config = template(rootless=False, uid=0, gid=0, unified=Path("/sys/fs/cgroup/cgroup.controllers").exists())
        self.config["ociVersion"] = "1.0.0"   # old releases refuse newer versions
        self.config["process"].update(terminal=False, rlimits=[])

    def save(self, *program: str, **resources: Any) -> Path:
        """Write config.json; return the directory of the bundle."""
        self.config["process"]["args"] = list(program)
        kept = {key: value for key, value in self.config["linux"]["resources"].items() if key == "devices"}
        self.config["linux"]["resources"] = {**kept, **resources}
        (self.path / "config.json").write_text(json.dumps(self.config))
        return self.path


def one_round(peer: Peer, bundle: Path, name: str) -> dict[str, float]:
    """A `run`, then a container from create to delete. Returns seconds by measure, and KiB for ``init``."""
    values = {"run": peer.time("run", "--bundle", bundle, f"{name}-run")}
    pid_file = bundle / f"{peer.name}.pid"
    values["create"] = peer.time("create", "--bundle", bundle, "--pid-file", pid_file, name)
    try:
        pid = int(pid_file.read_text())
        values["init"] = pss(pid)
        values["state"] = peer.time("state", name)
        values["start"] = peer.time("start", name)
        await_end(pid)
        values["delete"] = peer.time("delete", name)
    except BaseException:
        peer.call("delete", "--force", name)
        raise
    return values


def running_round(peer: Peer, name: str) -> dict[str, float]:
    """Commands on the running container ``name``. Returns seconds by measure."""
    return {"exec": peer.time("exec", name, "true"), "exec-detached": peer.time("exec", "--detach", name, "true"),
            "pause": peer.time("pause", name), "resume": peer.time("resume", name),
            "kill": peer.time("kill", name, "CONT")}


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
        if stat.rpartition(")")[2].split()[0] in ("Z", "X"):
            return
        time.sleep(0.001)
    raise Failed(f"process {pid} did not exit")


def least_memory(peer: Peer, bundle: Bundle, name: str) -> float:
    """The smallest limit in KiB with which the program runs TIMES times in a row; bisection by pages."""
    def works(pages: int) -> bool:
        path = bundle.save("/bin/static-true", memory={"limit": pages * PAGE * 1024})
        for _ in range(TIMES):
            _seconds, good, _error = peer.call("run", "--bundle", path, name)
            if not good:
                peer.call("delete", "--force", name)
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
