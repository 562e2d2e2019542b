"""``python -m bench``: compare pyruntime with runc and crun, if installed, in one run.

Rounds are interleaved and their order rotates, so that other load on the host affects all runtimes equally. Prints
medians, and in brackets the ratio to the first runtime.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import figures
from bench.figures import RESULTS, table
from bench.measure import MEASURES, UNITS, Bundle, least_memory, one_round, running_round
from bench.peers import Failed, Peer, installed


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="(%(default)s)")
    parser.add_argument("--runtime", action="append", default=[], metavar="NAME[=PROGRAM]",
                        help="compare these (repeatable); default: pyruntime, and crun and runc if installed")
    parser.add_argument("--no-least", action="store_true", help="do not search for the smallest memory limit")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    parser.add_argument("--record", action="store_true", help="write the results to README.md and bench/README.md")
    options = parser.parse_args(words)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def measure(peers: list[Peer], bundle: Bundle, rounds: int, *, least: bool) -> dict[str, dict[str, list[float]]]:
    """Measure: runtime -> measure -> values, in milliseconds or KiB."""
    values: dict[str, dict[str, list[float]]] = {peer.name: {} for peer in peers}
    runs = f"bench-{os.getpid()}-runs"
    path = bundle.save("sleep", "1000000")
    try:
        for peer in peers:
            peer.time("run", "--detach", "--bundle", path, f"{runs}-{peer.name}")   # each has its own cgroup
        return _rounds(peers, bundle, rounds, runs, least=least, values=values)
    finally:
        for peer in peers:
            peer.call("delete", "--force", f"{runs}-{peer.name}")


def _rounds(peers: list[Peer], bundle: Bundle, rounds: int, runs: str, *, least: bool,
            values: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, list[float]]]:
    path = bundle.save("/bin/true")
    for peer in peers:
        one_round(peer, path, f"bench-{os.getpid()}")   # caches are warm from here on
        running_round(peer, f"{runs}-{peer.name}")
    for number in range(rounds):
        turn = number % len(peers)
        for peer in peers[turn:] + peers[:turn]:
            results = {**one_round(peer, path, f"bench-{os.getpid()}-{number}"),
                       **running_round(peer, f"{runs}-{peer.name}")}
            for name, value in results.items():
                values[peer.name].setdefault(name, []).append(value if name in UNITS else value * 1000)
    for peer in peers if least else ():
        values[peer.name]["least"] = [least_memory(peer, bundle, f"bench-{os.getpid()}-least")]
    return values


def medians(values: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, float]]:
    """Replace the values of each measure by their median."""
    return {name: {key: statistics.median(numbers) for key, numbers in measures.items()}
            for name, measures in values.items()}


def machine() -> str:
    """Describe the host of the measurements, without its name."""
    system = os.uname()
    layout = "cgroup v2" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "cgroup v1"
    manager = "systemd" if Path("/run/systemd/system").exists() else "no systemd"
    release = ".".join(system.release.split(".")[:2])
    return (f"{os.cpu_count()} processors, Linux {release} on {system.machine}, {layout}, {manager},"
            f" CPython {sys.version_info.major}.{sys.version_info.minor}")


def main(words: list[str] | None = None) -> int:
    """The command line; returns 2 if nothing can be measured on this host."""
    options = parse(words)
    if os.geteuid() != 0:
        print("bench: must run as root", file=sys.stderr)
        return 2
    os.environ.pop("PYRUNTIME_FAULT", None)
    with tempfile.TemporaryDirectory(prefix="pyruntime-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        peers = [Peer(name, program, directory) for name, program in installed(options.runtime).items()]
        try:
            values = measure(peers, Bundle(directory / "bundle"), options.rounds, least=not options.no_least)
        except Failed as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
        finally:
            for peer in peers:
                peer.close()
    middle = medians(values)
    versions = {peer.name: peer.version for peer in peers}
    document: dict[str, Any] = {"rounds": options.rounds, "machine": machine(), "versions": versions, "medians": middle}
    if options.json:
        print(json.dumps({**document, "values": values}, indent=2))
    else:
        print(table(middle, versions, list(MEASURES)), end="")
    if options.record:
        RESULTS.write_text(json.dumps(document, indent=2) + "\n")
        return figures.main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
