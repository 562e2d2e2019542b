"""containerd with our shim, when one of them ends."""

from __future__ import annotations

import subprocess
import threading
import time

import pytest

from tests.clients.containerd import IMAGE, NAMESPACE, SOCKET, Containerd

pytestmark = pytest.mark.timeout(200)
CTR = ("ctr", "--address", SOCKET, "--namespace", NAMESPACE)
RUN = (*CTR, "run", "--runtime", "io.containerd.pyruntime.v2")


def servers(daemon: Containerd) -> list[str]:
    return daemon.room.run("pgrep", "-f", f"shim-pyruntime-v2 serve .* {NAMESPACE} ").stdout.split()


def gone(daemon: Containerd, name: str) -> None:
    daemon.room.ok(*CTR, "task", "rm", "--force", name)
    daemon.room.ok(*CTR, "container", "rm", name)


def test_a_restart_of_the_daemon(daemon: Containerd) -> None:
    """The containers go on, also one that is paused, and can be used again; no server is started anew."""
    for name in ("one", "two"):
        daemon.room.ok(*RUN, "--detach", IMAGE, name, "sleep", "1000")
    daemon.room.ok(*CTR, "task", "pause", "two")
    before = servers(daemon)
    daemon.daemon.terminate()
    daemon.daemon.wait(60)
    daemon.start()
    listed = {words[0]: words[2] for words in map(str.split, daemon.room.ok(*CTR, "task", "ls").splitlines()[1:])}
    assert listed == {"one": "RUNNING", "two": "PAUSED"}
    assert daemon.room.ok(*CTR, "task", "exec", "--exec-id", "e", "one", "echo", "hello") == "hello\n"
    daemon.room.ok(*CTR, "task", "resume", "two")
    assert servers(daemon) == before
    for name in ("one", "two"):
        gone(daemon, name)


def test_the_server_is_killed_again_and_again(daemon: Containerd) -> None:
    """With traffic: no exit status is wrong, no output is lost, and nothing is left."""
    wrong: list[object] = []
    ended: list[int] = []

    def run(worker: int) -> None:
        for turn in range(6):
            status, lines = 10 * worker + turn, (3, 3000)[turn % 2]
            script = f"i=0; while [ $i -lt {lines} ]; do echo $i; i=$((i+1)); done; sleep 0.1; exit {status}"
            done = daemon.room.run(*RUN, "--rm", IMAGE, f"run-{worker}-{turn}", "sh", "-c", script)
            if done.returncode != status or done.stdout != "".join(f"{i}\n" for i in range(lines)):
                wrong.append((worker, turn, done.returncode, len(done.stdout), done.stderr))
            ended.append(status)

    threads = [threading.Thread(target=run, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    kills = 0
    while any(thread.is_alive() for thread in threads):
        time.sleep(0.4)
        before, last = len(ended), time.monotonic()
        for pid in servers(daemon):
            kills += daemon.room.run("kill", "-9", pid).returncode == 0
        # The next one lives until it has done something: on a busy host, it takes longer to start.
        while len(ended) == before and time.monotonic() < last + 10 and any(thread.is_alive() for thread in threads):
            time.sleep(0.01)
    assert wrong == []
    assert kills > 3
    left = daemon.room.run("sh", "-c", "pgrep -af 'pyruntime-v2 [-]namespace'; mount | grep ' /run/.*rootfs';"
                           f" ls /run/ctd/io.containerd.runtime.v2.task/{NAMESPACE}"
                           f" /run/containerd/pyruntime/{NAMESPACE}; ls /run/containerd/s | grep '^py[0-9a-f]*$'")
    assert [line for line in left.stdout.splitlines() if line and not line.endswith(":")] == [], left.stdout


def test_events(daemon: Containerd) -> None:
    with subprocess.Popen(daemon.room.words(*CTR, "events"), stdout=subprocess.PIPE, text=True,
                          env=daemon.room.environment) as listener:
        time.sleep(0.5)
        daemon.room.ok(*RUN, "--detach", IMAGE, "told", "sleep", "1000")
        daemon.room.ok(*CTR, "task", "exec", "--exec-id", "e", "told", "true")
        daemon.room.ok(*CTR, "task", "pause", "told")
        daemon.room.ok(*CTR, "task", "resume", "told")
        gone(daemon, "told")
        topics: list[str] = []
        assert listener.stdout
        for line in listener.stdout:
            topics += [word.removeprefix("/tasks/") for word in line.split() if word.startswith("/tasks/")]
            if topics[-1:] == ["delete"]:
                break
        listener.kill()
    assert topics == ["create", "start", "exec-added", "exec-started", "exit", "paused", "resumed", "exit", "delete"]
