"""NOTIFY_SOCKET and LISTEN_FDS: a service manager, simulated by the tests, and a program that notifies it."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commands import COMMAND
from tests.conftest import compile_c
from tests.containers import PATIENCE, Bundle, Runtime, end

Talker = Callable[..., Bundle]


class Manager:
    """The service manager's socket. ``heard`` has the datagrams; a barrier is answered once ``answer`` is set."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + path[1:] if path.startswith("@") else path)
        self.heard: list[str] = []
        self.answer = threading.Event()
        self.answer.set()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            data, fds, _, _ = socket.recv_fds(self.socket, 65536, 8)
            if data == b"end":
                return
            self.heard.append(data.decode() + " +fd" * len(fds))
            if data == b"BARRIER=1":
                self.answer.wait(PATIENCE)
            for fd in fds:
                os.close(fd)

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.sendto(b"end", self.socket.getsockname())
        self._thread.join(PATIENCE)
        self.socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "manager"))
    yield made
    made.close()


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"NOTIFY_SOCKET": str(tmp_path / "manager")}


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_c(tmp_path_factory.mktemp("notify") / "notify", [Path(__file__).parent / "notify.c"], "-static")


@pytest.fixture
def talk(own_bundle: Bundle, program: Path) -> Talker:
    """Creates a bundle whose program sends each word."""
    target = Path(own_bundle.config["root"]["path"]) / "bin/notify"
    target.write_bytes(program.read_bytes())
    target.chmod(0o755)

    def make(*words: str, **changes: Any) -> Bundle:
        return own_bundle.save(process__args=["notify", *words], **changes)
    return make


def test_start_waits_until_the_program_is_ready(runtime: Runtime, talk: Talker, manager: Manager,
                                                env: dict[str, str]) -> None:
    runtime.ok("create", "c1", talk("STATUS=warming up", "MAINPID=1\nREADY=1\nSTATUS=ready", "sleep"), env=env)
    assert manager.heard == []
    runtime.ok("start", "c1", env=env)
    pid = runtime.state("c1")["pid"]
    # runc sends the lines of READY with a newline each, and only READY, MAINPID and the barrier.
    assert manager.heard == ["STATUS=warming up\n", "READY=1\n", f"MAINPID={pid}\n", "STATUS=ready\n", "BARRIER=1 +fd"]
    assert runtime.state("c1")["status"] == "running"


def test_run_detached_waits_for_the_reply_to_its_barrier(runtime: Runtime, talk: Talker, manager: Manager,
                                                          env: dict[str, str]) -> None:
    manager.answer.clear()
    process = subprocess.Popen([COMMAND, "--root", runtime.root, "run", "-d", "c1", talk("READY=1", "sleep").path],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env={**os.environ, **env})
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        assert manager.heard[-1] == "BARRIER=1 +fd"
        manager.answer.set()
        assert process.wait(PATIENCE) == 0
    finally:
        end(process)


def test_a_program_that_ends_first_ends_the_wait(runtime: Runtime, talk: Talker, manager: Manager,
                                                 env: dict[str, str]) -> None:
    runtime.ok("run", "-d", "c1", talk("STATUS=giving up"), env=env)
    assert manager.heard == ["STATUS=giving up\n"]
    runtime.await_status("c1", "stopped")


def test_run_in_the_foreground_forwards_until_the_program_exits(runtime: Runtime, talk: Talker, manager: Manager,
                                                       env: dict[str, str]) -> None:
    bundle = talk("STATUS=a", "BARRIER=1", "READY=1", "RELOADING=1\nMONOTONIC_USEC=5", "WATCHDOG=1", "FDSTORE=1",
                  "NOTIFYACCESS=all", "BARRIER=1", "STOPPING=1")
    process = subprocess.Popen([COMMAND, "--root", runtime.root, "run", "c1", bundle.path], text=True,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env={**os.environ, **env})
    try:
        assert process.communicate(timeout=PATIENCE)[0] == "barrier\nbarrier\n"
        assert process.returncode == 0
    finally:
        end(process)
    assert [line.rstrip("\n") for line in manager.heard] == [
        "STATUS=a", "READY=1", f"MAINPID={process.pid}", "RELOADING=1", "MONOTONIC_USEC=5", "WATCHDOG=1", "STOPPING=1"]


