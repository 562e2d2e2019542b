"""Every step of exec fails, and the process that performs it is killed: nothing is left, and the container keeps
running."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from pyruntime.runtime.lifecycle.exec import ExecRequest, plan_of
from pyruntime.runtime.plan.steps import Step
from tests.containers import Leftovers, Runtime


@pytest.fixture(params=["busybox", "userns", "seccomp"])
def c1(runtime: Runtime, sample: Any, request: pytest.FixtureRequest, tmp_path: Path) -> Runtime:
    """The container of a sample, with a program that only waits."""
    for parent in (tmp_path, *tmp_path.parents):   # the root of a user namespace must reach it
        if str(parent) != "/" and parent.stat().st_mode & 0o011 != 0o011:
            parent.chmod(parent.stat().st_mode | 0o011)
    path = sample(request.param)
    config = json.loads((path / "config.json").read_text())
    config["process"]["args"] = ["sh", "-c", "sleep 1000"]
    (path / "config.json").write_text(json.dumps(config))
    runtime.ok("run", "-d", "c1", path)
    return runtime


def _steps(runtime: Runtime) -> list[Step]:
    return plan_of(str(runtime.root), "c1", ExecRequest(["true"], pid_file="/pid")).steps


def _settle(runtime: Runtime, alone: list[int]) -> list[int]:
    """The container's processes, after killed processes have been reaped."""
    deadline = time.monotonic() + 5
    while (found := json.loads(runtime.ok("ps", "-f", "json", "c1"))) != alone and time.monotonic() < deadline:
        time.sleep(0.01)
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("kind", ["fail", "kill", "after", "parent"])
def test_every_step(c1: Runtime, tmp_path: Path, kind: str) -> None:
    steps = _steps(c1)
    assert [step.op.name for step in steps][-1] == "execve" and len(steps) > 20
    state, alone = c1.state("c1"), json.loads(c1.ok("ps", "-f", "json", "c1"))
    leftovers = Leftovers(c1.root)
    leftovers.root = tmp_path / "none"   # the container itself stays
    wrong = []
    prepared = [step.op.name for step in steps].index("prepare_exec")
    for index, step in enumerate(steps):
        if kind == "after" and step.op.name in ("execve", "clone_init"):
            continue   # there is no "after": the program has been executed, or the stub has exited
        if kind == "parent" and step.op.name in ("seccomp", "execve"):
            continue   # the filter may forbid the report, and the parent does not wait after it
        pid_file = tmp_path / "pid"
        done = c1("--debug", "exec", "--pid-file", pid_file, "c1", "true", env={"PYRUNTIME_FAULT": f"{kind}:{index}"})
        where = f"{kind} {step.op.name} ({index + 1}, {step.phase})"
        if kind in ("kill", "after") and index >= prepared + (kind == "kill"):
            # A program that is killed at once cannot be distinguished from a process killed just before execve.
            assert done.returncode == 137, (where, done.stderr)
            pid_file.unlink()
            continue
        if done.returncode != (-9 if kind == "parent" or done.returncode == -9 else 255):
            wrong.append(f"{where}: {done.returncode} {done.stderr.strip()}")
        if done.returncode == -9 and kind != "parent" and step.op.actor != "host":
            wrong.append(f"{where}: the runtime was killed")
        if kind == "fail" and not (step.where in done.stderr and f"step {index + 1} of {len(steps)}" in done.stderr):
            wrong.append(f"{where}: {done.stderr.strip()}")
        if pid_file.exists() and done.returncode != -9:
            wrong.append(f"{where}: the pid file is left")
        pid_file.unlink(missing_ok=True)
        if _settle(c1, alone) != alone:
            wrong.append(f"{where}: a process is left")
    leftovers.check()
    assert wrong == []
    assert c1.state("c1") == state
    c1.ok("exec", "c1", "true")
