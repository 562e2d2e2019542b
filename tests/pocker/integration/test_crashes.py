"""Failures around a container: killed monitors, damaged files, two commands at once, and Docker's habits."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from pyruntime.errors import NoSuchContainer
from pyruntime.pocker.containers import monitor_events
from pyruntime.pocker.containers.container import Container, ContainerRecord, ContainerRun, Exit
from pyruntime.pocker.containers.start import MONITOR
from pyruntime.pocker.directories import Directories
from pyruntime.pocker.settings import ContainerSettings, RestartPolicy
from tests.pocker.integration.command import Pocker
from tests.pocker.integration.lab import Lab

_NONE = ("--network", "none")


def test_the_status_arrives_at_a_client_whose_socket_is_full(tmp_path: Path) -> None:
    """The monitor must not exit before its client has the exit status: the client would take 0 for it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)   # a single packet fills it
    for fd in (theirs.fileno(), directory := os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)):
        os.set_inheritable(fd, True)
    monitor = os.fork()
    if not monitor:
        reader, writer = os.pipe()
        init = os.fork()
        if not init:
            os.write(writer, b"x" * 8000)
            os._exit(3)
        os.close(writer)
        os.set_inheritable(reader, True)
        os.execv(MONITOR, ["pocker-monitor", f"dir={directory}", f"init={init}", f"out={reader}",
                           f"client={theirs.fileno()}", "owner=1", "--", "/bin/false"])
    theirs.close()
    os.close(directory)
    Pocker.eventually((tmp_path / "exit").exists, "the program has ended")
    packets = list(iter(lambda: ours.recv(65536), b""))
    ours.close()
    os.waitpid(monitor, 0)
    assert b"".join(packet[1:] for packet in packets[:-1]) == b"x" * 8000
    assert packets[-1] == b"x\3\0"   # the exit status; the clean-up does not wait for a client as slow as this


def test_a_lost_monitor_is_no_success(pocker: Pocker) -> None:
    with pocker.start("run", "--name", "lost", *_NONE, "busybox", "sleep", "1000") as running:
        pocker.eventually(lambda: (pocker.root / "names/lost").is_symlink() and pocker.statuses()["lost"] == "running",
                          "it runs")
        os.kill(pocker.run_file("lost")["monitor"][0], signal.SIGKILL)
        _, told = running.communicate(timeout=60)
    assert running.returncode == 125
    assert "its monitor was killed" in told
    assert pocker.statuses() == {"lost": "running"}
    pocker.ok("restart", "-t", "0", "lost")
    assert pocker.statuses() == {"lost": "running"}


def test_health_checks_may_be_rare(pocker: Pocker) -> None:
    pocker.ok("run", "-d", "--name", "rare", "--health-cmd", "true", "--health-interval", "1000h", *_NONE, "busybox",
              "sleep", "1000")
    assert pocker.run_file("rare")["monitor"][0] > 0
    assert pocker.ok("inspect", "-f", "{{.State.MonitorPid}}", "rare") != "0"


def test_a_container_that_cannot_be_removed_does_not_affect_others(pocker: Pocker) -> None:
    for name in ("one", "two"):
        pocker.ok("create", "--name", name, *_NONE, "busybox")
    pocker.ok("run", "-d", "--name", "busy", *_NONE, "busybox", "sleep", "1000")
    done = pocker("rm", "one", "busy", "nosuch", "two")
    assert (done.returncode, done.stdout) == (1, "one\ntwo\n")
    assert "busy" in done.stderr and "nosuch" in done.stderr


def test_restart_keeps_a_container_created_with_rm(pocker: Pocker) -> None:
    before = pocker.ok("run", "-d", "--rm", "--name", "kept", *_NONE, "busybox", "sleep", "1000")
    pocker.ok("restart", "-t", "0", "kept")
    assert pocker.statuses() == {"kept": "running"}
    assert pocker.ok("inspect", "-f", "{{.Id}}", "kept") == before
    pocker.ok("stop", "-t", "0", "kept")
    assert pocker.statuses() == {}
    pocker.check()


