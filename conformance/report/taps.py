"""A run as TAP 13: one test per program, its subtests indented below it as in the TAP convention for subtests."""

from __future__ import annotations

from conformance.outcome import Run, Subtest
from conformance.tap import format_subtests, result_line


def render(run: Run) -> str:
    lines = ["TAP version 13", f"# runtime: {run.version or run.runtime}", f"1..{len(run.programs)}"]
    for number, program in enumerate(run.programs, 1):
        if program.subtests:
            lines += [f"    # Subtest: {program.name}", format_subtests(program.subtests, "    ")]
        words = f"{program.name}: {program.note}" if program.note else program.name
        lines.append(result_line(number, Subtest(program.verdict, words)))
        if program.stopped:
            lines.append(f"  # stopped: {program.stopped}")
    return "\n".join(lines) + "\n"
