"""Unusual situations: whatever the host, the caller or the container does, the error is clear and nothing is left."""

from __future__ import annotations

import array
import fcntl
import itertools
import json
import os
import pty
import random
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyruntime.runtime.cgroups.host import discover
from pyruntime.runtime.lifecycle import delete
from pyruntime.system import processes
from tests.commands import COMMAND
from tests.containers import PATIENCE, Bundle, Runtime, end


def until(ready: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def popen(runtime: Runtime, *words: object, **options: object) -> subprocess.Popen[bytes]:
    settings: dict[str, object] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL,
                                   "stderr": subprocess.DEVNULL, **options}
    process: subprocess.Popen[bytes] = subprocess.Popen(
        [str(word) for word in (COMMAND, "--root", runtime.root, *words)], **settings)  # type: ignore[call-overload]
    return process


def shared_pids(bundle: Bundle) -> Bundle:
    """The bundle with the host's pid namespace."""
    spaces = [entry for entry in bundle.config["linux"]["namespaces"] if entry["type"] != "pid"]
    bundle.config["linux"]["namespaces"] = spaces
    return bundle


# --- cgroups ---------------------------------------------------------------------------------------------------------

@pytest.fixture
def freezer() -> Iterator[Path]:
    """An empty cgroup in the freezer's hierarchy."""
    found = discover().find("freezer", "freezer") or next(iter(discover().all()))
    path = Path(found.mountpoint, f"odd-{os.getpid()}")
    path.mkdir()
    yield path
    until(lambda: not (path / "cgroup.procs").read_text(), "the cgroup never became empty")
    path.rmdir()


def freeze(path: Path, *, frozen: bool) -> None:
    if (path / "freezer.state").exists():
        (path / "freezer.state").write_text("FROZEN" if frozen else "THAWED")
    else:
        (path / "cgroup.freeze").write_text("1" if frozen else "0")
        until(lambda: f"frozen {int(frozen)}" in (path / "cgroup.events").read_text(), "never frozen")


@pytest.mark.parametrize("command", [["create"], ["run"], ["run", "-d"]])
def test_a_frozen_cgroup_is_refused(runtime: Runtime, bundle: Bundle, freezer: Path, command: list[str]) -> None:
    freeze(freezer, frozen=True)
    bundle.shell("true", linux__cgroupsPath=f"/{freezer.name}")
    done = runtime(*command, "c1", bundle)
    freeze(freezer, frozen=False)
    assert done.returncode == 1 and "container's cgroup unexpectedly frozen" in done.stderr
    assert "linux.cgroupsPath" in done.stderr and not (runtime.root / "c1").exists()
    runtime.ok("run", "c1", bundle)


@pytest.mark.parametrize("below", ["", "sub"])
def test_a_cgroup_with_processes_is_refused(runtime: Runtime, bundle: Bundle, freezer: Path, below: str) -> None:
    place = freezer / below
    place.mkdir(exist_ok=True)
    other = subprocess.Popen(["sleep", "100"])
    try:
        (place / "cgroup.procs").write_text(str(other.pid))
        done = runtime("create", "c1", bundle.shell("true", linux__cgroupsPath=f"/{freezer.name}"))
        assert done.returncode == 1 and "container's cgroup is not empty: 1 process(es) found" in done.stderr
        assert not (runtime.root / "c1").exists() and other.poll() is None
    finally:
        end(other)
        if below:
            until(lambda: not (place / "cgroup.procs").read_text(), "the cgroup never became empty")
            place.rmdir()


def _cgroups(runtime: Runtime, name: str) -> list[Path]:
    return [Path(path) for path in json.loads((runtime.root / name / "state.json").read_text())["cgroup"].values()]


@pytest.mark.parametrize("words", [["delete", "--force", "c1"], ["kill", "c1", "KILL"]])
def test_sub_cgroups_created_inside_are_removed(runtime: Runtime, bundle: Bundle, words: list[str]) -> None:
    runtime.ok("run", "-d", "c1", bundle.shell("sleep 1000"))
    pid = runtime.state("c1")["pid"]
    # In a cpuset of v1, a process can enter a new sub-cgroup only after its CPUs are set.
    places = [path for path in _cgroups(runtime, "c1")
              if not (path / "cpuset.cpus").exists() or (path / "cgroup.controllers").exists()]
    assert places
    for place in places:
        for below in ("a", "a/b", "c"):
            (place / below).mkdir()
        (place / "c/cgroup.procs").write_text(str(pid))
    runtime.ok(*words)
    if words[0] == "kill":
        runtime.await_status("c1", "stopped")
        runtime.ok("delete", "c1")
    assert not any(place.exists() for place in places)


