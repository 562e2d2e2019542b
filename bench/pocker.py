"""``python -m bench.pocker``: pocker and Podman: run a container of ``true`` up to its exit status, exec of true in a
running container, `ps` of ten containers, and the memory of the process that monitors a container.

Everything runs in separate network and mount namespaces. Rounds are interleaved and their order rotates. Podman runs
with the installed runtimes, and writes its events to a file, as pocker does. Prints samples as JSON: milliseconds of
wall time, and KiB.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.cases import pss
from bench.interpreter import clean_environment
from bench.libc import CLONE_NEWNET, CLONE_NEWNS, unshare
from bench.peers import HYBRID, TOP, Failed
from bench.results import Samples
from bench.worker import run
from bundles.build import busybox_rootfs
from bundles.images import Layout

BIN = TOP / ".venv/bin"
IMAGE = "localhost/box:latest"
SECTION = "pocker"
CONTAINERS = 10
# name -> description and the command; NAME is a running container
CASES = {
    "run-none": ("run --rm --network none of true", ["run", "--rm", "--network", "none", IMAGE, "true"]),
    "run-bridge": ("run --rm of true with the default bridge", ["run", "--rm", IMAGE, "true"]),
    "exec": ("exec of true in a running container", ["exec", "alive-0", "true"]),
    "ps": (f"ps of {CONTAINERS} running containers", ["ps"]),
}
MONITOR = "memory of the process that monitors a running container (PSS)"


class Tool:
    """A front end with its own directories. ``words`` start each of its command lines."""

    def __init__(self, name: str, words: list[str], environment: dict[str, str], monitor: str) -> None:
        self.name = name
        self.words = [shutil.which(words[0]) or words[0], *words[1:]]
        self.environment = {**clean_environment(dict(os.environ)), **environment}
        self.monitor = monitor
        self.version = self.output("--version")

    def output(self, *words: str) -> str:
        """Run one command that starts no container; return its output. Raises Failed."""
        done = subprocess.run([*self.words, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              env=self.environment, check=False)
        if done.returncode:
            raise Failed(f"{self.name} {' '.join(words)}: {done.stderr[-2000:]}")
        return done.stdout.strip()

    def time(self, *words: str) -> float:
        """Run one command; return wall time in milliseconds. Raises Failed."""
        answer = run([*self.words, *words], self.environment)
        if answer["status"] != 0:
            raise Failed(f"{self.name} {' '.join(words)}: {answer['error']}")
        assert isinstance(answer["seconds"], float)
        return answer["seconds"] * 1000

    def memory(self) -> float:
        """Start a container; return the memory in KiB (PSS) of the process that monitors it."""
        before = _processes(self.monitor)
        self.time("run", "-d", "--name", "alive-0", "--network", "none", IMAGE, "sleep", "1000000")
        time.sleep(0.5)
        return sum(pss(pid) for pid in _processes(self.monitor) - before)

    def start(self, number: int) -> None:
        """Start one more container."""
        self.time("run", "-d", "--name", f"alive-{number}", "--network", "none", IMAGE, "sleep", "1000000")

    def remove(self) -> None:
        """Remove all containers."""
        if names := self.output("ps", "-aq").split():
            self.time("rm", "-f", *(["-t", "0"] if "podman" in self.name else []), *names)


def _processes(text: str, file: str = "comm") -> set[int]:
    """The processes whose comm is, or whose cmdline contains, this text."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal():
                content = (entry / file).read_text().strip()
                if content == text or (file == "cmdline" and text in content):
                    found.add(int(entry.name))
        except OSError:
            continue   # the process has exited meanwhile
    return found


def _await_end(work: Path) -> None:
    """Wait for the processes that Podman leaves behind, which clean up after a container."""
    for _ in range(200):
        if not _processes(str(work), "cmdline"):
            return
        time.sleep(0.05)
    raise Failed(f"processes are left: {_processes(str(work), 'cmdline')}")


@contextmanager
def directory() -> Iterator[Path]:
    """A temporary directory. With a process ID, since Podman accepts few of the names that tempfile makes."""
    path = Path(tempfile.gettempdir(), f"bench-pocker-{os.getpid()}")
    path.mkdir()
    try:
        yield path
        _await_end(path)
    finally:
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            target = line.split()[4]
            if target.startswith(f"{path}/"):
                subprocess.run(["umount", target], check=True)
        shutil.rmtree(path)


def tools(work: Path) -> list[Tool]:
    """pocker, and Podman with each runtime, each with the image loaded."""
    tree = work / "tree"
    tree.mkdir()
    busybox_rootfs(tree)
    layout = Layout(work / "layout")
    layout.image("box", [layout.layer(tree)], Cmd=["sh"], Env=["PATH=/bin"])
    ours = Tool("pocker", [str(BIN / "pocker")], {
        "POCKER_ROOT": str(work / "pocker"), "POCKER_RUN": str(work / "run"), "PYRUNTIME_STORE": str(work / "store")},
        "pocker-monitor")
    subprocess.run([BIN / "pyimage", "copy", "-q", f"oci:{layout.path}:box", IMAGE], check=True, env=ours.environment,
                   stdout=subprocess.DEVNULL)
    made = [ours]
    conf = work / "containers.conf"
    conf.write_text('[containers]\ndefault_ulimits = ["nofile=1000:1000", "nproc=2000:2000"]\n')
    for runtime in ("crun", "runc"):
        if shutil.which("podman") and shutil.which(runtime):
            place = work / f"podman-{runtime}"
            words = ["podman", "--root", f"{place}/root", "--runroot", f"{place}/run", "--tmpdir", f"{place}/tmp",
                     "--network-config-dir", f"{place}/networks", "--storage-driver", "overlay", "--cgroup-manager",
                     "cgroupfs", "--events-backend", "file", "--runtime", runtime]
            podman = Tool(f"podman with {runtime}", words, {"CONTAINERS_CONF": str(conf)}, "conmon")
            podman.output("pull", "-q", f"oci:{layout.path}:box")
            podman.output("tag", podman.output("images", "-q").split()[0], IMAGE)
            made.append(podman)
    return made


def measure(found: list[Tool], number: int) -> Samples:
    """Start the containers of each tool, and perform ``number`` interleaved rounds of each case."""
    samples = Samples()
    try:
        for tool in found:
            samples.add(SECTION, "monitor", "pss", tool.name, tool.memory())
            for index in range(1, CONTAINERS):
                tool.start(index)
        for case, (_description, words) in CASES.items():
            for tool in found:
                tool.time(*words)   # caches are warm from here on
            for turn in range(number):
                place = turn % len(found)
                for tool in found[place:] + found[:place]:
                    samples.add(SECTION, case, "wall", tool.name, tool.time(*words))
    finally:
        for tool in found:
            tool.remove()
    return samples


def main() -> int:
    """Measure, and print a JSON document: the versions of the tools, and the samples."""
    parser = argparse.ArgumentParser(prog="python -m bench.pocker", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="(%(default)s)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))   # as an interrupt: leave nothing behind
    unshare(CLONE_NEWNET | CLONE_NEWNS)
    subprocess.run(["mount", "--make-rslave", "/"], check=True)
    if os.path.ismount(HYBRID):   # which crun refuses
        subprocess.run(["umount", HYBRID], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    try:
        with directory() as work:
            found = tools(work)
            samples = measure(found, options.rounds)
            print(json.dumps({"tools": {tool.name: tool.version for tool in found}, "samples": samples.tree}))
    except Failed as error:
        print(f"bench.pocker: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