def test_a_user_of_a_user_namespace_may_notify(runtime: Runtime, talk: Talker, manager: Manager,
                                               env: dict[str, str]) -> None:
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    bundle = talk("READY=1", "sleep")
    bundle.config["linux"]["namespaces"].append({"type": "user"})
    bundle.save(process__user={"uid": 5, "gid": 6}, linux__uidMappings=mapping, linux__gidMappings=mapping)
    rootfs = Path(bundle.config["root"]["path"])
    for directory in (rootfs, *rootfs.parents):
        if os.stat(directory).st_uid == 0 and str(directory).startswith("/tmp/"):
            directory.chmod(0o755)
    for directory in (rootfs, rootfs / "run"):   # the container's root creates mount points
        directory.mkdir(exist_ok=True)
        os.chown(directory, 100000, 100000)
    runtime.ok("run", "-d", "c1", bundle, env=env)
    assert manager.heard[0] == "READY=1\n"


def test_an_abstract_socket(runtime: Runtime, talk: Talker) -> None:
    name = f"@pyruntime-tests-{os.getpid()}"
    manager = Manager(name)
    try:
        runtime.ok("run", "c1", talk("READY=1"), env={"NOTIFY_SOCKET": name})
        assert manager.heard[0] == "READY=1\n"
    finally:
        manager.close()


def test_the_notify_mount(runtime: Runtime, own_bundle: Bundle, manager: Manager, env: dict[str, str]) -> None:
    script = "echo $NOTIFY_SOCKET; touch /run/notify/x; grep -o '/run/notify [a-z,]*' /proc/self/mountinfo"
    own_bundle.config["process"]["env"].append("NOTIFY_SOCKET=/other")
    done = runtime("run", "c1", own_bundle.shell(script), env=env)
    assert done.stdout == "/run/notify/notify.sock\n/run/notify ro,nosuid,nodev,noexec,relatime\n"
    assert "Read-only file system" in done.stderr
    # exec gets the environment of config.json, as with runc
    runtime.ok("create", "c2", own_bundle, env=env)
    assert runtime.ok("exec", "c2", "sh", "-c", "echo $NOTIFY_SOCKET") == "/other\n"


def test_without_a_manager_start_does_not_wait(runtime: Runtime, talk: Talker, manager: Manager,
                                                 env: dict[str, str]) -> None:
    runtime.ok("create", "c1", talk("sleep"))
    runtime.ok("start", "c1", env=env)          # created without the notify mount
    runtime.ok("create", "c2", talk("sleep"), env=env)
    runtime.ok("start", "c2")                   # no service manager
    assert manager.heard == []


def test_a_missing_manager(runtime: Runtime, talk: Talker, tmp_path: Path) -> None:
    gone = {"NOTIFY_SOCKET": str(tmp_path / "gone")}
    runtime.ok("create", "c1", talk("READY=1", "sleep"), env=gone)
    done = runtime("start", "c1", env=gone)
    assert done.returncode == 1 and "NOTIFY_SOCKET: connect" in done.stderr
    assert runtime.state("c1")["status"] == "created"
    for words in (["run", "c2"], ["run", "-d", "c2"]):
        done = runtime(*words, talk("READY=1", "sleep"), env=gone)
        assert done.returncode == 1 and "NOTIFY_SOCKET: connect" in done.stderr
        assert not (runtime.root / "c2").exists()
    done = runtime("start", "c1", env={"NOTIFY_SOCKET": "vsock:2:1234"})
    assert done.returncode == 1 and 'NOTIFY_SOCKET="vsock:2:1234": neither a path' in done.stderr