# --- the host's pid namespace ------------------------------------------------------------------------------------

def _children(runtime: Runtime, bundle: Bundle) -> list[int]:
    """The processes of a container in the host's pid namespace: a shell, its child, and a process in its own
    session."""
    shared_pids(bundle).shell("sleep 1000 & setsid sleep 1001 & wait")
    runtime.ok("run", "-d", "c1", bundle)
    until(lambda: len(json.loads(runtime.ok("ps", "-f", "json", "c1"))) == 3, "never three processes")
    found = json.loads(runtime.ok("ps", "-f", "json", "c1"))
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("words", [["kill", "c1", "KILL"], ["kill", "--all", "c1", "9"], ["delete", "--force", "c1"]])
def test_every_process_in_the_hosts_pid_namespace_is_reached(runtime: Runtime, bundle: Bundle,
                                                              words: list[str]) -> None:
    pids = _children(runtime, bundle)
    runtime.ok(*words)
    until(lambda: not any(map(alive, pids)), f"{words} left one of {pids}")


def test_processes_that_outlive_init_are_reached(runtime: Runtime, bundle: Bundle) -> None:
    pids = _children(runtime, bundle)
    os.kill(runtime.state("c1")["pid"], signal.SIGKILL)
    runtime.await_status("c1", "stopped")
    assert sum(map(alive, pids)) == 2
    runtime.ok("kill", "--all", "c1", "TERM")
    until(lambda: not any(map(alive, pids)), "kill --all of a stopped container")
    runtime.ok("delete", "c1")


