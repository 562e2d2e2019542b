"""Sandboxes beside bubblewrap and Podman: ``python -m bench.sandboxes [ROUNDS]``, as root.

Each time is that of a call in this process, from before the call until its result is there and nothing is left.
bubblewrap has neither cgroups nor a filter, and is the floor. Rounds are interleaved and their order rotates.
For docker-py, ``DOCKER_PYTHON`` names an interpreter that has it; if dockerd is installed, two daemons are started, for
two cases: containers without a network, as sandboxes are by default, and containers in Docker's bridge, as those of
docker-py are by default.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bundles.build import busybox_rootfs
from pyruntime import Pool, Sandbox, Template

BWRAP = ("bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin",
         "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--proc", "/proc", "--dev", "/dev",
         "--tmpfs", "/tmp", "--tmpfs", "/work")
DOCKER = "docker-py: containers.run of true, remove, no network"
BRIDGED = "docker-py: containers.run of true, remove, default bridge"
PRINT = ("python3", "-c", "print(1)")


def _command(*words: str) -> None:
    subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=True)


def _new(root: Path | None, *argv: str) -> None:
    with Sandbox(root) if root else Sandbox.host() as box:
        box.run(argv, check=True)


@contextmanager
def _daemon(place: Path, *, bridge: bool) -> Iterator[str]:
    """A Docker daemon of its own, with its files and mounts in ``place``, and with ``bridge`` in a network namespace
    of its own; its address, or "" if docker-py or dockerd is not there."""
    if not os.environ.get("DOCKER_PYTHON") or not shutil.which("dockerd"):
        yield ""
        return
    group = f"/pyruntime-bench-{os.getpid()}-{place.name}"
    place.mkdir()
    isolated = ["unshare", "--mount", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    networks = ["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-masq=false"]
    address = f"unix://{place}/socket"
    with open(place / "log", "wb") as log:
        daemon = subprocess.Popen(
            [*(isolated if bridge else ["unshare", "--mount"]), "dockerd", "--host", address, "--data-root",
             place / "data", "--exec-root", place / "run", "--pidfile", place / "pid", "--cgroup-parent", group,
             *([] if bridge else networks)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 60
        while not (place / "socket").is_socket():
            if daemon.poll() is not None or time.monotonic() > end:
                raise OSError(f"dockerd does not start: {(place / 'log').read_text()[-500:]}")
            time.sleep(0.1)
        yield address
    finally:
        daemon.terminate()
        daemon.wait()
        for path in Path("/sys/fs/cgroup").glob(f"*{group}"):
            path.rmdir()


def _docker(rootfs: Path, address: str, *, bridge: bool) -> Callable[[str], None]:
    """What docker-py does, in a process of its own that waits, with the daemon at this address. "" ends the process."""
    worker = subprocess.Popen(
        [os.environ["DOCKER_PYTHON"], Path(__file__).with_name("docker_worker.py"), rootfs, "bridge" * bridge],
        text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "DOCKER_HOST": address})
    assert worker.stdin and worker.stdout
    if worker.stdout.readline() != "ready\n":
        raise OSError("docker-py does not work")

    def ask(what: str) -> None:
        assert worker.stdin and worker.stdout
        if not what:
            worker.communicate()
            return
        worker.stdin.write(f"{what}\n")
        worker.stdin.flush()
        float(worker.stdout.readline())
    return ask


def measure(rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each case, in the order of the rounds."""
    with tempfile.TemporaryDirectory(prefix="pyruntime-bench-") as place, Sandbox.host() as living, \
            Pool(Template(interpreter="python3"), 2) as pool, _daemon(Path(place, "docker"), bridge=False) as plain, \
            _daemon(Path(place, "bridged"), bridge=True) as bridged:
        rootfs = Path(place, "rootfs")
        busybox_rootfs(rootfs)
        cases: dict[str, Callable[[], object]] = {
            "new sandbox, true, gone (host)": lambda: _new(None, "true"),
            "new sandbox, true, gone (overlay of a directory)": lambda: _new(rootfs, "true"),
            "new sandbox, python3, gone (host)": lambda: _new(None, *PRINT),
            "run true in a living sandbox": lambda: living.run(["true"], check=True),
            "run true from a warm pool": lambda: pool.run(["true"], check=True),
            "Python code from a warm pool": lambda: pool.python("print(1)", check=True),
        }
        if shutil.which("bwrap"):
            cases["bwrap true"] = lambda: _command(*BWRAP, "true")
            cases["bwrap python3"] = lambda: _command(*BWRAP, *PRINT)
        workers = [_docker(rootfs, address, bridge=address == bridged) for address in (plain, bridged) if address]
        if workers:
            cases[DOCKER] = lambda: workers[0]("run")
            cases[BRIDGED] = lambda: workers[1]("run")
            cases["docker-py: exec_run of true in a living container"] = lambda: workers[0]("exec")
        if shutil.which("podman"):
            cases["podman run --rm --rootfs true"] = lambda: _command(
                "podman", "run", "--rm", "--network=none", "--rootfs", f"{rootfs}:O", "true")
        found: dict[str, list[float]] = {name: [] for name in cases}
        names = list(cases)
        for number in range(-1, rounds):   # the first round is not counted
            for name in names[number % len(names):] + names[:number % len(names)]:
                while pool.ready < pool.size:   # neither counted nor beside another case
                    time.sleep(0.001)
                begun = time.perf_counter()
                try:
                    cases[name]()
                except (OSError, subprocess.CalledProcessError) as error:
                    names.remove(name)
                    found.pop(name)
                    print(f"{name}: left out: {getattr(error, 'stderr', error)!r:.300}", file=sys.stderr)
                    continue
                if number >= 0:
                    found[name].append((time.perf_counter() - begun) * 1000)
        for worker in workers:
            worker("")
        return found


def table(found: dict[str, list[float]]) -> str:
    """The measurements, each beside those of the same round with bwrap and docker-py: a busy host slows all of them."""
    beside = {title: found[name] for title, name in (
        ("bwrap", "bwrap true"), ("docker-py", DOCKER), ("docker-py, bridge", BRIDGED)) if name in found}
    lines = ["| case | median, ms | least, ms |" + "".join(f" x {title} |" for title in beside),
             "| --- | --- | --- |" + " --- |" * len(beside)]
    for name, samples in found.items():
        ratios = [statistics.median(one / other for one, other in zip(samples, others, strict=True))
                  for others in beside.values()]
        lines.append(f"| {name} | {statistics.median(samples):.1f} | {min(samples):.1f} |"
                     + "".join(f" {ratio:.3f} |" for ratio in ratios))
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 30)))
