"""Every step of the sample plans fails, and the process that performs it is killed: nothing may be left behind."""

from __future__ import annotations

from typing import Any

import pytest

from bundles.build import names
from pyruntime.runtime.config.load import load_bundle
from pyruntime.runtime.lifecycle.create import Request, make_plan
from tests.containers import Leftovers, Runtime
from tests.runtime.integration.test_samples import open_path

__all__ = ["open_path"]


@pytest.mark.parametrize("name", names())
def test_every_step_fails(runtime: Runtime, sample: Any, open_path: None, name: str) -> None:
    """`run` is Python's, which undoes what it has done."""
    path = sample(name)
    steps = make_plan(load_bundle(str(path)), "c1", Request()).steps
    leftovers = Leftovers(runtime.root)
    wrong = []
    for index, step in enumerate(steps):
        done = runtime("--debug", "run", "c1", path, env={"PYRUNTIME_FAULT": f"fail:{index}"})
        named = step.where in done.stderr and f"step {index + 1} of {len(steps)}" in done.stderr
        if done.returncode == 0 or not named:
            wrong.append(f"{step.op.name} ({index + 1}, {step.phase}): {done.stderr.strip()}")
        leftovers.check()
    assert wrong == []


@pytest.mark.parametrize("kind", ["kill", "after"])
@pytest.mark.parametrize("name", names())
def test_every_process_is_killed(runtime: Runtime, front: str, sample: Any, open_path: None, name: str,
                                 kind: str) -> None:
    """Before the step that it performs, and after it."""
    path = sample(name)
    steps = make_plan(load_bundle(str(path)), "c1", Request()).steps
    leftovers = Leftovers(runtime.root)
    wrong = []
    for index, step in enumerate(steps):
        if kind == "after" and step.op.name in ("execve", "clone_init"):
            continue   # there is no "after": the program has been executed, or the stub has exited
        if front == "off" and step.op.actor != "host":
            continue   # `run` itself cleans up, which is Python's both ways
        done = runtime("--debug", "run", "c1", path, env={"PYRUNTIME_FAULT": f"{kind}:{index}"})
        where = f"{kind} {step.op.name} ({index + 1}, {step.phase})"
        if done.returncode == 0:
            wrong.append(f"{where}: succeeded")
        if done.returncode == -9:   # the runtime itself was killed: the next command cleans up
            assert step.op.actor == "host"
            if runtime("delete", "--force", "c1").returncode:
                wrong.append(f"{where}: delete --force failed")
        leftovers.check()
    assert wrong == []


@pytest.mark.parametrize("name", ["busybox", "userns", "hooks"])
def test_the_runtime_is_killed_at_every_step(runtime: Runtime, sample: Any, open_path: None, name: str) -> None:
    """The runtime is killed while another process performs the step; from `created` on it is `start`."""
    path = sample(name)
    steps = make_plan(load_bundle(str(path)), "c1", Request()).steps
    waiting = next(index for index, step in enumerate(steps) if step.op.name == "await_start")
    leftovers = Leftovers(runtime.root)
    for index, step in enumerate(steps):
        if step.op.name in ("execve", "seccomp"):
            continue   # the filter may forbid the report, and the parent does not wait after it
        done = runtime("run", "c1", path, env={"PYRUNTIME_FAULT": f"parent:{index}"})
        assert done.returncode == -9, (step, done.stderr)
        if index < waiting:
            state = runtime("state", "c1")
            assert state.returncode == 1 or '"status": "stopped"' in _settled(runtime), (step, state.stdout)
        runtime.ok("delete", "--force", "c1")
        leftovers.check()


def _settled(runtime: Runtime) -> str:
    """The state after init has noticed that the runtime has died."""
    runtime.await_status("c1", "stopped")
    return runtime.ok("state", "c1")
