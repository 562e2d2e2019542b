"""``python -m bench.pocker``: run a container of ``true`` up to its exit status, with pocker and Podman.

Everything runs in a separate network namespace. Rounds are interleaved and their order rotates. Podman runs with the
installed runtimes, and writes its events to a file, as pocker does. Prints medians of wall time in milliseconds, and
the memory of the process that monitors a running container.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.peers import HYBRID, WITHOUT_HYBRID
from bundles.build import busybox_rootfs
from bundles.images import Layout
from pyruntime.system import kernel

BIN = Path(sys.executable).parent
IMAGE = "localhost/box:latest"
_CLONE_NEWNET = 0x40000000   # linux/sched.h


class Tool:
    """A front end with its own directories. ``words`` start each of its command lines."""

    def __init__(self, name: str, words: list[str], environment: dict[str, str], monitor: str) -> None:
        self.name = name
        self.words = words
        self.environment = {**os.environ, **environment}
        self.monitor = monitor

    def call(self, *words: str) -> tuple[float, str]:
        """Run one command; return wall time in milliseconds, and the output."""
        begun = time.perf_counter()
        done = subprocess.run([*self.words, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              env=self.environment, check=False)
        spent = (time.perf_counter() - begun) * 1000
        if done.returncode:
            raise SystemExit(f"{self.name} {' '.join(words)}: {done.stderr[-2000:]}")
        return spent, done.stdout.strip()

    def memory(self) -> int:
        """Memory in KiB (PSS) of the process that monitors a detached container."""
        before = _processes(self.monitor)
        self.call("run", "-d", "--name", "bench-memory", "--network", "none", IMAGE, "sleep", "1000")
        time.sleep(0.5)
        found = _processes(self.monitor) - before
        size = sum(_pss(pid) for pid in found)
        self.call("rm", "-f", "-t", "0", "bench-memory") if "podman" in self.name else self.call(
            "rm", "-f", "bench-memory")
        return size


def _processes(name: str) -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and (entry / "comm").read_text().strip() == name:
                found.add(int(entry.name))
        except OSError:
            continue   # the process has exited meanwhile
    return found


def _pss(pid: int) -> int:
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(row for row in rows if row.startswith("Pss:")).split()[1])


@contextmanager
def tools(work: Path) -> Iterator[list[Tool]]:
    """pocker, and Podman with each runtime, each with the image loaded."""
    tree = work / "tree"
    tree.mkdir()
    busybox_rootfs(tree)
    layout = Layout(work / "layout")
    layout.image("box", [layout.layer(tree)], Cmd=["sh"], Env=["PATH=/bin"])
    ours = Tool("pocker", [str(BIN / "pocker")], {
        "POCKER_ROOT": str(work / "pocker"), "POCKER_RUN": str(work / "run"), "PYRUNTIME_STORE": str(work / "store")},
        "pocker-monitor")
    subprocess.run([BIN / "pyimage", "copy", "-q", f"oci:{layout.path}:box", IMAGE], check=True, env=ours.environment)
    made = [ours]
    for runtime in ("crun", "runc"):
        if shutil.which("podman") and shutil.which(runtime):
            place = work / f"podman-{runtime}"
            wrapper = WITHOUT_HYBRID if runtime == "crun" and os.path.ismount(HYBRID) else ()
            words = [*wrapper, "podman", "--root", f"{place}/root", "--runroot", f"{place}/run", "--tmpdir",
                     f"{place}/tmp", "--network-config-dir", f"{place}/networks", "--storage-driver", "overlay",
                     "--cgroup-manager", "cgroupfs", "--runtime", runtime]
            conf = work / "containers.conf"
            conf.write_text('[containers]\ndefault_ulimits = ["nofile=1000:1000", "nproc=2000:2000"]\n')
            podman = Tool(f"podman with {runtime}", words, {"CONTAINERS_CONF": str(conf)}, "conmon")
            podman.call("pull", "-q", f"oci:{layout.path}:box")
            podman.call("tag", podman.call("images", "-q")[1].split()[0], IMAGE)
            made.append(podman)
    try:
        yield made
    finally:
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            target = line.split()[4]
            if target.startswith(f"{work}/"):
                subprocess.run(["umount", target], check=True)


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.pocker", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="(%(default)s)")
    parser.add_argument("--network", action="append", default=[], choices=["none", "bridge"],
                        help="measure with this network (repeatable); default: both")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    options = parser.parse_args()
    kernel.unshare(_CLONE_NEWNET)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    values: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as text, tools(Path(text)) as found:
        for network in options.network or ["none", "bridge"]:
            name = f"run --rm --network {network}, ms"
            words = ["run", "--rm", *(["--network", "none"] if network == "none" else []), IMAGE, "true"]
            for tool in found:
                tool.call(*words)   # caches are warm from here on
            for number in range(options.rounds):
                for tool in found[number % len(found):] + found[:number % len(found)]:
                    values.setdefault(name, {}).setdefault(tool.name, []).append(tool.call(*words)[0])
        values["process that monitors a running container, KiB (PSS)"] = {tool.name: [tool.memory()] for tool in found}
    if options.json:
        print(json.dumps(values))
        return 0
    names = list(next(iter(values.values())))
    print("| | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 1))
    for row, columns in values.items():
        middle = {name: statistics.median(column) for name, column in columns.items()}
        cells = [f"{middle[name]:.0f}" + ("" if name == "pocker" else f" ({middle['pocker'] / middle[name]:.2f})")
                 for name in names]
        print(f"| {row} | " + " | ".join(cells) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
