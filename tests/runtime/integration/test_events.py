"""`events`: statistics in runc's format, and an event for each OOM kill."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pyruntime.errors import UsageError
from pyruntime.runtime.cli.events import interval_of
from tests.commands import COMMAND
from tests.containers import PATIENCE, Bundle, Runtime, end

M = 1 << 20


def follow(runtime: Runtime, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen([COMMAND, "--root", runtime.root, "events", *words], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def shape(value: Any) -> Any:
    """The keys of a document, without its numbers; for lists, whether they are empty."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return bool(value) if isinstance(value, list) else type(value).__name__


def test_statistics_once(runtime: Runtime, bundle: Bundle) -> None:
    bundle.config["linux"]["resources"] = {"memory": {"limit": 64 * M}, "pids": {"limit": 20}}
    bundle.shell("sleep 100")
    runtime.ok("run", "--detach", "c1", bundle)
    line = runtime.ok("events", "--stats", "c1")
    assert line.startswith('{"type":"stats","id":"c1","data":{"cpu":') and line.endswith("}\n")
    assert line.count("\n") == 1
    data = json.loads(line)["data"]
    assert data["memory"]["usage"]["limit"] == 64 * M and data["pids"]["limit"] == 20
    runtime.ok("delete", "--force", "c1")
    done = runtime("events", "--stats", "c1")
    assert done.returncode == 1 and "container does not exist" in done.stderr


def test_the_format_is_that_of_runc(runtime: Runtime, bundle: Bundle, tmp_path: Any) -> None:
    runc = shutil.which("runc")
    if not runc and Path("/run/vm-agent").exists():
        pytest.skip("the guest of tests/vm has no runc for the comparison")
    if not runc:
        pytest.fail("runc is not installed: run tools/install-deps test")
    bundle.config["ociVersion"] = "1.0.2"   # accepted by Debian's runc
    bundle.config["linux"]["resources"] = {"memory": {"limit": 64 * M}, "pids": {"limit": 20}}
    bundle.shell("sleep 100")
    runtime.ok("run", "--detach", "c1", bundle)
    ours = json.loads(runtime.ok("events", "--stats", "c1"))["data"]
    runtime.ok("delete", "--force", "c1")
    words = [runc, "--root", str(tmp_path / "runc")]
    null = subprocess.DEVNULL
    subprocess.run([*words, "run", "--detach", "--bundle", str(bundle), "runc-c1"], check=True, stdin=null, stdout=null,
                   stderr=null)
    try:
        theirs = json.loads(subprocess.run([*words, "events", "--stats", "runc-c1"], check=True, capture_output=True,
                                           text=True).stdout)["data"]
    finally:
        subprocess.run([*words, "delete", "--force", "runc-c1"], check=True)
    assert list(ours) == list(theirs)
    for section in ("cpu", "cpuset", "memory", "pids"):
        missing = set(theirs[section]) - set(ours[section]) - {"cache"}     # both omit a cache of 0 bytes
        assert not missing, (section, missing)
        if section == "cpuset" and Path("/sys/fs/cgroup/cgroup.controllers").exists():
            continue   # runc leaves it empty with cgroup v2
        assert shape(ours[section]) == shape(theirs[section]) or section in ("cpu", "memory"), section


def test_statistics_until_the_container_is_deleted(runtime: Runtime, bundle: Bundle) -> None:
    bundle.shell("sleep 100")
    runtime.ok("run", "--detach", "c1", bundle)
    process = follow(runtime, "--interval", "100ms", "c1")
    try:
        assert process.stdout
        for _ in range(3):
            assert json.loads(process.stdout.readline())["type"] == "stats"
        runtime.ok("delete", "--force", "c1")
        assert process.wait(PATIENCE) == 0
    finally:
        end(process)
        process.communicate()


def test_an_oom_kill_is_reported(runtime: Runtime, bundle: Bundle) -> None:
    bundle.config["linux"]["resources"] = {"memory": {"limit": 16 * M, "swap": 16 * M}}
    bundle.add_mount("/big", "tmpfs", "tmpfs", "size=200m")
    bundle.shell("sleep 1; while :; do dd if=/dev/zero of=/big/file bs=1M count=100 2>/dev/null; sleep 0.2; done")
    runtime.ok("run", "--detach", "c1", bundle)
    process = follow(runtime, "--interval", "1h", "c1")
    try:
        assert process.stdout
        assert process.stdout.readline() == '{"type":"oom","id":"c1"}\n'
    finally:
        runtime.ok("delete", "--force", "c1")
        assert process.wait(PATIENCE) == 0
        process.communicate()


@pytest.mark.parametrize(("words", "message"), [
    (["--interval", "0s"], "duration interval must be greater than 0"), (["--interval", "5"], "invalid value"),
    (["--interval", "x"], "invalid value"), (["--interval", "-5s"], "invalid value"),
])
def test_invalid_intervals(runtime: Runtime, words: list[str], message: str) -> None:
    done = runtime("events", *words, "c1")
    assert done.returncode == 1 and message in done.stderr


@pytest.mark.parametrize(("text", "value"), [
    ("5s", 5), ("100ms", 0.1), ("1m30s", 90), ("1.5h", 5400), ("2us", 2e-6), ("3ns", 3e-9), ("1h2m3s4ms", 3723.004)])
def test_durations(text: str, value: float) -> None:
    assert interval_of(text) == pytest.approx(value)


def test_an_empty_duration_is_invalid() -> None:
    with pytest.raises(UsageError):
        interval_of("")
