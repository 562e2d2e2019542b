"""A container's lifecycle: run, start, stop, rm, and its status in between."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from pyruntime.pocker.containers.inspect import NEVER
from tests.pocker.integration.command import Pocker


@pytest.mark.parametrize(("words", "status"), [
    (["true"], 0), (["false"], 1), (["sh", "-c", "exit 42"], 42), (["sh", "-c", "sleep 9 & kill $!; wait $!"], 143),
    (["nosuch"], 127), (["/nosuch"], 127), (["/etc/passwd"], 126)], ids=str)
def test_the_exit_status_is_the_programs(pocker: Pocker, words: list[str], status: int) -> None:
    done = pocker("run", "--rm", "--network", "none", "busybox", *words)
    assert done.returncode == status, done.stderr
    pocker.check()


@pytest.mark.parametrize(("program", "status"), [("/nosuch", 127), ("nosuch", 127), ("/etc/passwd", 126)])
def test_a_container_that_could_not_be_started_is_created(pocker: Pocker, program: str, status: int) -> None:
    """Its status remains "created", with the exit status and the error of the attempt."""
    done = pocker("run", "-d", "--name", "fresh", "--network", "none", "busybox", program)
    assert done.returncode == status
    assert done.stdout.strip() == pocker.ok("inspect", "-f", "{{.Id}}", "fresh"), "the container's ID, for `rm`"
    form = "{{.State.Status}} {{.State.ExitCode}} {{.State.StartedAt}} {{.State.FinishedAt}}"
    for _ in range(2):
        assert pocker.ok("inspect", "-f", form, "fresh") == f"created {status} {NEVER} {NEVER}"
        said = pocker.ok("inspect", "-f", "{{.State.Error}}", "fresh")
        assert 'exec: "' in said and len(said.splitlines()) == 1, "programs read it"
        assert pocker.ok("ps", "-a", "--format", "{{.Status}}") == "Created"
        pocker.fails("start", "fresh")
    pocker.ok("rm", "fresh")


def test_a_start_that_fails_after_one_that_did_not(pocker: Pocker) -> None:
    done = pocker("run", "--name", "once", "--network", "none", "busybox", "/bin/busybox", "rm", "/bin/busybox")
    assert done.returncode == 0, done.stderr
    began = pocker.ok("inspect", "-f", "{{.State.StartedAt}}", "once")
    assert "no such file" in pocker.fails("start", "once")
    assert pocker.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.State.StartedAt}}", "once"
                     ) == f"exited 127 {began}"
    pocker.ok("rm", "once")


@pytest.mark.parametrize(("words", "status"), [
    (("exec", "job", "touch", "/go"), "5"), (("rm", "-f", "job"), "137"), (("stop", "-t0", "job"), "137")], ids=str)
def test_wait_for_a_container_that_is_removed_at_its_exit(pocker: Pocker, words: tuple[str, ...], status: str) -> None:
    """Its exit status is known, though nothing else is left of the container."""
    script = "until [ -e /go ]; do usleep 1000; done; exit 5"
    pocker.ok("run", "-d", "--rm", "--name", "job", "--network", "none", "busybox", "sh", "-c", script)
    with pocker.start("wait", "job") as waiting:
        pocker.eventually(lambda: "poll" in Path(f"/proc/{waiting.pid}/wchan").read_text(), "it waits")
        pocker.ok(*words)
        assert waiting.communicate(timeout=60) == (f"{status}\n", "")
    assert "no such container" in pocker.fails("wait", "job")
    pocker.check()


def test_errors_of_run_have_exit_status_125(pocker: Pocker) -> None:
    assert "no such image" in pocker.fails("run", "--pull", "never", "nosuchimage", status=125)
    pocker.check()


def test_stdout_and_stderr_are_separate(pocker: Pocker) -> None:
    done = pocker("run", "--rm", "--network", "none", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_much_output_is_complete(pocker: Pocker) -> None:
    done = pocker("run", "--rm", "--network", "none", "busybox", "sh", "-c", "head -c 5000000 /dev/zero")
    assert done.stdout == "\0" * 5000000


def test_input_goes_to_the_program_and_ends(pocker: Pocker) -> None:
    text = "line\n" * 200_000
    done = pocker("run", "--rm", "-i", "--network", "none", "busybox", "cat", input=text)
    assert done.stdout == text
    assert pocker("run", "--rm", "--network", "none", "busybox", "cat", input=text).stdout == ""


def test_a_detached_container_runs_until_it_is_stopped(pocker: Pocker) -> None:
    container_id = pocker.ok("run", "-d", "--name", "web", "--network", "none", "busybox", "sleep", "1000")
    assert len(container_id) == 64
    assert pocker.statuses() == {"web": "running"}
    assert pocker.ok("stop", "-t", "0", "web") == "web"
    assert pocker.statuses() == {"web": "exited"}
    assert pocker.ok("start", "web") == "web"
    assert pocker.statuses() == {"web": "running"}
    assert "stop it first" in pocker.fails("rm", "web")
    assert pocker.ok("rm", "-f", "web") == "web"
    assert pocker.statuses() == {}
    pocker.check()


def test_files_are_kept_for_the_next_start(pocker: Pocker) -> None:
    pocker.ok("create", "--name", "counter", "--network", "none", "busybox", "sh", "-c", "echo x >>/n; wc -l </n")
    for count in ("1", "2", "3"):
        assert pocker.ok("start", "-a", "counter").strip() == count


def test_names_belong_to_one(pocker: Pocker) -> None:
    pocker.ok("create", "--name", "one", "--network", "none", "busybox")
    assert 'the name "one"' in pocker.fails("create", "--name", "one", "--network", "none", "busybox")
    pocker.ok("rm", "one")
    pocker.ok("create", "--name", "one", "--network", "none", "busybox")


def test_a_signal_to_the_command_goes_to_the_program(pocker: Pocker) -> None:
    running = pocker.start("run", "--rm", "--network", "none", "busybox", "sh", "-c",
                           "trap 'echo got it; exit 7' TERM; echo ready; while :; do sleep 0.1; done")
    assert running.stdout is not None and running.stdout.readline() == "ready\n"
    running.send_signal(signal.SIGTERM)
    assert running.communicate(timeout=60)[0] == "got it\n"
    assert running.returncode == 7


def test_restart_policies(pocker: Pocker) -> None:
    for name, policy, words in (("always", "always", "exit 0"), ("thrice", "on-failure:3", "exit 3"),
                                ("fine", "on-failure:3", "exit 0")):
        pocker.ok("run", "-d", "--name", name, "--restart", policy, "--network", "none", "busybox", "sh", "-c",
                  f"echo run; {words}")
    pocker.eventually(lambda: pocker.run_file("always")["restarts"] >= 3, "the container is restarted repeatedly")
    ended = {"thrice": "exited", "fine": "exited"}.items()
    pocker.eventually(lambda: ended <= pocker.statuses().items(), "restarted three times, and once")
    assert (pocker.directory("thrice") / "log").read_text().count(" run\n") == 4
    assert (pocker.directory("fine") / "log").read_text().count(" run\n") == 1
    pocker.ok("stop", "always")
    assert pocker.statuses()["always"] == "exited"


def test_a_container_outlives_the_command_that_is_killed(pocker: Pocker) -> None:
    with pocker.start("run", "--name", "kept", "--network", "none", "busybox", "sh", "-c",
                      "echo ready; sleep 1000") as running:
        assert running.stdout is not None and running.stdout.readline() == "ready\n"
        running.kill()
    assert pocker.statuses() == {"kept": "running"}
    pocker.ok("rm", "-f", "kept")
    pocker.check()


def test_status_after_the_monitor_was_killed(pocker: Pocker) -> None:
    for name in ("stopped", "removed", "ended"):
        pocker.ok("run", "-d", "--name", name, "--network", "none", "busybox", "sleep",
                  "1000" if name != "ended" else "2")
        os.kill(pocker.run_file(name)["monitor"][0], signal.SIGKILL)
    assert pocker.statuses()["stopped"] == "running"
    pocker.ok("stop", "-t", "0", "stopped")
    pocker.ok("rm", "-f", "removed")
    pocker.eventually(lambda: pocker.statuses().get("ended") == "exited", "it has ended")
    assert pocker.statuses() == {"stopped": "exited", "ended": "exited"}
