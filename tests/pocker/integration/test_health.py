"""Health checks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.pocker.integration.command import Pocker


def _run(pocker: Pocker, *options: object, script: str = "sleep 1000") -> None:
    pocker.ok("run", "-d", "--name", "web", "--network", "none", "--health-interval", "100ms", *options, "busybox",
              "sh", "-c", script)


def _health(pocker: Pocker) -> dict[str, Any]:
    health = json.loads(pocker.ok("inspect", "web"))[0]["State"]["Health"]
    assert isinstance(health, dict)
    return health


def _becomes(pocker: Pocker, status: str) -> None:
    pocker.eventually(lambda: _health(pocker)["Status"] == status, f"it becomes {status}")


def test_well_ill_and_well_again(pocker: Pocker) -> None:
    _run(pocker, "--health-cmd", "echo looked; test -e /tmp/well", "--health-retries", "2",
         script="touch /tmp/well; sleep 1000")
    _becomes(pocker, "healthy")
    assert "(healthy)" in pocker.ok("ps") and pocker.ok("ps", "-q", "--filter", "health=healthy")
    pocker.ok("exec", "web", "rm", "/tmp/well")
    _becomes(pocker, "unhealthy")
    health = _health(pocker)
    assert health["FailingStreak"] >= 2 and "(unhealthy)" in pocker.ok("ps")
    last = health["Log"][-1]
    assert last["ExitCode"] == 1 and last["Output"] == "looked\n" and last["Start"] < last["End"]
    pocker.eventually(lambda: len(_health(pocker)["Log"]) == 5, "five results are kept")
    pocker.ok("exec", "web", "touch", "/tmp/well")
    _becomes(pocker, "healthy")
    assert _health(pocker)["FailingStreak"] == 0
    assert pocker.ok("events", "--stream=false", "--filter", "event=health_status", "--format", "{{.Action}}").split(
        "\n") == ["health_status: healthy", "health_status: unhealthy", "health_status: healthy"]


def test_a_check_without_a_timeout(pocker: Pocker) -> None:
    """Its deadline is farther away than poll(2) can wait."""
    _run(pocker, "--health-cmd", "true", "--health-timeout", "10000h")
    _becomes(pocker, "healthy")
    pocker.ok("rm", "-f", "web")


def test_failures_in_the_start_period_do_not_count(pocker: Pocker) -> None:
    _run(pocker, "--health-cmd", "test -e /tmp/well", "--health-retries", "1", "--health-start-period", "1h",
         "--health-start-interval", "50ms", "--health-interval", "1h")
    pocker.eventually(lambda: len(_health(pocker)["Log"]) == 5, "checks are made at the start interval")
    health = _health(pocker)
    assert (health["Status"], health["FailingStreak"]) == ("starting", 0)
    assert "(health: starting)" in pocker.ok("ps")
    pocker.ok("exec", "web", "touch", "/tmp/well")
    _becomes(pocker, "healthy")
    pocker.ok("exec", "web", "rm", "/tmp/well")   # the next check is in an hour
    assert _health(pocker)["Status"] == "healthy"


def test_a_check_after_its_timeout_is_killed_with_its_children(pocker: Pocker) -> None:
    _run(pocker, "--health-cmd", "test -e /tmp/once && exit; touch /tmp/once; echo begun; sleep 77 & sleep 77",
         "--health-timeout", "300ms")
    pocker.eventually(lambda: _health(pocker)["Log"], "the first check has ended")
    result = _health(pocker)["Log"][0]
    assert result["ExitCode"] == -1 and result["Output"] == "Health check exceeded timeout (0.3s): begun\n"
    assert pocker.ok("exec", "web", "sh", "-c", "ps | grep -c '[s]leep 77'; true") == "0"


def test_output_is_truncated_and_background_processes_are_not_waited_for(pocker: Pocker) -> None:
    _run(pocker, "--health-cmd", "sleep 1000 & yes | head -c 200000")
    _becomes(pocker, "healthy")
    assert _health(pocker)["Log"][0]["Output"] == "y\n" * 2048 + "..."


def test_no_such_program(pocker: Pocker) -> None:
    _run(pocker, "--health-cmd", "nosuchprogram", "--health-retries", "1")
    _becomes(pocker, "unhealthy")
    assert _health(pocker)["Log"][0]["ExitCode"] == 127


def test_a_paused_container_is_left_alone(pocker: Pocker) -> None:
    _run(pocker, "--health-cmd", "true")
    _becomes(pocker, "healthy")
    pocker.ok("pause", "web")
    before = _health(pocker)["Log"][-1]
    other = pocker.ok("run", "-d", "--name", "clock", "--network", "none", "--health-cmd", "true", "--health-interval",
                      "100ms", "busybox", "sleep", "1000")
    pocker.eventually(lambda: len(json.loads(pocker.ok("inspect", other))[0]["State"]["Health"]["Log"]) == 5,
                      "five intervals have passed")
    # A check that was under way at the moment of the pause has been recorded by now, and no other check.
    assert _health(pocker)["Log"][-2:].count(before) or _health(pocker)["Log"][-1] == before
    paused = _health(pocker)["Log"][-1]
    pocker.ok("unpause", "web")
    pocker.eventually(lambda: _health(pocker)["Log"][-1] != paused, "checks go on")


def test_each_run_starts_without_health_results(pocker: Pocker) -> None:
    _run(pocker, "--health-cmd", "false", "--health-retries", "1")
    _becomes(pocker, "unhealthy")
    pocker.ok("stop", "-t", "0", "web")
    path = pocker.directory("web") / "container.json"   # so that the first check comes too late
    record = json.loads(path.read_text())
    record["settings"]["health"]["interval"] = 3600
    path.write_text(json.dumps(record))
    pocker.ok("start", "web")
    assert _health(pocker) == {"Status": "starting", "FailingStreak": 0, "Log": []}


@pytest.mark.parametrize("whom", ["check", "monitor"])
def test_nothing_is_left_when_one_of_them_is_killed(pocker: Pocker, whom: str) -> None:
    _run(pocker, "--health-cmd", "echo x >>/tmp/looks; sleep 1000", "--health-timeout", "1h")
    monitor = pocker.run_file("web")["monitor"][0]

    def check() -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdecimal() else []
            except OSError:
                continue   # the process ended in the meantime
            if words[-3:-2] == [b"health"] and str(pocker.root).encode() in words:
                found.append(int(entry.name))
        return found

    path = pocker.directory("web") / "health.json"
    pocker.eventually(path.exists, "a check is under way")
    os.kill(check()[0] if whom == "check" else monitor, 9)
    if whom == "check":
        pocker.eventually(lambda: pocker.ok("exec", "web", "cat", "/tmp/looks").count("x") >= 2, "a new check is made")
        assert pocker.ok("exec", "web", "sh", "-c", "ps | grep -c '[s]leep 1000$'") == "2"   # init's, and the check's
    pocker.ok("rm", "-f", "web")
    pocker.eventually(lambda: check() == [], "the check has ended with its container")
    pocker.check()


def test_a_container_without_a_check_costs_nothing(pocker: Pocker) -> None:
    pocker.ok("run", "-d", "--name", "web", "--network", "none", "busybox", "sleep", "1000")
    assert "Health" not in json.loads(pocker.ok("inspect", "web"))[0]["State"]
    pocker.ok("run", "-d", "--name", "no", "--network", "none", "--no-healthcheck", "busybox", "sleep", "1000")
    assert "Health" not in json.loads(pocker.ok("inspect", "no"))[0]["State"]
    assert not (pocker.directory("web") / "health.json").exists()
