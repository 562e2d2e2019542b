"""Errors for programs: one line, in runc's wording; the step is in the log and in --debug."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.commands import COMMAND
from tests.containers import PATIENCE, Bundle, Runtime


def on_terminal(runtime: Runtime, *words: object) -> str:
    command = " ".join(map(str, (COMMAND, "--root", runtime.root, *words)))
    return subprocess.run(["script", "-qec", command, "/dev/null"], stdin=subprocess.DEVNULL, check=False,
                          capture_output=True, text=True, timeout=PATIENCE).stdout


def test_an_error_is_one_line_off_a_terminal(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.save(process__args=["nosuch"])
    log = tmp_path / "log"
    wanted = 'config.json: process.args[0] (nosuch): exec: "nosuch": executable file not found in $PATH'
    done = runtime("--log", log, "--log-format", "json", "run", "c1", bundle)
    assert done.stderr == f"{wanted}\n"
    entry = json.loads(log.read_text().splitlines()[-1])
    assert entry["msg"] == wanted and entry["step"] == "find_executable"
    assert entry["place"].startswith("step ") and "phase process (find_executable, execve)" in entry["place"]
    assert runtime("run", "c1", bundle).stderr == f"error: {wanted}\n"
    lines = on_terminal(runtime, "run", "c1", bundle).replace("\r", "").splitlines()
    assert lines[-2:] == [f"error: {wanted}", f"  {entry['place']}"]


def test_debug_lines_on_stderr_have_a_level(runtime: Runtime, bundle: Bundle) -> None:
    bundle.save(process__args=["nosuch"])
    *debug, error = runtime("--debug", "run", "c1", bundle).stderr.splitlines()
    assert debug and all("level=debug msg=" in line for line in debug)
    assert "phase process (find_executable, execve)" in debug[-1] and error.startswith("error: ")


@pytest.mark.parametrize("mistakes", [{"process__cwd": 7, "hostname": 5}, {"linux__maskedPaths": [""]}])
def test_several_problems_are_one_line(runtime: Runtime, bundle: Bundle, mistakes: dict[str, Any]) -> None:
    bundle.save(**mistakes)
    assert runtime("run", "c1", bundle).stderr.count("\n") == 1
    # validate is meant for people.
    assert runtime("validate", bundle).stderr.count("\n") > 1


@pytest.mark.parametrize(("changes", "words"), [
    ({"linux__memoryPolicy": {"mode": "MPOL_NONE"}}, 'invalid memory policy mode "MPOL_NONE"'),
    ({"linux__memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_X"]}},
     'invalid memory policy flag "MPOL_F_X"'),
    ({"linux__memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0-x"}}, "invalid memory policy node: "),
    ({"linux__memoryPolicy": {"mode": "MPOL_DEFAULT", "nodes": "0-2,7"}}, "mode requires 0 nodes but got 4"),
    ({"process__scheduler": {"policy": "SCHED_DEADLINE", "runtime": 1000000, "deadline": 2000000, "period": 3000000},
      "linux__resources": {"cpu": {"cpus": "0"}}}, "process scheduler can't be used together with AllowedCPUs"),
])
def test_errors_contain_runcs_phrases(runtime: Runtime, bundle: Bundle, changes: dict[str, Any], words: str) -> None:
    if "process__scheduler" in changes and os.cpu_count() == 1:
        pytest.skip("one CPU: for the kernel, a cpuset with all CPUs is none")
    done = runtime("run", "c1", bundle.save(**changes))
    assert done.returncode == 1 and words in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1


def test_errors_about_capabilities_cgroups_and_paths(runtime: Runtime, own_bundle: Bundle) -> None:
    if not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        own_bundle.shell("true", linux__resources={"unified": {"memory.max": "1"}})
        assert "invalid configuration: " in runtime("run", "c1", own_bundle).stderr
    own_bundle.shell("sleep 100", linux__resources={}, process__capabilities={
        "bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"]})
    done = runtime("run", "-d", "c1", own_bundle)
    assert done.returncode == 0 and "can't raise ambient capability CAP_KILL: " in done.stderr
    assert "bad sub cgroup path" in runtime("exec", "--cgroup", "../x", "c1", "true").stderr
    place = own_bundle.path / "rootfs/proc"
    place.rmdir()
    place.symlink_to("tmp")
    assert "must be mounted on ordinary directory" in runtime("run", "c2", own_bundle).stderr


def test_no_error_names_another_program(runtime: Runtime, bundle: Bundle) -> None:
    bundle.save(process__terminal=True)
    assert "runc" not in runtime("create", "c1", bundle).stderr