def test_all_are_reached_although_init_ends_meanwhile(runtime: Runtime, bundle: Bundle,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at the status and the signal."""
    pids = _children(runtime, bundle)

    def ended(pid: int, *_: object) -> None:
        os.kill(pid, signal.SIGKILL)
        raise ProcessLookupError

    monkeypatch.setattr(processes, "send_signal", ended)
    delete.kill(str(runtime.root), "c1", signal.SIGTERM, everything=True)
    until(lambda: not any(map(alive, pids)), "kill --all of a container that has just ended")


def test_run_kills_processes_that_outlive_init(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    shared_pids(bundle).shell("setsid sleep 1002 >/dev/null 2>&1 & echo $!; exit 4")
    done = runtime("run", "c1", bundle)
    assert done.returncode == 4
    until(lambda: not alive(int(done.stdout)), "a process outlived its container")


# --- death and signals ---------------------------------------------------------------------------------------------

def test_an_init_that_dies_between_create_and_start(runtime: Runtime, bundle: Bundle) -> None:
    runtime.ok("create", "c1", bundle.shell("true"))
    os.kill(runtime.state("c1")["pid"], signal.SIGKILL)
    runtime.await_status("c1", "stopped")
    assert runtime.state("c1")["pid"] == 0
    done = runtime("start", "c1")
    assert done.returncode == 1 and "cannot start a container that has stopped" in done.stderr
    for words in (["exec", "c1", "true"], ["pause", "c1"], ["kill", "c1"], ["update", "--pids-limit", "5", "c1"]):
        assert runtime(*words).returncode != 0
    runtime.ok("delete", "c1")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGKILL", "SIGHUP"])
@pytest.mark.parametrize("words", [["create"], ["run"], ["run", "-d"]], ids=["create", "run", "run-d"])
def test_a_signal_at_any_time_during_set_up(runtime: Runtime, bundle: Bundle, words: list[str], name: str) -> None:
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/true"}]}
    bundle.shell("sleep 1000")
    chance = random.Random(f"{words}{name}")
    for number in range(7):
        process = popen(runtime, *words, "c1", bundle, start_new_session=True)
        try:
            time.sleep(chance.uniform(0, 0.12))
            process.send_signal(getattr(signal, name))
            if words == ["run"] and name != "SIGKILL":
                # run forwards the signal, and init of a pid namespace may ignore it: then run keeps waiting.
                _settle(process, runtime)
            else:
                process.wait(PATIENCE)
            if (runtime.root / "c1").exists():
                assert runtime.state("c1")["status"] in ("creating", "created", "running", "stopped")
            runtime.ok("delete", "--force", "c1")
            process.wait(PATIENCE)
        finally:
            end(process)
        assert not (runtime.root / "c1").exists(), number
    # After a signal before anything was created, the ID can be used; the fixture checks everything else.
    runtime.ok("create", "c1", bundle)


def _settle(process: subprocess.Popen[bytes], runtime: Runtime) -> None:
    until(lambda: process.poll() is not None or _reached(runtime), "neither exited nor running")


def _reached(runtime: Runtime) -> bool:
    done = runtime("state", "c1")
    return done.returncode == 0 and json.loads(done.stdout)["status"] == "running"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGKILL"])
def test_a_signal_at_any_time_during_exec(runtime: Runtime, bundle: Bundle, name: str) -> None:
    runtime.ok("run", "-d", "c1", bundle.shell("sleep 1000"))
    chance = random.Random(name)
    for _ in range(8):
        process = popen(runtime, "exec", "c1", "true", start_new_session=True)
        time.sleep(chance.uniform(0, 0.06))
        process.send_signal(getattr(signal, name))
        process.wait(PATIENCE)
    init = runtime.state("c1")["pid"]
    until(lambda: _settled(runtime, init), "an exec left a process")
    assert runtime.ok("exec", "c1", "echo", "fine") == "fine\n"


def _settled(runtime: Runtime, init: int) -> bool:
    return set(json.loads(runtime.ok("ps", "-f", "json", "c1"))) <= {init}


def test_a_stopped_creator(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """A `create` that is stopped half-way is still creating the container; `delete --force` ends it."""
    marker = tmp_path / "here"
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": [
        "sh", "-c", f"kill -STOP $PPID; touch {marker}; sleep 0.2"]}]}
    process = popen(runtime, "create", "c1", bundle.shell("sleep 1000"))
    try:
        until(marker.exists, "the hook never ran")
        assert runtime.state("c1")["status"] == "creating"
        for words in (["start", "c1"], ["delete", "c1"], ["exec", "c1", "true"]):
            assert runtime(*words).returncode != 0
        runtime.ok("delete", "--force", "c1")
        assert process.wait(PATIENCE) == -signal.SIGKILL
    finally:
        end(process)


def test_a_stopped_parent_in_the_foreground(runtime: Runtime, bundle: Bundle) -> None:
    """The container keeps running; other commands do not need the stopped process."""
    process = popen(runtime, "run", "c1", bundle.shell("sleep 1000"))
    try:
        until(lambda: _reached(runtime), "never running")
        process.send_signal(signal.SIGSTOP)
        assert runtime.ok("exec", "c1", "echo", "fine") == "fine\n"
        runtime.ok("pause", "c1")
        runtime.ok("resume", "c1")
        runtime.ok("kill", "c1", "KILL")
        runtime.await_status("c1", "stopped")
        runtime.ok("delete", "c1")
        process.send_signal(signal.SIGCONT)
        assert process.wait(PATIENCE) == 137
    finally:
        end(process)


# --- terminals ---------------------------------------------------------------------------------------------------

def _on_terminal(runtime: Runtime, size: tuple[int, int], *words: object) -> tuple[subprocess.Popen[bytes], int, int]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, array.array("H", [*size, 0, 0]))
    process = popen(runtime, *words, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    return process, master, slave


def _read_until(master: int, word: bytes) -> bytes:
    text = b""
    while word not in text:
        text += os.read(master, 1000)
    return text


@pytest.mark.parametrize(("caller", "wanted", "expected"), [
    ((33, 99), None, (33, 99)),
    ((33, 99), {"height": 10, "width": 20}, (33, 99)),    # the size of the caller's terminal
    ((0, 0), {"height": 10, "width": 20}, (10, 20)),      # a terminal without a size is ignored
    ((0, 0), None, (0, 0)),
    ((65535, 1), None, (65535, 1)),
    ((0, 80), None, (0, 80)),
])
def test_sizes_of_a_terminal(runtime: Runtime, bundle: Bundle, caller: tuple[int, int],
                             wanted: dict[str, int] | None, expected: tuple[int, int]) -> None:
    changes = {} if wanted is None else {"process__consoleSize": wanted}
    process, master, slave = _on_terminal(runtime, caller, "run", "c1", bundle.shell(
        "echo begun; sleep 1000", process__terminal=True, **changes))
    try:
        _read_until(master, b"begun")
        size = array.array("H", [7, 7, 7, 7])   # read from outside: busybox adjusts unusual sizes
        inside = os.open(f"/proc/{runtime.state('c1')['pid']}/fd/0", os.O_RDONLY | os.O_NOCTTY)
        try:
            fcntl.ioctl(inside, termios.TIOCGWINSZ, size)
        finally:
            os.close(inside)
        assert tuple(size[:2]) == expected
        runtime.ok("kill", "c1", "KILL")
        assert process.wait(PATIENCE) == 137
    finally:
        end(process)
        os.close(slave)
        os.close(master)


def test_a_terminal_that_is_resized(runtime: Runtime, bundle: Bundle) -> None:
    bundle.shell("trap 'stty size' WINCH; echo set; while :; do sleep 0.05; done", process__terminal=True)
    process, master, slave = _on_terminal(runtime, (24, 80), "run", "c1", bundle)
    try:
        _read_until(master, b"set")
        for size in ((11, 22), (5, 7), (300, 400)):
            fcntl.ioctl(slave, termios.TIOCSWINSZ, array.array("H", [*size, 0, 0]))
            process.send_signal(signal.SIGWINCH)
            _read_until(master, f"{size[0]} {size[1]}".encode())
        runtime.ok("kill", "c1", "KILL")
        assert process.wait(PATIENCE) == 137
    finally:
        end(process)
        os.close(slave)
        os.close(master)


def test_a_terminal_with_standard_input_from_a_file(runtime: Runtime, bundle: Bundle) -> None:
    bundle.shell("tty; read line; echo got $line", process__terminal=True)
    done = runtime("run", "c1", bundle)   # standard input is /dev/null
    assert done.stdout == "/dev/pts/0\r\ngot\r\n"
    done = subprocess.run([COMMAND, "--root", runtime.root, "run", "c1", str(bundle)], input=b"typed\n",
                          capture_output=True, timeout=PATIENCE, check=False)  # type: ignore[assignment]
    assert b"got typed\r\n" in done.stdout   # type: ignore[operator]


# --- the caller ----------------------------------------------------------------------------------------------------

SUBSETS = [subset for count in range(4) for subset in itertools.combinations((0, 1, 2), count)]


@pytest.mark.parametrize("closed", SUBSETS, ids=lambda subset: "".join(map(str, subset)) or "none")
def test_closed_standard_descriptors(runtime: Runtime, bundle: Bundle, tmp_path: Path, closed: tuple[int, ...]) -> None:
    """Every command of a container's lifecycle, each with the same descriptors closed."""
    bundle.shell("sleep 1000")
    closing = " ".join(f"{fd}<&-" for fd in closed)
    for words in (["create", "c1", str(bundle)], ["start", "c1"], ["exec", "c1", "true"], ["state", "c1"],
                  ["exec", "-d", "--pid-file", str(tmp_path / "pid"), "c1", "sleep", "1000"]):
        done = subprocess.run(["sh", "-c", f'"$@" {closing}', "sh", COMMAND, "--root", runtime.root, *words],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              check=False, timeout=PATIENCE)
        assert done.returncode == 0, words
    for pid in (runtime.state("c1")["pid"], int((tmp_path / "pid").read_text())):
        fds = {fd: os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
        assert fds == dict.fromkeys("012", "/dev/null"), closed
    script = f'"$@" {closing}'
    done = subprocess.run(["sh", "-c", script, "sh", COMMAND, "--root", runtime.root, "run", "c2", str(bundle.shell(
        "exit 3"))], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
        timeout=PATIENCE)
    assert done.returncode == 3


def test_a_deleted_working_directory(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    place = tmp_path / "gone"

    def away() -> None:   # in the child, between fork and exec
        place.mkdir()
        os.chdir(place)
        place.rmdir()
    bundle.shell("pwd")
    assert runtime.ok("run", "c1", bundle, preexec_fn=away) == "/\n"
    runtime.ok("create", "c1", bundle, preexec_fn=away)
    for words in (["state", "c1"], ["start", "c1"], ["list"], ["delete", "--force", "c1"]):
        runtime.ok(*words, preexec_fn=away)
    for words in (["run", "c1"], ["create", "-b", "bundle", "c1"], ["create", "--pid-file", "pid", "c1", str(bundle)],
                  ["spec"]):
        done = runtime(*words, preexec_fn=away)
        assert done.returncode == 1 and "No such file or directory" in done.stderr, done.stderr
        assert not (runtime.root / "c1").exists()


# --- the state directory -------------------------------------------------------------------------------------------

@pytest.fixture
def small(runtime: Runtime) -> Iterator[Path]:
    """The runtime's state directory is a tmpfs of four pages."""
    runtime.root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24k,mode=700", "tmpfs", runtime.root], check=True)
    yield runtime.root
    subprocess.run(["mount", "-o", "remount,rw", runtime.root], check=True)
    for name in runtime.ok("list", "-q").split():
        runtime("delete", "--force", name)
    subprocess.run(["umount", runtime.root], check=True)


def test_a_full_state_directory(runtime: Runtime, bundle: Bundle, small: Path) -> None:
    bundle.shell("sleep 1000", annotations={"a": "x" * 30000})
    for words in (["create"], ["run"], ["run", "-d"]):
        done = runtime(*words, "c1", bundle)
        assert done.returncode == 1 and "No space left on device" in done.stderr and "state" in done.stderr
        assert os.listdir(small) == []
    # A smaller record is written, and the container can be deleted although the disk has become full.
    runtime.ok("create", "c1", bundle.shell("sleep 1000", annotations={}))
    with (small / ".fill").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4096))
    runtime.ok("start", "c1")
    assert runtime.ok("exec", "c1", "echo", "fine") == "fine\n"
    runtime.ok("kill", "c1", "KILL")
    runtime.await_status("c1", "stopped")
    runtime.ok("delete", "c1")
    assert os.listdir(small) == [".fill"]


def test_a_read_only_state_directory(runtime: Runtime, bundle: Bundle, small: Path) -> None:
    runtime.ok("create", "c1", bundle.shell("sleep 1000"))
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    for words in (["create"], ["run"]):
        done = runtime(*words, "c2", bundle)
        assert done.returncode == 1 and "Read-only file system" in done.stderr and "state" in done.stderr
    # Commands that do not write work.
    runtime.ok("start", "c1")
    runtime.ok("exec", "c1", "true")
    runtime.ok("pause", "c1")
    runtime.ok("resume", "c1")
    runtime.ok("kill", "c1", "KILL")
    runtime.await_status("c1", "stopped")
    done = runtime("delete", "c1")
    assert done.returncode == 1 and "Read-only file system" in done.stderr
    subprocess.run(["mount", "-o", "remount,rw", small], check=True)
    runtime.ok("delete", "c1")


def test_a_state_directory_that_is_a_file(runtime: Runtime, bundle: Bundle) -> None:
    runtime.root.write_text("")
    done = runtime("create", "c1", bundle.shell("true"))
    assert done.returncode == 1 and "state directory" in done.stderr and "Not a directory" in done.stderr
    runtime.root.unlink()


# --- sizes -----------------------------------------------------------------------------------------------------------

def test_long_values_and_many_entries_of_the_environment(runtime: Runtime, bundle: Bundle) -> None:
    bundle.config["process"]["env"] += [f"LONG{number}={'x' * 4096}" for number in range(200)]
    bundle.config["process"]["env"] += [f"E{number}=y" for number in range(5000)]
    bundle.shell('echo ${#LONG199} $E4999; env | grep -c "^E[0-9]"')
    assert runtime.ok("run", "c1", bundle) == "4096 y\n5000\n"
    runtime.ok("create", "c2", bundle)
    assert runtime.ok("exec", "c2", "sh", "-c", "echo ${#LONG0} $E0") == "4096 y\n"


def test_arguments_of_almost_two_mebibytes(runtime: Runtime, bundle: Bundle) -> None:
    arguments = ["x" * 100_000] * 19
    bundle.save(process__args=["sh", "-c", "echo $# ${#19}", "sh", *arguments])
    assert runtime.ok("run", "c1", bundle) == "19 100000\n"


@pytest.mark.parametrize("arguments", [["x" * 131_072], ["x" * 1000] * 2200], ids=["one", "all"])
def test_too_many_arguments(runtime: Runtime, bundle: Bundle, arguments: list[str], tmp_path: Path) -> None:
    """execve(2): 128 KiB each and a quarter of the stack limit in total. Only the kernel knows the limit, so the error
    is late."""
    bundle.save(process__args=["true", *arguments])
    done = runtime("run", "c1", bundle)
    assert done.returncode == 1 and "argument list too long" in done.stderr and "process.args" in done.stderr
    assert not (runtime.root / "c1").exists()
    assert len(done.stderr) < 2000
    runtime.ok("create", "c1", bundle)
    done = runtime("start", "c1")
    assert done.returncode == 1 and "argument list too long" in done.stderr
    runtime.await_status("c1", "stopped")
    runtime.ok("run", "-d", "c2", bundle.shell("sleep 1000"))
    process = tmp_path / "process.json"
    process.write_text(json.dumps({"cwd": "/", "args": ["true", *arguments], "env": ["PATH=/bin"],
                                   "user": {"uid": 0, "gid": 0}}))
    done = runtime("exec", "--process", process, "c2")
    assert done.returncode == 255 and "argument list too long" in done.stderr
