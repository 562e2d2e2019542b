"""``python -m bench.figures``: write the recorded figures to the documents, and the pages and plots of bench/results/.

`python -m bench --record` measures and writes bench/results/runtime.json; everything else is generated from that file.
The tables of a document are between the comments ``<!-- figures: NAME -->`` and ``<!-- end of figures -->``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from bench import bars, plots, pocker
from bench.cases import CASES
from bench.configurations import NAMES
from bench.peers import OURS, TOP
from bench.results import DIRECTORY, RECORD, UNITS, Results
from bench.scale import COUNTS, section

DOCUMENTS = (TOP / "README.md", TOP / "docs/site/index.md")
_BLOCK = re.compile(r"(<!-- figures: ([a-z]+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)
# What README.md shows: section, case, quantity.
FRONT = (*(("containerd-style", case, "wall") for case in (
             "create", "start", "state", "kill", "delete", "life", "run", "exec-varied", "detach-varied")),
         ("containerd-style", "run", "cpu"), ("containerd-style, cold", "create", "wall"),
         ("containerd-style", "created", "pss"), ("minimal", "least", "limit"))
# What a row of README.md says about a section.
NOTES = {"containerd-style": "", "containerd-style, cold": ", cold page cache", "minimal": ", minimal configuration"}
# label -> case; without delete --force, in which runc always waits 100 ms
PLOTTED = {"create": "create", "start": "start", "state": "state", "kill": "kill", "pause": "pause",
           "resume": "resume", "delete": "delete",
           "create+start+state+kill+delete": "life", "run of true": "run", "exec, first request": "exec-first",
           "exec, other arguments": "exec-varied", "exec --detach, first request": "detach-first",
           "exec --detach, other arguments": "detach-varied"}
# The small plot of the documentation site's first page: label -> case
FEW = {"create": "create", "start": "start", "exec": "exec-varied", "kill": "kill", "delete": "delete",
       "run of true": "run"}
PANELS = ("create", "start", "state", "kill", "pause", "delete", "run of true", "exec, other arguments")
# name -> section and title
BAR_PLOTS = {"verbs": ("containerd-style", "Wall time of each command, containerd-style container"),
             "cold": ("containerd-style, cold", "The same commands with a cold page cache")}
_SUFFIX = {"wall": "", "cpu": ", CPU time", "pss": "", "limit": ""}


def cells(results: Results, place: str, case: str, quantity: str, names: list[str]) -> list[str]:
    """The medians of a case, with the ratio to the first runtime in brackets; empty where nothing was measured."""
    _unit, decimals = UNITS[quantity]
    values = [results.samples.median(place, case, quantity, name) for name in names]
    base = values[0]
    shown = []
    for value in values:
        text = "" if value is None else f"{value:.{decimals}f}"
        shown.append(f"{text} ({value / base:.2f})" if value is not None and value is not base and base else text)
    return shown


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "".join("| " + " | ".join(row) + " |\n" for row in (head, ["---"] * len(head), *rows))


def front(results: Results) -> str:
    """The table of README.md."""
    names = list(results.versions)
    rows = [[f"{CASES[case]}{_SUFFIX[quantity]}{NOTES[place]}, {UNITS[quantity][0]}",
             *cells(results, place, case, quantity, names)]
            for place, case, quantity in FRONT if results.samples.median(place, case, quantity, OURS) is not None]
    about = ("\nMedians of interleaved rounds, and in brackets the ratio to pyruntime; containerd-style configuration"
             f" unless noted. Host: {results.machine}.\n")
    return _table(["", *results.versions.values()], rows) + about


def memory(results: Results) -> str:
    """The sentence of the documentation site's first page."""
    medians = {name: results.samples.median("containerd-style", "created", "pss", name) for name in results.versions}
    return ("KiB of memory of a container that waits for `start`: "
            + ", ".join(f"{name} {value:,.0f}" for name, value in medians.items() if value is not None) + ".\n")


def _section(results: Results, place: str) -> str:
    """A table of a section: wall time and CPU time of each runtime, and memory."""
    names = [name for name in results.versions if name not in results.left_out.get(place, {})]
    text = f"\n## {place}\n\n"
    timed = results.samples.cases(place, "wall")
    if timed:
        ordered = [case for case in CASES if case in timed]
        text += _table(["", *(f"{name}: ms" for name in names), *(f"{name}: CPU ms" for name in names)],
                       [[CASES[case], *cells(results, place, case, "wall", names),
                         *cells(results, place, case, "cpu", names)] for case in ordered])
    sized = [(case, quantity) for quantity in ("pss", "limit") for case in results.samples.cases(place, quantity)]
    text += "\n" + _table(["", *(f"{name}: KiB" for name in names)],
                          [[CASES[case], *cells(results, place, case, quantity, names)] for case, quantity in sized])
    return text


