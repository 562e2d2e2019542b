"""Store a run as JSON and load it: results from virtual machines are transferred and compared this way."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from conformance.outcome import Program, Run, Subtest, Verdict


def render(run: Run) -> str:
    def plain(value: Any) -> Any:
        return value.value if isinstance(value, Verdict) else value

    return json.dumps(asdict(run), default=plain, indent=1) + "\n"


def load(text: str) -> Run:
    data = json.loads(text)
    programs = [
        Program(
            **{
                **entry,
                "subtests": tuple(Subtest(Verdict(s["verdict"]), s["text"], s["detail"]) for s in entry["subtests"]),
                "leftovers": tuple(entry["leftovers"]),
            }
        )
        for entry in data["programs"]
    ]
    return Run(data["runtime"], data["version"], data["host"], programs)
