"""`pocker stats`, `update` and `events`."""

from __future__ import annotations

import fcntl
import json
import os
import re
import termios
import time
from typing import Any

from tests.commands import BIN
from tests.pocker.integration.command import Pocker
from tests.terminal import Terminal

MEGABYTE = 1 << 20


def _stats(pocker: Pocker, *words: str) -> list[dict[str, Any]]:
    lines = pocker.ok("stats", "--no-stream", "--format", "{{json .}}", *words).splitlines()   # with plain numbers
    return [json.loads(line) for line in lines]


def _run(pocker: Pocker, name: str, script: str, *options: str) -> None:
    pocker.ok("run", "-d", "--name", name, "--network", "none", *options, "busybox", "sh", "-c", script)


def test_usage_of_containers(pocker: Pocker) -> None:
    _run(pocker, "busy", "while :; do :; done", "-m", "64m", "--cpus", "0.5")
    _run(pocker, "idle", "head -c 20m /dev/zero >/dev/shm/x; sleep 1000 & wait")
    pocker.ok("create", "--name", "new", "--network", "none", "busybox")
    pocker.eventually(lambda: _stats(pocker, "idle")[0]["PIDs"] == "2", "the container has two processes")
    rows = {row["Name"]: row for row in _stats(pocker, "busy", "idle", "new")}
    assert 5 < float(rows["busy"]["CPUPerc"].removesuffix("%")) < 75   # half a CPU, on a host with other work
    assert float(rows["idle"]["CPUPerc"].removesuffix("%")) < 5
    assert rows["busy"]["MemLimitBytes"] == 64 * MEGABYTE and rows["busy"]["MemUsage"].endswith(" / 64MiB")
    assert 20 * MEGABYTE <= rows["idle"]["MemBytes"] < 40 * MEGABYTE
    assert rows["new"] | {"Running": False, "MemBytes": 0, "PIDs": "0"} == rows["new"]
    assert {row["Name"] for row in _stats(pocker)} == {"busy", "idle"}
    assert {row["Name"] for row in _stats(pocker, "-a")} == {"busy", "idle", "new"}
    table = pocker.ok("stats", "--no-stream", "-a").splitlines()
    assert table[0].split("   ")[0] == "CONTAINER ID" and len(table) == 4
    assert pocker.ok("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "busy") == "busy 1"
    assert "no such container" in pocker.fails("stats", "--no-stream", "nosuch")


def test_stats_follow_containers_that_start_and_stop(pocker: Pocker) -> None:
    _run(pocker, "first", "sleep 1000")
    with pocker.start("stats", "--format", "{{.Name}}") as running:
        assert running.stdout is not None and running.stdout.readline() == "first\n"
        _run(pocker, "second", "sleep 1000")
        while running.stdout.readline() != "second\n":
            pass
        pocker.ok("rm", "-f", "first")
        names = [running.stdout.readline() for _ in range(6)]
        assert names[-1] == "second\n" and names.count("first\n") < 3
        running.kill()


def test_stats_on_a_terminal_fit_and_do_not_flicker(pocker: Pocker) -> None:
    """At once, without the usage of a CPU, which is a difference; each line is replaced, none is erased before."""
    _run(pocker, "steady", "sleep 1000")
    with Terminal([BIN / "pocker", "stats"], {**pocker.environment, "TERM": "xterm"}) as terminal:
        termios.tcsetwinsize(terminal.master, (24, 60))
        first, second = terminal.expect(b"\x1b[J"), terminal.expect(b"\x1b[J")
    for frame, cpu in ((first, rb"--"), (second, rb"\d+\.\d\d%")):
        heading, row = re.findall(rb"\x1b\[2K([^\r\n]*)", frame)
        assert heading.split(b"  ")[0] == b"NAME" and re.match(rb"steady +" + cpu + b" ", row), frame
        assert frame.startswith(b"\x1b[H") and max(len(heading), len(row)) < 80


def _cgroup(pocker: Pocker, name: str, member: str) -> Any:
    settings = json.loads(pocker.ok("inspect", name))[0]["Settings"]["limits"]
    for part in member.split("."):
        settings = settings[part]
    return settings


def test_limits_change_at_once_and_stay(pocker: Pocker) -> None:
    _run(pocker, "web", "sleep 1000", "-m", "64m")
    assert pocker.ok("update", "-m", "96m", "--pids-limit", "7", "web") == "web"
    assert _stats(pocker, "web")[0]["MemLimitBytes"] == 96 * MEGABYTE
    fork = "i=0; while [ $i -lt 20 ]; do sleep 1 & i=$((i+1)); done; wait"
    assert "can't fork" in pocker("exec", "web", "sh", "-c", fork).stderr
    pocker.ok("update", "--pids-limit", "-1", "--memory-reservation", "32m", "--cpus", "0.5", "web")
    assert pocker("exec", "web", "sh", "-c", fork).stderr == ""
    pocker.ok("stop", "-t", "0", "web")
    pocker.ok("update", "-m", "80m", "web")
    pocker.ok("start", "web")
    assert _stats(pocker, "web")[0]["MemLimitBytes"] == 80 * MEGABYTE
    assert _cgroup(pocker, "web", "memory.reservation") == 32 * MEGABYTE
    assert _cgroup(pocker, "web", "cpu.quota") == 50000
    assert "at least 6m" in pocker.fails("update", "-m", "1k", "web")
    assert "nothing to change" in pocker.fails("update", "web")
    assert "no such container" in pocker.fails("update", "-m", "80m", "nosuch")
    assert _stats(pocker, "web")[0]["MemLimitBytes"] == 80 * MEGABYTE


def test_the_restart_policy_changes(pocker: Pocker) -> None:
    _run(pocker, "web", "sleep 1000")
    pocker.ok("update", "--restart", "on-failure:2", "web")
    pid = json.loads(pocker.ok("inspect", "web"))[0]["State"]["Pid"]
    pocker.ok("kill", "-s", "KILL", "web")               # killed by the user: not restarted
    assert pocker.statuses()["web"] == "exited" and pid
    pocker.ok("update", "--restart", "always", "web")
    pocker.ok("start", "web")
    os.kill(json.loads(pocker.ok("inspect", "web"))[0]["State"]["Pid"], 9)
    pocker.eventually(lambda: pocker.run_file("web")["restarts"] == 1 and pocker.statuses()["web"] == "running",
                      "the container is restarted")
    assert "write no, always" in pocker.fails("update", "--restart", "never", "web")


def test_events_of_a_life(pocker: Pocker) -> None:
    _run(pocker, "web", "sleep 1000", "-l", "tier=front")
    pocker.ok("exec", "web", "true")
    pocker.ok("pause", "web")
    pocker.ok("unpause", "web")
    pocker.ok("rename", "web", "www")
    pocker.ok("stop", "-t", "0", "www")
    pocker.ok("start", "www")
    pocker.ok("restart", "-t", "0", "www")
    pocker.ok("rm", "-f", "www")
    pocker("run", "--rm", "--name", "other", "--network", "none", "busybox", "sh", "-c", "exit 3")

    def actions(*words: str) -> list[str]:
        return pocker.ok("events", "--stream=false", "--format", "{{.Action}}", *words).splitlines()

    end = ["kill", "kill", "die"]
    assert actions("--filter", "label=tier=front") == [
        "create", "start", "exec_create: true", "exec_start: true", "exec_die", "pause", "unpause", "rename", *end,
        "stop", "start", *end, "stop", "start", "restart", "kill", "die", "destroy"]
    assert actions("--filter", "container=other") == ["create", "start", "die", "destroy"]
    other = ("--filter", "container=other")
    assert actions("--filter", "event=die", "--filter", "event=destroy", *other) == ["die", "destroy"]
    died = json.loads(pocker.ok("events", "--stream=false", "--format", "json", "--filter", "event=die", *other))
    assert died["Actor"]["Attributes"] == {"image": "busybox", "name": "other", "exitCode": "3"}
    assert died["status"] == "die" and died["from"] == "busybox" and abs(died["time"] - time.time()) < 600
    assert actions("--since", str(died["time"] + 3600)) == []
    assert actions("--until", "2020-01-01T00:00:00Z") == []
    assert actions("--filter", "image=busybox", "--filter", "type=container", "--filter", "event=create"
                   ) == ["create", "create"]
    assert "write KEY=VALUE" in pocker.fails("events", "--filter", "nosuch=1")
    text = pocker.ok("events", "--stream=false", "--filter", "event=destroy", "--filter", "container=other")
    assert text.endswith("(image=busybox, name=other)") and " container destroy " in text


def test_events_are_followed(pocker: Pocker) -> None:
    with pocker.start("events", "--since", "1h", "--format", "{{.Action}} {{.Actor.Attributes.name}}") as running:
        assert running.stdout is not None
        _run(pocker, "web", "sleep 1000")
        assert [running.stdout.readline() for _ in range(2)] == ["create web\n", "start web\n"]
        pocker.ok("rm", "-f", "web")
        assert [running.stdout.readline() for _ in range(3)] == ["kill web\n", "die web\n", "destroy web\n"]
        running.kill()
    started = time.monotonic()
    assert pocker.ok("events", "--until", str(int(time.time()) + 2)) == ""
    assert time.monotonic() - started < 60


def test_a_program_that_is_killed_for_want_of_memory(pocker: Pocker) -> None:
    done = pocker("run", "--name", "greedy", "--network", "none", "-m", "16m", "--memory-swap", "16m", "busybox", "sh",
                  "-c", "x=$(head -c 200m /dev/zero | tr '\\0' x); echo $x")
    assert done.returncode != 0
    actions = pocker.ok("events", "--stream=false", "--format", "{{.Action}}").splitlines()
    assert actions == ["create", "start", "oom", "die"]


def test_oom_kills_are_known_without_the_cgroup(pocker: Pocker) -> None:
    """systemd removes a scope with all cgroups in it when the monitor has ended, before the command cleans up."""
    script = "until [ -e /go ]; do sleep 0.1; done; x=$(head -c 200m /dev/zero | tr '\\0' x)"
    with pocker.start("run", "--name", "greedy", "--network", "none", "-m", "16m", "--memory-swap", "16m", "busybox",
                      "sh", "-c", script) as running:
        pocker.eventually(lambda: pocker.statuses() == {"greedy": "running"}, "it runs")
        directory = pocker.directory("greedy")
        state = json.loads((pocker.run / "runtime" / directory.name / "state.json").read_text())
        with (directory / "lock").open() as lock:   # the command waits for it before it cleans up
            fcntl.flock(lock, fcntl.LOCK_EX)
            pocker.ok("exec", "greedy", "touch", "/go")
            pocker.eventually((directory / "exit").exists, "it has ended")
            for path in set(state["cgroup"].values()):
                os.rmdir(path)
        running.communicate(timeout=60)
    actions = pocker.ok("events", "--stream=false", "--format", "{{.Action}}").splitlines()
    assert actions[-2:] == ["oom", "die"]
    assert json.loads(pocker.ok("inspect", "greedy"))[0]["State"]["OOMKilled"] is True


def test_events_of_volumes_networks_and_images(pocker: Pocker) -> None:
    pocker.ok("volume", "create", "data")
    pocker.ok("run", "--rm", "--network", "none", "-v", "/anonymous", "busybox", "true")
    pocker.ok("volume", "rm", "data")
    pocker.ok("network", "create", "--subnet", "10.213.7.0/24", "net")
    pocker.ok("network", "rm", "net")
    pocker.ok("tag", "busybox", "busybox:other")
    pocker.ok("rmi", "busybox:other")

    def actions(kind: str) -> list[str]:
        return pocker.ok("events", "--stream=false", "--filter", f"type={kind}", "--format", "{{.Action}}").split()

    assert actions("volume") == ["create", "create", "destroy", "destroy"]
    assert actions("network") == ["create", "destroy"]
    assert actions("image") == ["tag", "untag"]
    assert pocker.ok("events", "--stream=false", "--filter", "network=net", "--format", "{{.Actor.Attributes.name}}"
                     ).split() == ["net", "net"]
