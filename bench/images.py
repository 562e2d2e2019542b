"""``python -m bench.images``: pull, verify, store and extract one image, with pyimage and other tools.

A registry on the loopback interface serves the image of a Python application with six layers and 40,000 entries. Every
tool starts with an empty store in each round. The main result is CPU seconds (user and system, of the tool and all its
children); wall time is printed as well.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bundles.images import python_application

OURS = [str(Path(sys.executable).parent / "pyimage")]


@contextmanager
def registry(work: Path) -> Iterator[str]:
    """Debian's docker-registry on a free port of the loopback interface, with its storage below ``work``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    (work / "registry.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {work}/registry}}}}\n"
        f"http: {{addr: '{address}'}}\n")
    process = subprocess.Popen(["docker-registry", "serve", str(work / "registry.yml")], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(address.rpartition(":")[2]))) == 0:
                    break
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait()


def spent(*commands: list[str], environment: dict[str, str] | None = None) -> tuple[float, float]:
    """Run commands one after another; return CPU and wall seconds. A failure is an error with the command's output."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    for command in commands:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env={**os.environ, **(environment or {})}, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: {done.stdout.decode(errors='replace')[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.perf_counter() - begun)


def pyimage(work: Path, reference: str) -> tuple[float, float]:
    """pyimage pull: keep blobs, verify both digests, extract layers."""
    return spent([*OURS, "--root", str(work / "store"), "pull", "-q", reference])


def pyimage_second(work: Path, reference: str) -> tuple[float, float]:
    """Another bundle of a pulled image; it is unmounted outside the measurement."""
    store = ["--root", str(work / "store")]
    spent([*OURS, *store, "pull", "-q", reference], [*OURS, *store, "unpack", reference, str(work / "one")])
    result = spent([*OURS, *store, "unpack", reference, str(work / "two")])
    spent([*OURS, *store, "umount", "-r", str(work / "one"), str(work / "two")])
    return result


def start_up(work: Path, reference: str) -> tuple[float, float]:
    """pyimage --version: the time to start the interpreter."""
    return spent([*OURS, "--version"])


def podman(work: Path, reference: str) -> tuple[float, float]:
    """podman pull into an overlay store."""
    words = ["podman", "--root", str(work / "root"), "--runroot", str(work / "run"), "--storage-driver", "overlay"]
    return spent([*words, "pull", "-q", "--tls-verify=false", f"docker://{reference}"])


def skopeo_umoci(work: Path, reference: str) -> tuple[float, float]:
    """skopeo copy to an image layout, then umoci unpack."""
    layout = f"oci:{work / 'layout'}:app"
    return spent(["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{reference}", layout],
                 ["umoci", "unpack", "--image", f"{work / 'layout'}:app", str(work / "bundle")])


TOOLS: dict[str, tuple[str, Callable[[Path, str], tuple[float, float]]]] = {
    "pyimage pull": ("", pyimage), "podman pull": ("podman", podman),
    "skopeo copy + umoci unpack": ("umoci", skopeo_umoci), "pyimage unpack (second bundle)": ("", pyimage_second),
    "pyimage --version": ("", start_up)}


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.images", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="(%(default)s)")
    parser.add_argument("--directory", help="working directory on the filesystem to measure (default: $TMPDIR)")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    options = parser.parse_args()
    layout = python_application()
    values: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory(dir=options.directory) as text, registry(Path(text)) as address:
        reference = f"{address}/app:latest"
        spent(["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}:app", f"docker://{reference}"])
        for number in range(options.rounds):
            for name in list(TOOLS)[number % len(TOOLS):] + list(TOOLS)[:number % len(TOOLS)]:
                needed, tool = TOOLS[name]
                if not needed or shutil.which(needed):
                    # Removed only at the end: when ext4 creates a file, it skips every inode that was freed in the last
                    # 35 s, one by one, which would slow down the next tool.
                    work = Path(text, f"{number}-{name.replace(' ', '-')}")
                    work.mkdir()
                    values.setdefault(name, []).append(tool(work, reference))
    middle = {name: tuple(statistics.median(column) for column in zip(*values[name], strict=True))
              for name in TOOLS if name in values}
    if options.json:
        print(json.dumps({"values": values, "medians": middle}))
        return 0
    ours = middle["pyimage pull"][0]
    print("| | CPU s | wall s | pyimage pull / this, CPU |\n|---|---|---|---|")
    for name, (cpu, wall) in middle.items():
        print(f"| {name} | {cpu:.3f} | {wall:.3f} | {ours / cpu:.2f} |" if not name.startswith("pyimage") else
              f"| {name} | {cpu:.3f} | {wall:.3f} | |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
