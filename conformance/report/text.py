"""A run as text: one line per program, its failures, and the totals."""

from __future__ import annotations

from conformance.outcome import Program, Run, Verdict

_MARK = {Verdict.OK: "ok", Verdict.NOT_OK: "not ok", Verdict.SKIP: "skipped", Verdict.TODO: "ok"}
_DETAIL_LINES = 12


def render(run: Run, *, verbose: bool = False) -> str:
    lines = [f"runtime: {run.version or run.runtime}", f"host:    {run.host}", ""]
    width = max((len(program.name) for program in run.programs), default=0)
    for program in run.programs:
        lines += program_lines(program, width, verbose=verbose)
    return "\n".join([*lines, "", *summary_lines(run)])


def program_lines(program: Program, width: int, *, verbose: bool = False) -> list[str]:
    """The line of one program and, indented, its failures (with ``verbose`` every subtest)."""
    lines = [f"{_MARK[program.verdict]:8}{program.name:{width}}  {counts(program)}  {program.seconds:6.1f} s"]
    if program.stopped:
        lines.append(f"        stopped: {program.stopped}")
    if program.note:
        lines.append(f"        {program.note}")
    for number, subtest in enumerate(program.subtests, 1):
        if subtest.verdict is Verdict.NOT_OK:
            lines.append(f"        not ok {number} - {subtest.text}")
            lines += [f"            {line}" for line in subtest.detail.splitlines()[:_DETAIL_LINES]]
        elif subtest.verdict is Verdict.TODO or verbose or program.verdict is Verdict.SKIP:
            lines.append(f"        {subtest.verdict.value} {number} - {subtest.text}")
    lines += [f"        left behind: {item}" for item in program.leftovers]
    return lines


def counts(program: Program) -> str:
    ok, bad, skip = (program.count(verdict) for verdict in (Verdict.OK, Verdict.NOT_OK, Verdict.SKIP))
    return f"{ok:4} ok {bad:3} not ok {skip:3} skip"


def summary_lines(run: Run) -> list[str]:
    totals = run.totals()
    ok, skip = totals[Verdict.OK], totals[Verdict.SKIP]
    by_verdict = {verdict: sum(1 for p in run.programs if p.verdict is verdict) for verdict in Verdict}
    return [
        f"programs: {len(run.programs)}: {by_verdict[Verdict.OK]} ok, {by_verdict[Verdict.NOT_OK]} not ok "
        f"({len(run.stopped())} of them stopped early), {by_verdict[Verdict.SKIP]} skipped",
        f"subtests: {ok} ok, {totals[Verdict.NOT_OK]} not ok, {skip} skipped "
        f"(TAP counts a skip as ok: {ok + skip} ok in all)",
    ]
