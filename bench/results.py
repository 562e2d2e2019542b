"""The results of a run: samples, and what they are compared by.

``bench/results/runtime.json`` is the one record; tables and plots are generated from it.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).resolve().parent / "results"
RECORD = DIRECTORY / "runtime.json"
# quantity -> unit and decimals
UNITS = {"wall": ("ms", 1), "cpu": ("ms", 1), "pss": ("KiB", 0), "limit": ("KiB", 0)}

Tree = dict[str, dict[str, dict[str, dict[str, list[float]]]]]


class Samples:
    """Values by section, case, quantity and runtime: milliseconds or KiB."""

    def __init__(self, tree: Tree | None = None) -> None:
        self.tree: Tree = tree if tree is not None else {}

    def add(self, section: str, case: str, quantity: str, runtime: str, value: float) -> None:
        """Add one value."""
        cases = self.tree.setdefault(section, {}).setdefault(case, {})
        cases.setdefault(quantity, {}).setdefault(runtime, []).append(round(value, 3))

    def median(self, section: str, case: str, quantity: str, runtime: str) -> float | None:
        """The median, or None if nothing was measured."""
        values = self.tree.get(section, {}).get(case, {}).get(quantity, {}).get(runtime)
        return statistics.median(values) if values else None

    def cases(self, section: str, quantity: str) -> list[str]:
        """The cases of a section that have values of this quantity, in the order of measurement."""
        return [case for case, quantities in self.tree.get(section, {}).items() if quantity in quantities]


class Results:
    """The samples of one run, and what was measured, where."""

    def __init__(self, samples: Samples, *, versions: dict[str, str], tools: dict[str, str], rounds: dict[str, int],
                 machine: str, left_out: dict[str, dict[str, str]]) -> None:
        self.samples = samples
        self.versions = versions     # runtime -> its --version; pyruntime first
        self.tools = tools           # front end -> its --version; pocker first
        self.rounds = rounds         # part -> number of rounds
        self.machine = machine
        self.left_out = left_out     # section -> runtime -> why it was not measured

    @classmethod
    def load(cls, text: str) -> Results:
        """Read a document that ``dump`` wrote."""
        document: dict[str, Any] = json.loads(text)
        return cls(Samples(document.pop("samples")), **document)

    def dump(self) -> str:
        """A JSON document with each list of samples on one line."""
        document = {"machine": self.machine, "rounds": self.rounds, "versions": self.versions, "tools": self.tools,
                    "left_out": self.left_out, "samples": self.samples.tree}
        return _json(document) + "\n"


def _json(value: object, indent: str = "") -> str:
    if not isinstance(value, dict):
        return json.dumps(value)
    inner = indent + " "
    return "{\n" + ",\n".join(f"{inner}{json.dumps(key)}: {_json(item, inner)}" for key, item in value.items()) + (
        f"\n{indent}}}")


def machine() -> str:
    """Describe the host of the measurements, without its name."""
    system = os.uname()
    layout = "cgroup v2" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "cgroup v1"
    manager = "systemd" if Path("/run/systemd/system").exists() else "no systemd"
    release = ".".join(system.release.split(".")[:2])
    return (f"{os.cpu_count()} processors, Linux {release} on {system.machine}, {layout}, {manager},"
            f" CPython {sys.version_info.major}.{sys.version_info.minor}")
