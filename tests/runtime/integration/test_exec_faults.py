"""Every step of exec fails, and the process that performs it is killed: nothing is left, and the container keeps
running."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from pyruntime.runtime.compiler.compile import Plan
from pyruntime.runtime.lifecycle import replay, template
from pyruntime.runtime.lifecycle.exec import ExecRequest, plan_of
from pyruntime.runtime.lifecycle.facts import read_host
from pyruntime.runtime.lifecycle.life import prepare, settle
from pyruntime.runtime.lifecycle.store import StateDirectory
from pyruntime.runtime.plan.encode import FAULT_FAIL, FAULT_KILL, FAULT_KILL_AFTER, encode, records
from pyruntime.runtime.plan.steps import Step
from tests.commands import COMMAND
from tests.containers import Leftovers, Runtime
from tests.front import Both


@pytest.fixture(params=["busybox", "userns", "seccomp"])
def c1(runtime: Runtime, sample: Any, request: pytest.FixtureRequest, tmp_path: Path) -> Runtime:
    _bring(runtime, sample(request.param), tmp_path)
    return runtime


def _bring(runtime: Runtime, path: Path, tmp_path: Path) -> None:
    """The container of a sample, with a program that only waits."""
    for parent in (tmp_path, *tmp_path.parents):   # the root of a user namespace must reach it
        if str(parent) != "/" and parent.stat().st_mode & 0o011 != 0o011:
            parent.chmod(parent.stat().st_mode | 0o011)
    config = json.loads((path / "config.json").read_text())
    config["process"]["args"] = ["sh", "-c", "sleep 1000"]
    (path / "config.json").write_text(json.dumps(config))
    runtime.ok("run", "-d", "c1", path)


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


@pytest.mark.parametrize("kind", ["fail", "kill", "after"])
@pytest.mark.parametrize(("name", "kept"), [("busybox", False), ("userns", False), ("seccomp", False),
                                            ("busybox", True)], ids=["busybox", "userns", "seccomp", "kept plan"])
def test_every_step_of_a_launch_by_the_front(both: Both, sample: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                             name: str, kept: bool, kind: str) -> None:
    """The faults are in the exec template, or in the plan that is kept for a process file. Python repeats the launch:
    the program is executed once."""
    _bring(both.runtime, sample(name), tmp_path)
    # Quick, and without a new plan for the process file.
    (both.place / "libexec/pyruntime").write_text(
        f'#!/bin/sh\necho "$@" >>{both.called}\nPYRUNTIME_FRONT=off exec {COMMAND} "$@"\n')
    process, pid_file = tmp_path / "process", tmp_path / "pid"
    process.write_text('{"args": ["echo", "a"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 1, "gid": 1}}')
    words = f"exec --pid-file {pid_file} " + (f"--process {process} c1" if kept else "--user 1:1 c1 echo a")
    asked: dict[str, Any] = {"process": str(process)} if kept else {"args": ["echo", "a"], "user": "1:1"}
    plan = plan_of(str(both.runtime.root), "c1", ExecRequest(pid_file=str(pid_file), **asked))
    leftovers = Leftovers(both.runtime.root)
    leftovers.root = tmp_path / "none"
    assert both.answer("exec c1 true", "on") == ((0, "", ""), True)
    alone = json.loads(both.runtime.ok("ps", "-f", "json", "c1"))
    names = [step.op.name for step in plan.steps]
    done = []
    for index, step in enumerate(plan.steps):
        if step.op.actor == "host" or (kind == "after" and step.op.name in ("clone_init", "execve")):
            continue   # test_front_calls.py, test_killed.py: what the front does itself
        code = {"fail": FAULT_FAIL, "kill": FAULT_KILL, "after": FAULT_KILL_AFTER}[kind]
        _spoil(both.runtime, monkeypatch, plan, {index: code}, process.read_bytes() if kept else b"")
        answer, by_front = both.answer(words, "on")
        if kind in ("kill", "after") and index >= names.index("prepare_exec") + (kind == "kill"):
            # A program that is killed at once cannot be distinguished from a process killed just before execve.
            assert (answer, by_front) == ((137, "", ""), True), step
        else:
            assert (answer, by_front) == ((0, "a\n", ""), False), step
        assert pid_file.read_text().isdecimal(), step
        pid_file.unlink()
        assert _settle(both.runtime, alone) == alone, step
        done.append(step)
    assert len(done) > 15
    leftovers.check()


def _spoil(runtime: Runtime, monkeypatch: pytest.MonkeyPatch, plan: Plan, faults: dict[int, int],
           process: bytes) -> None:
    """Write the exec template again with faults; or with a process file, the plan that is kept for it."""
    container = StateDirectory(str(runtime.root), "c1")
    record = container.read()
    if process:
        monkeypatch.setenv("PYRUNTIME_FRONT", "on")
        replay.keep(container, record, plan, encode(plan.steps, faults), process)
        return
    with monkeypatch.context() as patched:
        def with_faults(steps: list[Step], none: dict[int, int]) -> list[tuple[Step, bytes]]:
            assert [step.op.name for step in steps] == [step.op.name for step in plan.steps]
            return records(steps, none | faults)

        patched.setattr(template, "records", with_faults)
        template.leave(container, record, container.kept(), read_host())
    settle(container, record, prepare(container, record))
