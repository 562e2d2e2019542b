"""Compare two runs: the counts of each program, and the programs in which the first run is worse."""

from __future__ import annotations

from conformance.outcome import Program, Run, Verdict
from conformance.report.text import summary_lines


def render(left: Run, right: Run) -> str:
    names = list(dict.fromkeys(program.name for run in (left, right) for program in run.programs))
    width = max((len(name) for name in names), default=0)
    lines = [
        f"A: {left.version or left.runtime}",
        f"B: {right.version or right.runtime}",
        f"host: {left.host}",
        "",
        f"{'':{width}}  {'A':>24}  {'B':>24}",
    ]
    by_name = [{program.name: program for program in run.programs} for run in (left, right)]
    for name in names:
        a, b = (programs.get(name) for programs in by_name)
        lines.append(f"{name:{width}}  {_cell(a):>24}  {_cell(b):>24}{_remark(a, b)}")
    for letter, run in (("A", left), ("B", right)):
        lines += ["", *(f"{letter} {line}" for line in summary_lines(run))]
    return "\n".join(lines)


def worse(left: Run, right: Run) -> list[str]:
    """The programs in which the left runtime is worse than the right one."""
    others = {program.name: program for program in right.programs}
    return [p.name for p in left.programs if p.name in others and _rank(p) < _rank(others[p.name])]


def _rank(program: Program) -> tuple[int, int, int]:
    """A sort key, greater is better: ran to completion, fewer failures, more successes."""
    return (-bool(program.stopped), -program.count(Verdict.NOT_OK), program.count(Verdict.OK))


def _cell(program: Program | None) -> str:
    if program is None:
        return "not run"
    text = f"{program.count(Verdict.OK)}/{program.count(Verdict.NOT_OK)}/{program.count(Verdict.SKIP)}"
    return f"stopped {text}" if program.stopped else f"{program.verdict.value} {text}"


def _remark(left: Program | None, right: Program | None) -> str:
    if left is None or right is None or _rank(left) == _rank(right):
        return ""
    return "  A better" if _rank(left) > _rank(right) else "  B better"
