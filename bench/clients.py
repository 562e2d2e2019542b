"""Measure `ctr run --rm` and `podman run --rm` of true, with each runtime.

    python -m bench.clients [--rounds 15]

Rounds are interleaved. Every runtime runs in the same environment (tests/clients/room.py) without the cgroup v2 mount
of a hybrid layout, which crun refuses.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench.peers import HYBRID
from tests.clients.containerd import IMAGE, NAMESPACE, SOCKET, Containerd
from tests.clients.documented_configs import PYRUNTIME
from tests.clients.image import layout
from tests.clients.podman import LIMITS, OPTIONS
from tests.clients.room import Room


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.clients", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    runtimes = {name: path for name, path in (("pyruntime", PYRUNTIME), ("crun", shutil.which("crun")),
                                              ("runc", shutil.which("runc"))) if path}
    with tempfile.TemporaryDirectory(prefix="bench-clients-") as work:
        daemon = Containerd(Path(work), None)   # Debian's: crun 1.8 refuses the current one's configurations
        try:
            print("| ms |", " | ".join(runtimes), "|\n| --- |", " | ".join("---" for _ in runtimes), "|", flush=True)
            for title, (before, after) in commands(daemon.room).items():
                taken: dict[str, list[float]] = {name: [] for name in runtimes}
                for turn in range(rounds + 1):
                    for name, runtime in runtimes.items():
                        start = time.perf_counter()
                        daemon.room.ok(*before, runtime, *after)
                        if turn:   # the first round is not counted
                            taken[name].append(1000 * (time.perf_counter() - start))
                medians = [statistics.median(times) for times in taken.values()]
                shown = [f"{median:.0f} ({median / medians[0]:.2f})" for median in medians]
                print(f"| {title} |", " | ".join(shown), "|")
        finally:
            daemon.close()
    return 0


def commands(room: Room) -> dict[str, tuple[list[str], list[str]]]:
    """Prepare the environment; return each command as the words before and after the runtime's path."""
    if os.path.ismount(HYBRID):
        room.ok("umount", HYBRID)
    configuration = room.path / "containers.conf"
    configuration.write_text(LIMITS)
    room.environment["CONTAINERS_CONF"] = str(configuration)
    podman = ["podman", "--root", "/run/store", "--runroot", "/run/storerun", "--tmpdir", "/run/storetmp",
              "--storage-driver", "overlay", "--cgroup-manager", "cgroupfs", "--events-backend", "none"]
    room.ok(*podman, "pull", "-q", f"oci:{layout(room.path / 'store').path}:box")
    room.ok(*podman, "tag", room.ok(*podman, "images", "-q").split()[0], "localhost/box")
    ctr = ["ctr", "--address", SOCKET, "--namespace", NAMESPACE, "run", "--rm", "--runc-binary"]
    return {"ctr run --rm": (ctr, [IMAGE, "bench", "true"]),
            "podman run --rm --network none": ([*podman, "--runtime"], ["run", "--rm", *OPTIONS, "box", "true"])}


if __name__ == "__main__":
    sys.exit(main())
