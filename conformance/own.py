"""Run our own cases, each in a separate process, so that a case that hangs or crashes does not affect others."""

from __future__ import annotations

import json
import os
import traceback

from conformance.lib.container import Runtime, RuntimeHangs
from conformance.lib.requirement import Case
from conformance.lib.trial import Failed, Skipped, Trial
from conformance.outcome import Program, Subtest, Verdict
from conformance.sandbox import Ended, RuntimeCommand, supervise, workplace

TIMEOUT = 60.0
_OPERATION_SECONDS = 20.0


def run(case: Case, runtime: RuntimeCommand, *, scale: float = 1.0, unmount: tuple[str, ...] = ()) -> Program:
    """Run one case in its own workplace."""
    timeout = TIMEOUT * scale
    with workplace(runtime, unmount=unmount) as place:
        result, log = place.path / "result.json", place.path / "log"

        def judge() -> int:
            trial = Trial(Runtime((str(place.wrapper),), _OPERATION_SECONDS * scale), place.path, scale)
            verdict, detail = _try(case, trial)
            result.write_text(json.dumps([verdict.value, detail]))
            return 0

        ended = supervise(place, judge, timeout, log, log)
        said = log.read_text(errors="replace")
        subtest, stopped = _read(case, ended, result.read_text() if result.exists() else "", said, timeout)
    return Program(case.name, (subtest,), stopped, ended.seconds, said, case.section, tuple(place.leftovers))


def _try(case: Case, trial: Trial) -> tuple[Verdict, str]:
    """Wrong behaviour of the runtime is a failure; so is an unexpected exception, with its traceback."""
    try:
        case.body(trial)
    except Skipped as skipped:
        return Verdict.SKIP, str(skipped)
    except (Failed, RuntimeHangs, TimeoutError) as failed:
        return Verdict.NOT_OK, str(failed)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[1:3]
        place = ", ".join(f"{os.path.basename(frame.filename)}:{frame.lineno}" for frame in where)
        return Verdict.NOT_OK, f"{type(error).__name__}: {error} ({place})"
    return Verdict.OK, ""


def _read(case: Case, ended: Ended, result: str, said: str, timeout: float) -> tuple[Subtest, str]:
    text = f"{case.rule} [{case.section}, {case.level}]"
    if ended.status is None:
        return Subtest(Verdict.NOT_OK, text, "timeout"), f"timeout after {timeout:.0f} s"
    if ended.status or not result:
        return Subtest(Verdict.NOT_OK, text, said), f"exit status {ended.status}: {said.strip()[-300:]}"
    verdict, detail = json.loads(result)
    if verdict == Verdict.SKIP.value:
        return Subtest(Verdict.SKIP, f"{text}: {detail}"), ""
    return Subtest(Verdict(verdict), text, detail), ""
