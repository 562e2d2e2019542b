"""``python -m bench``: compare pyruntime with crun, runc and youki, if installed, in one run. See bench/README.md.

Rounds are interleaved and their order rotates, so that other load on the host affects all runtimes equally. Prints
medians, and in brackets the ratio to pyruntime.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bench import bars, figures, interpreter, scale
from bench.cases import Round, least_memory, rounds, warmed
from bench.configurations import NAMES, Bundles
from bench.peers import TOP, Failed, Peer, installed, remove_groups
from bench.results import RECORD, Results, Samples, machine

# part -> number of rounds by default
ROUNDS = {"warm": 25, "cold": 7, "least": 1, "scale": 4, "pocker": 15}
# Not id-mapped: it reads the same files.
COLD = ("minimal", "containerd-style")


def _counts(text: str) -> tuple[int, ...]:
    words = text.split(",")
    numbers = tuple(int(word) for word in words if word.isdecimal())
    if len(numbers) < len(words) or numbers[0] < 1 or list(numbers) != sorted(numbers):
        raise argparse.ArgumentTypeError(f'expected ascending numbers such as 1,10,100, got "{text}"')
    return numbers


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", default=[], choices=list(ROUNDS),
                        help="measure this (repeatable); default: everything")
    parser.add_argument("--rounds", type=int, metavar="N",
                        help=f"default: {', '.join(f'{part} {number}' for part, number in ROUNDS.items())}")
    parser.add_argument("--runtime", action="append", default=[], metavar="NAME[=PROGRAM]",
                        help="compare these (repeatable); default: pyruntime, and crun, runc and youki if installed")
    parser.add_argument("--configuration", action="append", default=[], choices=NAMES,
                        help="measure these in the parts warm and cold (repeatable); default: all")
    parser.add_argument("--scale", type=_counts, default=scale.COUNTS, metavar="N,...",
                        help=f"numbers of containers alive, ascending ({','.join(map(str, scale.COUNTS))})")
    parser.add_argument("--bars", action="store_true", help="print how the recorded figures meet the goals, and exit")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    parser.add_argument("--record", action="store_true",
                        help="measure everything; write bench/results/ and the figures of README.md")
    options = parser.parse_args(words)
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if options.record and (options.part or options.configuration or options.scale != scale.COUNTS):
        parser.error("--record measures everything: leave out --part, --configuration and --scale")
    options.part = options.part or list(ROUNDS)
    options.configuration = options.configuration or list(NAMES)
    return options


class Bench:
    """One run: the compared runtimes, and what has been measured."""

    def __init__(self, options: argparse.Namespace, directory: Path, peers: list[Peer]) -> None:
        self.options = options
        self.peers = peers
        self.bundles = Bundles(directory)
        self.rounds = {part: options.rounds or ROUNDS[part] for part in options.part}
        versions = {peer.name: peer.version for peer in peers}
        self.results = Results(Samples(), versions=versions, tools={}, rounds=self.rounds, machine=machine(),
                               left_out={})

    def __call__(self) -> Results:
        """Measure each part, and print its duration to standard error. Raises Failed."""
        parts: dict[str, Callable[[int], None]] = {
            "warm": self._warm, "cold": self._cold, "least": self._least, "scale": self._scale,
            "pocker": self._pocker}
        for part, number in self.rounds.items():
            begun = time.monotonic()
            parts[part](number)
            print(f"bench: {part}: {number} rounds in {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
        return self.results

    def _leave_out(self, section: str, runtime: str, reason: str) -> None:
        print(f"bench: {section}: {runtime} is not measured: {reason}", file=sys.stderr)
        line = reason.partition("\n")[0].replace(f"{self.bundles.directory}/", "")
        self.results.left_out.setdefault(section, {})[runtime] = line

    def _warm(self, number: int) -> None:
        for name in self.options.configuration:
            self._section(name, name, number, cold=False)

    def _cold(self, number: int) -> None:
        for name in (name for name in COLD if name in self.options.configuration):
            self._section(f"{name}, cold", name, number, cold=True)

    def _section(self, section: str, configuration: str, number: int, *, cold: bool) -> None:
        good, failed = warmed([Round(peer, configuration, self.bundles, cold=cold) for peer in self.peers])
        for runtime, reason in failed.items():
            self._leave_out(section, runtime, reason)
        rounds(good, self.results.samples, section, number)

    def _least(self, number: int) -> None:
        for _ in range(number):
            for peer in self.peers:
                try:
                    self.results.samples.add("minimal", "least", "limit", peer.name, least_memory(peer, self.bundles))
                except Failed as error:
                    if peer is self.peers[0]:
                        raise
                    self._leave_out("least", peer.name, str(error))

    def _scale(self, number: int) -> None:
        for peer in self.peers:
            try:
                scale.measure(peer, self.bundles, self.results.samples, self.options.scale, number)
            except Failed as error:
                if peer is self.peers[0]:
                    raise
                self._leave_out("scale", peer.name, str(error))

    def _pocker(self, number: int) -> None:
        # In its own session: an interrupt from the terminal reaches it once, from here.
        with subprocess.Popen([sys.executable, "-m", "bench.pocker", "--rounds", str(number)], cwd=TOP,
                              stdout=subprocess.PIPE, text=True, start_new_session=True) as child:
            try:
                text, _ = child.communicate()
            except BaseException:
                child.terminate()
                child.wait()
                raise
        if child.returncode:
            raise Failed("bench.pocker failed")
        document = json.loads(text)
        self.results.tools = document["tools"]
        self.results.samples.tree.update(document["samples"])


def main(words: list[str] | None = None) -> int:
    """The command line; returns 2 if nothing can be measured on this host."""
    options = parse(words)
    if options.bars:
        print(bars.table(Results.load(RECORD.read_text())), end="")
        return 0
    if os.geteuid() != 0:
        print("bench: must run as root", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))   # as an interrupt: leave nothing behind
    if not interpreter.is_copy():
        interpreter.execute_copy("bench", sys.argv[1:] if words is None else words)
    try:
        with ExitStack() as stack:
            stack.callback(interpreter.remove_copy)
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pyruntime-bench-")))
            directory.chmod(0o755)
            stack.callback(remove_groups)
            peers = []
            for runtime, program in installed(options.runtime).items():
                peers.append(Peer(runtime, program, directory))
                stack.callback(peers[-1].close)
            results = Bench(options, directory, peers)()
    except Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    if options.record:
        RECORD.write_text(results.dump())
        return figures.main()
    print(results.dump() if options.json else figures.page(results), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