def _scale(results: Results) -> str:
    """A table for each runtime: every case at each number of containers, and the ratio to 10 containers."""
    text = ""
    counts = [count for count in COUNTS if section(count) in results.samples.tree]
    for name, version in results.versions.items():
        rows = []
        for case in (case for case in CASES if case in results.samples.cases(section(counts[0]), "wall")):
            values = [results.samples.median(section(count), case, "wall", name) for count in counts]
            base = results.samples.median(section(10), case, "wall", name)
            rows.append([CASES[case], *("" if value is None else f"{value:.1f}" + (
                f" ({value / base:.2f})" if base and count != 10 else "")
                for count, value in zip(counts, values, strict=True))])
        text += f"\n### {version}\n\n" + _table(["ms", *(str(count) for count in counts)], rows)
    return f"\n## Containers alive\n\nIn brackets: the ratio to 10 containers.\n{text}" if text else ""


def _pocker(results: Results) -> str:
    names = list(results.tools)
    text = {case: description for case, (description, _words) in pocker.CASES.items()} | {"monitor": pocker.MONITOR}
    rows = [[f"{text[case]}, {UNITS[quantity][0]}", *cells(results, pocker.SECTION, case, quantity, names)]
            for quantity in ("wall", "pss") for case in results.samples.cases(pocker.SECTION, quantity)]
    head = [f"{name} ({version})" if name.startswith("podman") else name for name, version in results.tools.items()]
    return "\n## pocker\n\n" + _table(["", *head], rows)


def page(results: Results) -> str:
    """bench/results/runtime.md."""
    rounds = ", ".join(f"{part} {number}" for part, number in results.rounds.items())
    text = ("# Results\n\nWritten by `make bench ARGS=--record` from [runtime.json](runtime.json), which has every"
            " sample. The method: [bench/README.md](../README.md).\n\nMedians, and in brackets the ratio to pyruntime."
            f" Host: {results.machine}. Interleaved rounds: {rounds}.\n\n")
    text += "".join(f"* {name}: {version}\n" for name, version in results.versions.items())
    text += "".join(f"\n![{name}]({name}.svg)\n" for name in plot(results) if name != "few")
    text += "\n## Goals\n\n" + bars.table(results)
    for place in (*NAMES, *(f"{name}, cold" for name in NAMES)):
        if place in results.samples.tree:
            text += _section(results, place)
    if section(COUNTS[0]) in results.samples.tree:
        text += _scale(results)
    text += _pocker(results) if results.tools else ""
    missing = [f"* {place}: {name}: `{reason}`\n" for place, reasons in results.left_out.items()
               for name, reason in reasons.items()]
    return text + ("\n## Not measured\n\n" + "".join(missing) if missing else "")


def plot(results: Results) -> dict[str, str]:
    """The plots: name -> SVG."""
    names, made = list(results.versions), {}

    def values(place: str, case: str) -> dict[str, float]:
        found = {name: results.samples.median(place, case, "wall", name) for name in names}
        return {name: value for name, value in found.items() if value is not None}

    for name, (place, title) in BAR_PLOTS.items():
        rows = {label: row for label, case in PLOTTED.items() if (row := values(place, case))}
        if rows:
            made[name] = plots.bars(title, "milliseconds, median", rows, names)
    few = {label: row for label, case in FEW.items() if (row := values("containerd-style", case))}
    if few:
        made["few"] = plots.bars("Time of a command", "milliseconds, median", few, names, width=460, left=84)
    counts = [count for count in COUNTS if section(count) in results.samples.tree]
    if counts:
        panels = {label: {name: {count: row[name] for count in counts if name in (
            row := values(section(count), PLOTTED[label]))} for name in names} for label in PANELS}
        made["scale"] = plots.lines("Wall time with 1 to 1000 containers alive",
                                    "milliseconds, median; x: containers alive", panels, names)
    return made


def rendered(document: str, results: Results) -> str:
    """Insert the figures of these results into a document. Raises KeyError for an unknown name."""
    shown = {"front": front, "memory": memory}
    return _BLOCK.sub(lambda found: f"{found[1]}{shown[found[2]](results)}{found[3]}", document)


def written(results: Results) -> dict[Path, str]:
    """Every generated file and its text."""
    return {**{path: rendered(path.read_text(), results) for path in DOCUMENTS},
            DIRECTORY / "runtime.md": page(results),
            **{DIRECTORY / f"{name}.svg": text for name, text in plot(results).items()}}


def main() -> int:
    """Write the files."""
    for path, text in written(Results.load(RECORD.read_text())).items():
        path.write_text(text)
        print(path.relative_to(TOP))
    return 0


if __name__ == "__main__":
    sys.exit(main())
