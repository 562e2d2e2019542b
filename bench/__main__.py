"""``python -m bench``: compare pyruntime with runc and crun where they are installed, in one run.

Rounds are interleaved and their order rotates, so that what else happens on the machine meets every runtime alike.
Medians are printed, and in brackets how many times as much as the first runtime's.
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

from bench.measure import MEASURES, UNITS, Bundle, least_memory, one_round, running_round
from bench.peers import Failed, Peer, installed


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="(%(default)s)")
    parser.add_argument("--runtime", action="append", default=[], metavar="NAME[=PROGRAM]",
                        help="compare these (repeatable); default: pyruntime, and crun and runc if installed")
    parser.add_argument("--no-least", action="store_true", help="do not look for the smallest memory limit (a minute)")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    options = parser.parse_args(words)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def measure(peers: list[Peer], bundle: Bundle, rounds: int, *, least: bool) -> dict[str, dict[str, list[float]]]:
    """Runtime -> measure -> values, in milliseconds or KiB."""
    values: dict[str, dict[str, list[float]]] = {peer.name: {} for peer in peers}
    runs = f"bench-{os.getpid()}-runs"
    path = bundle.save("sleep", "1000000")
    try:
        for peer in peers:
            peer.time("run", "--detach", "--bundle", path, f"{runs}-{peer.name}")   # a cgroup for each
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
    """The same with one number each."""
    return {name: {key: statistics.median(numbers) for key, numbers in measures.items()}
            for name, measures in values.items()}


def table(middle: dict[str, dict[str, float]], versions: dict[str, str]) -> str:
    """A Markdown table: a row a measure, a column a runtime, ratios to the first."""
    names = list(middle)
    rows = [["", *(versions[name] for name in names)], ["---"] * (len(names) + 1)]
    for key, text in MEASURES.items():
        if key not in middle[names[0]]:
            continue
        unit = UNITS.get(key, "ms")
        row = [f"{text}, {unit}"]
        base = middle[names[0]][key]
        for name in names:
            value = middle[name][key]
            shown = f"{value:.0f}" if unit == "KiB" else f"{value:.1f}"
            row.append(shown if name == names[0] else f"{shown} ({value / base:.2f})")
        rows.append(row)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def main(words: list[str] | None = None) -> int:
    """The command line; 2 when nothing can be measured here."""
    options = parse(words)
    if os.geteuid() != 0:
        print("bench: root is needed", file=sys.stderr)
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
    if options.json:
        document: dict[str, Any] = {"rounds": options.rounds, "versions": versions, "medians": middle, "values": values}
        print(json.dumps(document, indent=2))
    else:
        print(table(middle, versions), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