def test_patience_may_be_longer_than_the_kernel_counts(pocker: Pocker) -> None:
    pocker.ok("run", "-d", "--name", "long", *_NONE, "busybox", "sh", "-c", "trap 'exit 4' TERM; while :; do sleep 0.1;"
              " done")
    pocker.ok("stop", "-t", "99999999999", "long")
    assert pocker.ok("wait", "long") == "4"


@pytest.mark.parametrize("file", ["container.json", "run.json"])
def test_a_file_that_a_power_failure_cut_off(pocker: Pocker, file: str) -> None:
    for name in ("broken", "whole"):
        pocker.ok("run", "--name", name, *_NONE, "busybox", "true")
    (pocker.directory("broken") / file).write_text("")
    done = pocker("ps", "-a", "--format", "{{.Names}}")
    assert done.returncode == 0 and "whole" in done.stdout.split()
    assert ("damaged" in done.stderr) == (file == "container.json")
    pocker.ok("rm", "-f", "broken")
    assert pocker.statuses() == {"whole": "exited"}
    pocker.ok("rm", "whole")
    pocker.check()


def test_a_failed_clean_up_does_not_stop_other_commands(pocker: Pocker) -> None:
    pocker.ok("ps")
    place = pocker.root / "containers" / "~left.1.999999999" / "there"
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
    try:
        done = pocker("run", "--rm", *_NONE, "busybox", "echo", "on")
        assert (done.returncode, done.stdout) == (0, "on\n")
        assert "cannot remove" in done.stderr
    finally:
        subprocess.run(["umount", next((pocker.root / "containers").glob("~left*/there"))], check=True)
    assert pocker.ok("ps", "-q") == ""
    assert not [name for name in os.listdir(pocker.root / "containers") if name.startswith("~")]


def test_concurrent_commands_clean_up(pocker: Pocker) -> None:
    pocker.ok("ps")
    for number in range(4):
        for directory in ("containers", "volumes"):
            for name in range(300):
                (pocker.root / directory / f"~left{number}.1.999999999" / str(name) / "there").mkdir(parents=True)
        commands = [pocker.start("ps", "-q") for _ in range(4)] + [pocker.start("volume", "ls", "-q") for _ in range(4)]
        for one in commands:
            assert one.communicate(timeout=60) == ("", "")
            assert one.returncode == 0


def test_the_lock_of_a_removed_container_is_refused(tmp_path: Path) -> None:
    """A command that waited for the lock while the container was removed must not go on without a container."""
    places = Directories(str(tmp_path / "root"), str(tmp_path / "run"))
    container = Container(places, "0" * 64)
    with pytest.raises(NoSuchContainer), container.lock():
        pass
    places.below("containers", container.id)
    met: list[BaseException] = []

    def wait() -> None:
        try:
            with container.lock():
                pass
        except NoSuchContainer as error:
            met.append(error)

    with container.lock():
        waiter = threading.Thread(target=wait)
        waiter.start()
        Pocker.eventually(lambda: "-> FLOCK" in Path("/proc/locks").read_text(), "it waits")
        os.rename(container.directory, f"{places.root}/containers/~gone")
    waiter.join()
    assert met


def test_a_running_container_is_not_started_twice(pocker: Pocker) -> None:
    """Two starts at once: one of them wins, and the other does not stop the container that the first has started."""
    pocker.ok("create", "--name", "both", *_NONE, "busybox", "sleep", "1000")
    started = [pocker.start("start", "both") for _ in range(4)]
    for one in started:
        one.communicate(timeout=60)
    assert pocker.statuses() == {"both": "running"}
    code = ("import sys; from pyruntime import Engine;"
            " from pyruntime.pocker.containers.container import find;"
            " from pyruntime.pocker.containers.start import StartOptions, launch\n"
            "container = find(Engine().places, 'both')\nwith container.lock() as lock:\n"
            "    launch(container, container.read(), lock, StartOptions())")
    done = subprocess.run(
        [sys.executable, "-c", code], env=pocker.environment, capture_output=True, text=True, check=False)
    assert "is already running" in done.stderr
    assert pocker.statuses() == {"both": "running"}