# --- LISTEN_FDS ------------------------------------------------------------------------------------------------------

def _listening(runtime: Runtime, bundle: Bundle, settings: str, *words: str) -> subprocess.CompletedProcess[str]:
    files = "exec 3</etc/passwd 4</etc/group 5</etc/hosts"
    script = f'{files}; {settings}; exec "$0" --root "$1" "${{@:3}}" c1 "$2"'
    return subprocess.run(["bash", "-c", script, COMMAND, runtime.root, bundle.path, *words], text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=PATIENCE)


SHOW = ("echo fds=$LISTEN_FDS pid=$LISTEN_PID names=$LISTEN_FDNAMES;"
        " for n in 3 4 5; do readlink /proc/self/fd/$n; done; true")


@pytest.mark.parametrize(("settings", "words", "expected"), [
    ("export LISTEN_PID=$$ LISTEN_FDS=2", ["run"], "fds=2 pid=1 names=\n/etc/passwd\n/etc/group\n"),
    ("export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=a:b", ["run"],
     "fds=2 pid=1 names=a:b\n/etc/passwd\n/etc/group\n"),
    # preserved descriptors come after activated sockets, as with runc
    ("export LISTEN_PID=$$ LISTEN_FDS=1", ["run", "--preserve-fds", "2"],
     "fds=1 pid=1 names=\n/etc/passwd\n/etc/group\n/etc/hosts\n"),
    ("export LISTEN_PID=1 LISTEN_FDS=2", ["run"], "fds= pid= names=\n"),   # meant for another process
    ("export LISTEN_FDS=2", ["run"], "fds= pid= names=\n"),
    ("export LISTEN_PID=$$ LISTEN_FDS=0", ["run"], "fds= pid= names=\n"),
])
def test_sockets_for_the_program(runtime: Runtime, bundle: Bundle, settings: str, words: list[str],
                                 expected: str) -> None:
    bundle.config["process"]["env"] += ["PATH=/bin"]
    done = _listening(runtime, bundle.shell(SHOW), settings, *words)
    assert (done.returncode, done.stdout) == (0, expected), done.stderr


def test_create_passes_activated_sockets(runtime: Runtime, bundle: Bundle) -> None:
    bundle.shell("sleep 100")
    script = 'exec 3</etc/passwd 4</etc/group; export LISTEN_PID=$$ LISTEN_FDS=2; exec "$0" --root "$1" create c1 "$2"'
    subprocess.run(["bash", "-c", script, COMMAND, runtime.root, bundle.path], stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, check=True, timeout=PATIENCE)
    runtime.ok("start", "c1")
    fds = f"/proc/{runtime.state('c1')['pid']}/fd"
    assert sorted(os.listdir(fds)) == ["0", "1", "2", "3", "4"] and os.readlink(f"{fds}/4") == "/etc/group"


@pytest.mark.parametrize(("settings", "words", "phrase"), [
    ("export LISTEN_PID=$$ LISTEN_FDS=9", ["run"], "LISTEN_FDS=9: descriptor 6: bad file descriptor"),
    ("export LISTEN_PID=$$ LISTEN_FDS=x", ["run"], 'LISTEN_FDS="x": not a number'),
    ("export LISTEN_PID=$$ LISTEN_FDS=1", ["run", "--preserve-fds", "3"], "unable to stat preserved-fd 2 (of 3)"),
    ("true", ["create", "--preserve-fds", "5"], "unable to stat preserved-fd 3 (of 5)"),
])
def test_descriptors_that_are_not_open(runtime: Runtime, bundle: Bundle, settings: str, words: list[str],
                                       phrase: str) -> None:
    done = _listening(runtime, bundle.shell("true"), settings, *words)
    assert done.returncode == 1 and phrase in done.stderr
    assert not (runtime.root / "c1").exists()