def test_on_failure_counts_all_restarts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every restart counts towards the limit, however long each run took; a long run resets only the delay."""
    container = Container(Directories(str(tmp_path / "root"), str(tmp_path / "run")), "1" * 64)
    container.places.below("containers", container.id)
    record = ContainerRecord(id=container.id, name="count",
                             settings=ContainerSettings(restart=RestartPolicy(name="on-failure", limit=2)))
    container.write(record)
    waits: list[str] = []
    monkeypatch.setattr(os, "execv", lambda path, words: waits.append(words[1]))
    for restarts, again in ((0, True), (1, True), (2, False)):
        container.write_run(ContainerRun(started="2026-01-01T00:00:00Z", restarts=restarts, brief=restarts, over=False))
        container.write_exit(Exit(status=1, finished="2026-01-01T01:00:00Z"))
        assert monitor_events.at_end(container) in (0, None)
        assert container.run().waiting == again
        assert container.run().restarts == restarts
    assert waits == ["after=100", "after=100"]


def test_directories_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Directories(str(tmp_path / "deep/root"), str(tmp_path / "run")).below("containers", "x")
    finally:
        os.umask(before)
    for path in ("deep/root", "deep/root/containers/x"):
        assert (tmp_path / path).stat().st_mode & 0o777 == 0o700, path


def test_a_wrong_command_line_has_dockers_exit_status(pocker: Pocker) -> None:
    for words in (("--nosuchflag", "busybox"), ("-h", "two words", "busybox"), ("-h", "a\nb", "busybox"),
                  ("--network-alias", "a b", "busybox"), ("--dns-search", "x\nnameserver 192.0.2.1", "busybox"),
                  ("--add-host", "a\nb:192.0.2.1", "busybox"), ("--stop-signal", "NOSUCH", "busybox")):
        assert "error: " in pocker.fails("run", *words, status=125), words
    pocker.check()


def test_an_image_with_an_unknown_stop_signal(pocker: Pocker) -> None:
    pocker.ok("create", "--name", "odd", *_NONE, "busybox", "sh", "-c",
              "trap 'exit 5' TERM; while :; do sleep 0.1; done")
    path = pocker.directory("odd") / "container.json"
    document = json.loads(path.read_text())
    document["image_config"]["StopSignal"] = "SIGNOSUCH"
    path.write_text(json.dumps(document))
    pocker.ok("start", "odd")
    pocker.ok("stop", "-t", "60", "odd")
    assert pocker.ok("wait", "odd") == "5"


def test_pause_names_the_status_of_the_container(pocker: Pocker) -> None:
    pocker.ok("create", "--name", "idle", *_NONE, "busybox")
    assert 'container "idle" is not paused: it is created' in pocker.fails("unpause", "idle")
    assert 'container "idle" is not running: it is created' in pocker.fails("pause", "idle")


def test_a_container_without_networks_may_join_one(lab: Lab) -> None:
    lab.ok("network", "create", "other")
    lab.detached("server", "--network", "other")
    lab.detached("mover")
    lab.ok("network", "disconnect", "bridge", "mover")
    lab.ok("network", "connect", "other", "mover")
    lab.ok("exec", "mover", "ping", "-c1", "-W9", "server")
    lab.ok("network", "disconnect", "other", "mover")
    lab.ok("restart", "-t", "0", "mover")
    lab.fails("exec", "mover", "ping", "-c1", "-W9", "server")
    lab.ok("network", "connect", "other", "mover")
    lab.ok("exec", "mover", "ping", "-c1", "-W9", "server")
    lab.ok("restart", "-t", "0", "mover")
    lab.ok("exec", "mover", "ping", "-c1", "-W9", "server")
    lab.ok("rm", "-f", "mover", "server")
    lab.ok("network", "rm", "other")


def test_one_container_does_not_keep_the_name_server_from_the_others(lab: Lab) -> None:
    for name in ("greedy", "modest"):
        lab.detached(name)
    gateway = lab.endpoint("greedy")["joined"][0]["gateway"]
    code = """
        import socket, sys
        held = []
        for number in range(600):
            held.append(socket.create_connection((sys.argv[1], 53), 10))
        print("ready", flush=True)
        sys.stdin.read()
        """
    words = ["nsenter", f"--net=/proc/{lab.pid('greedy')}/ns/net", sys.executable, "-c", textwrap.dedent(code), gateway]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as greedy:
        assert greedy.stdout is not None and greedy.stdout.readline() == "ready\n"
        ask = """
            import socket, sys
            query = bytes(range(2)) + b"\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\6modest\\0\\0\\1\\0\\1"
            sock = socket.create_connection((sys.argv[1], 53), 10)
            sock.sendall(len(query).to_bytes(2, "big") + query)
            print(len(sock.recv(4096)))
            """
        done = subprocess.run(["nsenter", f"--net=/proc/{lab.pid('modest')}/ns/net", sys.executable, "-c",
                               textwrap.dedent(ask), gateway], capture_output=True, text=True, check=False, timeout=60)
        greedy.communicate(timeout=60)
    assert int(done.stdout or 0) > 20, done.stderr


def test_after_a_boot_those_start_that_ran(pocker: Pocker) -> None:
    """As the service pocker-restart starts them; "always" ignores that somebody stopped it."""
    policies = {"no": "no", "failure": "on-failure", "always": "always", "unless": "unless-stopped"}
    for name, policy in policies.items():
        pocker.ok("run", "-d", "--name", name, "--restart", policy, *_NONE, "busybox", "sleep", "1000")
        pocker.ok("run", "-d", "--name", f"{name}-stopped", "--restart", policy, *_NONE, "busybox", "sleep", "1000")
        pocker.ok("stop", "-t", "0", f"{name}-stopped")
    pocker.ok("create", "--name", "new", "--restart", "always", *_NONE, "busybox", "sleep", "1000")
    for name in policies:   # the power fails
        os.kill(pocker.run_file(name)["monitor"][0], signal.SIGKILL)
    for name in policies:
        with contextlib.suppress(ProcessLookupError):   # some end with their monitor
            os.kill(int(pocker.ok("inspect", "--format", "{{.State.Pid}}", name)) or 1 << 22, signal.SIGKILL)
    pocker.eventually(lambda: "running" not in pocker.statuses().values(), "all have ended")
    boot = ("--filter", "should-start-on-boot=true")
    wanted = ["always", "always-stopped", "unless"]
    assert sorted(pocker.ok("ps", "-a", "--format", "{{.Names}}", *boot).split()) == wanted
    assert pocker.ok("ps", "-a", "--format", "{{.Names}}", "--filter", "restart-policy=on-failure").split() == [
        "failure-stopped", "failure"]
    assert len(pocker.ok("start", "--all", *boot).split()) == 3
    assert sorted(name for name, status in pocker.statuses().items() if status == "running") == wanted
    for words, told in ((("start",), "name a container, or select all with --all"),
                        (("start", *boot), "--filter selects from all containers: add --all"),
                        (("start", "--all", "no"), '--all starts all containers: leave out "no" or --all'),
                        (("start", "--all", "--filter", "should-start-on-boot=yes"), "write true or false")):
        done = pocker(*words)
        assert done.returncode and told in done.stderr and not done.stdout, done
