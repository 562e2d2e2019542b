"""Sandboxes: what a program sees, what run, read and write do, and that nothing is left."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from pyruntime import HostMount, ImageStore, Limits, Pool, Runtime, Sandbox, run_sandboxed
from pyruntime.errors import ConfigError, RunFailed, SandboxFileError, StateError, StepError, UsageError
from pyruntime.runtime.cgroups.host import discover
from pyruntime.sandbox.leftovers import PLACE, prune
from pyruntime.sandbox.pipes import KeptOutput, Pump
from pyruntime.sandbox.sources import Directory, Prepared
from tests.commands import COMMAND
from tests.conftest import TOP
from tests.containers import PATIENCE


def sh(box: Sandbox, script: str, **options: object) -> str:
    """The standard output of a shell script that has to succeed."""
    done = box.run(["sh", "-c", script], text=True, check=True, **options)  # type: ignore[arg-type]
    return str(done.stdout)


def await_programs(box: Sandbox, name: str, count: int = 1) -> None:
    """Wait until so many of these programs run."""
    deadline = time.monotonic() + 60
    while sh(box, "ps").count(name) < count:
        assert time.monotonic() < deadline, f"not {count} of {name}"
        time.sleep(0.02)


def test_a_run_is_like_subprocess(box: Sandbox) -> None:
    done = box.run(["sh", "-c", "cat; echo problem >&2; exit 3"], input=b"to be read")
    assert (done.stdout, done.stderr, done.returncode, done.reason) == (b"to be read", b"problem\n", 3, "exited")
    assert sh(box, "pwd; echo $A $PATH", env={"A": "1", "PATH": "/bin"}, cwd="/tmp") == "/tmp\n1 /bin\n"
    with pytest.raises(RunFailed, match="exit status 4") as failed:
        box.run(["sh", "-c", "exit 4"], check=True)
    assert failed.value.done.returncode == 4  # type: ignore[attr-defined]


def test_input_is_optional_and_may_be_refused(box: Sandbox) -> None:
    assert box.run(["cat"], timeout=5).stdout == b""
    done = box.run(["true"], input=b"x" * (4 << 20), timeout=5)
    assert (done.returncode, done.reason) == (0, "exited")
    data = os.urandom(3 << 20)
    assert box.run(["cat"], input=data, max_output="4m", timeout=20).stdout == data


def test_usage_is_that_of_the_run(box: Sandbox) -> None:
    busy = box.run(["sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"])
    idle = box.run(["sleep", "0.2"])
    assert busy.usage.cpu > max(0.05, 4 * idle.usage.cpu) > 0 < idle.usage.cpu
    assert 0.2 <= idle.usage.wall < 30
    eater = box.run(["sh", "-c", "head -c 30000000 /dev/zero | tail -c 30000000 >/dev/null"])
    assert eater.usage.memory > 25 << 20 > idle.usage.memory > 0


def test_usage_has_the_disks(rootfs: Path, tmp_path: Path) -> None:
    """Also what a descendant has written that nobody has waited for."""
    tmp_path.chmod(0o777)
    write = "dd if=/dev/zero of=/data/{} bs=1M count=4 2>/dev/null"
    with Sandbox(rootfs, mounts=[HostMount(str(tmp_path), "/data", writable=True)]) as box:
        own = box.run(["sh", "-c", write.format("own")])
        other = box.run(["sh", "-c", f"(setsid sh -c '{write.format('other')}; touch /data/ready; sleep 300' &);"
                                     " until [ -e /data/ready ]; do sleep 0.02; done"])
    assert own.usage.written >= 4 << 20 and other.usage.written >= 4 << 20


def test_a_signal_is_told_apart_from_an_exit_status(box: Sandbox) -> None:
    done = box.run(["sh", "-c", "kill -TERM $$"])
    assert (done.returncode, done.reason, done.timed_out, done.oom_killed) == (-signal.SIGTERM, "signal", False, False)
    done = box.run(["sh", "-c", "exit 143"])
    assert (done.returncode, done.reason) == (143, "exited")


def test_a_program_that_does_not_exist(box: Sandbox) -> None:
    with pytest.raises(StepError, match=r'"no-such-program": executable file not found in \$PATH'):
        box.run(["no-such-program"])
    assert box.run(["true"]).returncode == 0
    with pytest.raises(UsageError):
        box.run("ls")


def test_the_preset(box: Sandbox) -> None:
    status = dict(line.split(":\t", 1) for line in sh(box, "cat /proc/self/status").splitlines() if ":\t" in line)
    assert [status[name].split()[0] for name in ("Uid", "Gid", "NoNewPrivs", "Seccomp")] == ["65534", "65534", "1", "2"]
    assert all(int(status[name], 16) == 0 for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"))
    assert sh(box, "ls /sys/class/net").split() == ["lo"]
    assert sh(box, "mkdir /x 2>&1; touch /etc/x 2>&1; true").count("Read-only file system") == 2
    assert sh(box, "for d in /work /tmp /dev/shm; do touch $d/file && echo ok; done") == "ok\nok\nok\n"
    assert box.run(["unshare", "-U", "true"]).returncode != 0
    assert box.run(["mount", "-t", "tmpfs", "x", "/tmp"]).returncode != 0


def test_cgroups_that_it_needs(box: Sandbox) -> None:
    made = {hierarchy.key for hierarchy in discover().all() if Path(hierarchy.mountpoint, box.name).is_dir()}
    assert made == {""} if discover().layout == "v2" else {"memory", "pids", "freezer"} <= made
    assert not made & {"cpuset", "blkio", "name=systemd"}


def test_pid_1_cannot_be_disturbed(box: Sandbox) -> None:
    sh(box, "kill -9 1; kill -STOP 1; kill -TERM 1")
    assert box.run(["ls", "/proc/1/fd"]).returncode != 0, "it is traceable, and could be kept from its end"
    assert box.run(["true"]).returncode == 0


def test_the_source_stays_as_it_is(rootfs: Path) -> None:
    before = sorted(str(path) for path in rootfs.rglob("*"))
    with Sandbox(rootfs, user=0, writable=True) as box:
        sh(box, "echo changed >/bin/new; rm /bin/ls; mkdir /made")
        assert box.read("/bin/new") == b"changed\n"
    assert sorted(str(path) for path in rootfs.rglob("*")) == before


def test_a_bundle_gives_its_environment(rootfs: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({
        "root": {"path": str(rootfs)}, "process": {"env": ["A=of the bundle", "B=1"], "cwd": "/tmp"}}))
    with Sandbox(tmp_path, env={"B": "2"}) as box:
        assert sh(box, "echo $A $B; pwd") == "of the bundle 2\n/tmp\n"


def test_the_host_as_a_sandbox() -> None:
    with Sandbox.host() as box:
        assert sh(box, "ls /; id -un").split()[-1] == "nobody"
        assert box.run(["ls", "/root"]).returncode != 0
        assert box.run(["python3", "-c", "print(1 + 1)"], text=True).stdout == "2\n"
    with pytest.raises(UsageError, match="/no/such"):
        Sandbox.host(paths=["/no/such"])


def test_mounts_of_the_host(rootfs: Path, tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o777)
    (tmp_path / "data").write_text("mine")
    with Sandbox(rootfs, mounts=[HostMount(str(tmp_path), "/data")]) as box:
        assert sh(box, "cat /data/data; touch /data/new 2>/dev/null || echo refused") == "minerefused\n"
    with Sandbox(rootfs, mounts=[HostMount(str(tmp_path), "/data", writable=True)]) as box:
        sh(box, "echo theirs >/data/new")
    assert (tmp_path / "new").read_text() == "theirs\n"


def test_mounts_in_the_writable_directories(rootfs: Path, tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    (tmp_path / "data").write_text("mine")
    targets = ("/work/in", "/tmp/in", "/dev/shm/in")
    with Sandbox(rootfs, mounts=[HostMount(str(tmp_path), target) for target in targets]) as box:
        assert sh(box, "cat /work/in/data /tmp/in/data /dev/shm/in/data; echo x >file; ls") == "mineminemine" + (
            "file\nin\n")
        assert box.read("/work/in/data") == b"mine"
        with box.fork() as other:
            assert sh(other, "cat file in/data") == "x\nmine"
    with Sandbox.host(["/usr", str(tmp_path)]) as box:   # below /tmp
        assert box.read(f"{tmp_path}/data") == b"mine"


def test_files(box: Sandbox) -> None:
    box.write("/work/a/b/file", b"\0data", mode=0o600)
    assert sh(box, "stat -c '%u %a' a a/b a/b/file") == "65534 755\n65534 755\n65534 600\n"
    box.write("/work/a/b/file", "text")
    assert box.read("/work/a/b/file") == b"text"
    for path, words in {"relative": "absolute path", "/work/../etc/passwd": "absolute path",
                        "/work": "not a regular file", "/work/none": "no such file"}.items():
        with pytest.raises(SandboxFileError, match=words):
            box.read(path)
    with pytest.raises(SandboxFileError, match="more than 3 bytes"):
        box.read("/work/a/b/file", limit=3)
    with pytest.raises(SandboxFileError, match="read-only"):
        box.write("/etc/file", b"")


def test_files_that_are_traps(box: Sandbox) -> None:
    sh(box, "ln -s /proc link; ln -s /etc/passwd name; mkfifo fifo; ln -s ../proc/sys/kernel up; mkdir dir")
    for path in ("/work/link/kmsg", "/work/name", "/work/up/hostname"):
        with pytest.raises(SandboxFileError, match="symbolic link"):
            box.read(path)
    for path in ("/work/fifo", "/work/dir", "/dev/null"):
        with pytest.raises(SandboxFileError, match="not a regular file"):
            box.read(path)
    with pytest.raises(SandboxFileError, match="symbolic link"):
        box.write("/work/up/hostname", b"x")
    box.write("/work/name", b"replaces the link")
    box.write("/work/fifo", b"replaces the FIFO")
    assert sh(box, "cat name fifo; cat /etc/passwd 2>/dev/null || true").startswith("replaces the linkreplaces")


def test_runs_of_many_threads(box: Sandbox) -> None:
    results: dict[int, bytes | str] = {}

    def run(number: int) -> None:
        for _ in range(3):
            results[number] = box.run(["sh", "-c", f"sleep 0.0{number % 10}; echo {number}"], timeout=30).stdout

    threads = [threading.Thread(target=run, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: f"{number}\n".encode() for number in range(12)}


def test_a_timeout_kills_one_run_and_all_of_it(box: Sandbox) -> None:
    other: list[object] = []
    thread = threading.Thread(target=lambda: other.append(box.run(["sleep", "1"]).reason))
    thread.start()
    done = box.run(["sh", "-c", "setsid sleep 300 & (setsid sleep 301 &) ; trap '' TERM; sleep 302"], timeout=0.3)
    assert done.timed_out and done.usage.wall < 5
    assert "sleep 30" not in sh(box, "ps")
    thread.join()
    assert other == ["exited"]


def test_what_outlives_the_program_ends_with_the_run(box: Sandbox) -> None:
    begun = time.monotonic()
    done = box.run(["sh", "-c", "(setsid sleep 300 &); sleep 301 & echo out"])
    assert (done.reason, done.stdout) == ("exited", b"out\n")
    assert time.monotonic() - begun < 5
    assert "sleep 30" not in sh(box, "ps")


def test_close_cancels(rootfs: Path) -> None:
    box = Sandbox(rootfs)
    reasons: list[str] = []
    threads = [threading.Thread(target=lambda: reasons.append(box.run(["sleep", "300"]).reason)) for _ in range(3)]
    for thread in threads:
        thread.start()
    await_programs(box, "sleep 300", 3)
    box.close()
    for thread in threads:
        thread.join()
    assert reasons == ["cancelled"] * 3
    with pytest.raises(StateError, match="is closed"):
        box.run(["true"])
    box.close()


def test_an_interrupted_call_leaves_nothing(box: Sandbox) -> None:
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        box.run(["sleep", "300"])
    assert "sleep 300" not in sh(box, "ps")


def test_a_child_does_not_keep_the_sandbox(rootfs: Path) -> None:
    with Sandbox(rootfs) as box:
        child = os.fork()
        if child == 0:
            try:
                box.run(["true"])
            except StateError:
                time.sleep(2)
                os._exit(0)
            os._exit(1)
        begun = time.monotonic()
        box.close()
        assert time.monotonic() - begun < 1.5
    assert os.waitpid(child, 0)[1] == 0


def test_a_child_does_not_keep_the_files(rootfs: Path) -> None:
    with Sandbox.host() as ended:
        pass
    with Sandbox(rootfs), Sandbox.host(), open("/dev/null") as used:   # with descriptors of the ended one
        child = os.fork()
        if child == 0:
            assert ended and used.read() == ""
            links = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                     if os.path.lexists(f"/proc/self/fd/{fd}")]
            os._exit(any("mnt:[" in link or "pidfd" in link for link in links))
        assert os.waitpid(child, 0)[1] == 0


def test_limits_of_time_and_files(rootfs: Path) -> None:
    with Sandbox(rootfs, limits=Limits(wall=0.3, files=20)) as box:
        assert box.run(["sleep", "300"]).timed_out
        assert sh(box, "ulimit -n", timeout=60) == "20\n"


def test_what_ended_before_it_was_killed_has_not_timed_out(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy host, this program sees the deadline before it sees the end."""
    def late(pump: Pump, kept: KeptOutput, pidfd: int, deadline: float, **_: object) -> str:
        select.select([pidfd], [], [])
        return "timeout"

    monkeypatch.setattr("pyruntime.sandbox.run.follow", late)
    done = box.run(["sh", "-c", "echo out; exit 3"])
    assert (done.reason, done.returncode, done.stdout) == ("exited", 3, b"out\n")


def test_an_error_of_the_source_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a directory"):
        Sandbox(tmp_path / "none")
    with pytest.raises(StepError):
        Sandbox(tmp_path, mounts=[HostMount("/no/such/file", "/x")])


def test_in_one_call() -> None:
    done = run_sandboxed("open('out.txt', 'w').write(open('in.txt').read().upper()); import os; os.mkfifo('trap')",
                         files={"in.txt": "some text"}, collect=["out.txt", "trap", "none"])
    assert (done.returncode, done.files) == (0, {"out.txt": b"SOME TEXT"}), done.stderr
    assert "not a regular file" in done.problems["trap"] and "no such file" in done.problems["none"]
    assert run_sandboxed(["sh", "-c", "exit 5"]).returncode == 5
    with pytest.raises(UsageError, match="give a list of paths"):
        run_sandboxed("pass", collect="out.txt")


def test_the_output_of_one_call_as_it_comes() -> None:
    script = "printf 'one\\303'; sleep 0.1; printf '\\251'; echo two >&2; yes | head -c 100000"
    seen: list[str] = []
    told: list[str] = []
    done = run_sandboxed(["sh", "-c", script], on_stdout=seen.append, on_stderr=told.append, text=True, max_output=7)
    assert "".join(seen) == "one\u00e9" + "y\n" * 50000 and "".join(told) == "two\n"
    assert (done.stdout, done.truncated) == ("one\u00e9y\n", True)
    pieces: list[bytes] = []
    run_sandboxed(["echo", "x"], on_stdout=pieces.append)
    assert pieces == [b"x\n"]

    def stop(piece: bytes) -> None:
        raise ValueError(piece)

    with pytest.raises(ValueError, match="first"):
        run_sandboxed(["sh", "-c", "echo first; sleep 300"], on_stdout=stop)


WITHOUT_CGROUPS = """
import json, sys
from pyruntime import Sandbox, errors
try:
    Sandbox.host(require_limits=True)
except errors.HostError as error:
    print("refused:", error)
with Sandbox.host() as box:
    first = box.run(["sh", "-c", "(setsid sleep 300 &); trap '' TERM; sleep 301"], timeout=0.3)
    print(first.reason, box.unenforced, "sleep 30" in box.run(["ps", "ax"], text=True).stdout, first.usage.cpu > 0)
"""


INTERPRETER = """
from pyruntime import Sandbox, errors
from pyruntime.sandbox import interpreter
def fails(*streams):
    raise OSError(24, "Too many open files")
with Sandbox.host() as box:
    streams, interpreter.ProgramStreams = interpreter.ProgramStreams, fails
    try:
        box.python("print(1)")
    except errors.HostError as error:
        print(str(error)[:49])
    interpreter.ProgramStreams = streams
    print(box.python("print(2)", text=True).stdout, box.run(["true"]).reason)
"""


def test_an_interpreter_that_cannot_be_started_does_not_keep_others_waiting() -> None:
    script = f"umount -l /sys/fs/cgroup && exec {sys.executable} -c \"$0\""
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, INTERPRETER], capture_output=True, text=True,
                          check=False, timeout=PATIENCE, cwd=TOP)
    told, number, reason = done.stdout.split("\n", 2)
    assert (told, number, reason.strip()) == ("cannot run code in a sandbox: Too many open files", "2", "exited")


def test_without_cgroups() -> None:
    script = f"umount -l /sys/fs/cgroup && exec {sys.executable} -c \"$0\""
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, WITHOUT_CGROUPS], capture_output=True, text=True,
                          check=False, timeout=60, cwd=TOP)
    assert done.returncode == 0, done.stderr
    refused, rest = done.stdout.splitlines()
    assert refused.startswith("refused: limits cannot be enforced")
    assert rest == "timeout ('memory', 'swap', 'cpus', 'pids') False True"


KILLED = """
import sys, threading
from pyruntime import Sandbox
box = Sandbox.host()
threading.Thread(target=box.run, args=(["sh", "-c", "(setsid sleep 3456 &); trap '' TERM; sleep 3456"],)).start()
second = Sandbox.host()
print(box.name, second.name, flush=True)
"""


def _sleepers() -> list[str]:
    return subprocess.run(["pgrep", "-f", "^sleep 3456"], capture_output=True, text=True, check=False).stdout.split()


def test_a_killed_program_takes_its_sandboxes_along() -> None:
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True, cwd=TOP) as program:
            assert program.stdout
            names = program.stdout.readline().split()
            time.sleep(0.1)
            program.kill()
        until = time.monotonic() + 5
        while _sleepers() and time.monotonic() < until:
            time.sleep(0.02)
        assert _sleepers() == []
        assert len(names) == 2 and set(names) <= set(prune().removed)
        assert not any(os.path.exists(f"{PLACE}/state/{name}") for name in names)
        assert not any(list(Path("/sys/fs/cgroup").glob(f"*/{name}")) for name in names)


LEFT = """
import os, signal
from pyruntime import Sandbox
boxes = [Sandbox.host() for _ in range(3)]
print(*(box.name for box in boxes), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_cannot_be_seen_is_not_forgotten() -> None:
    """A program that does not see the cgroups must not remove the record of them."""
    left = subprocess.run([sys.executable, "-c", LEFT], stdout=subprocess.PIPE, text=True, cwd=TOP, check=False)
    name = left.stdout.split()[0]
    code = f"from pyruntime.sandbox.leftovers import prune; print('cannot be seen' in prune().problems[{name!r}])"
    done = subprocess.run(["unshare", "-m", "sh", "-c", 'umount -l /sys/fs/cgroup && exec "$@"', "sh", sys.executable,
                           "-c", code], capture_output=True, text=True, check=False, cwd=TOP)
    assert done.stdout == "True\n", done.stderr
    assert name in prune().removed and not list(Path("/sys/fs/cgroup").glob(f"*/{name}"))


STUCK = """
import os, subprocess, sys
from pyruntime import Sandbox
from pyruntime.sandbox.leftovers import PLACE, prune
names = subprocess.run([sys.executable, "-c", LEFT], stdout=subprocess.PIPE, text=True).stdout.split()
names.sort()
path = f"{PLACE}/state/{names[0]}/state.json"
with open(path) as file:
    record = file.read()
with open(path, "w") as file:
    file.write("damaged")
with Sandbox.host() as box:
    box.run(["true"], check=True)
left = prune()
print(left.removed, list(left.problems) == names[:1], path in left.problems[names[0]])
failed = subprocess.run([COMMAND, "sandbox", "prune"], stderr=subprocess.PIPE, text=True)
print(failed.returncode, f"cannot remove {names[0]}" in failed.stderr)
with open(path, "w") as file:
    file.write(record)
print(prune().removed == names[:1], [name for name in names if os.path.exists(f"{PLACE}/state/{name}")])
"""


def test_what_cannot_be_removed_does_not_keep_the_rest() -> None:
    code = f"COMMAND, LEFT = {str(COMMAND)!r}, {LEFT!r}\n{STUCK}"
    done = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=False,
                          timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert "RuntimeWarning: sandbox-" in done.stderr
    assert done.stdout.splitlines() == ["[] True True", "1 True", "True []"]


FORGETFUL = """
from pyruntime import Sandbox
box = Sandbox.host()
box.run(["true"])
print(box.name)
"""


def test_a_program_that_does_not_close_leaves_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", FORGETFUL], capture_output=True, text=True, check=True, cwd=TOP)
    name = done.stdout.strip()
    assert name and done.stderr == ""
    assert not os.path.exists(f"{PLACE}/state/{name}")
    assert list(Path("/sys/fs/cgroup").glob(f"*/{name}")) == []


def test_processes_that_their_owner_left_frozen(rootfs: Path) -> None:
    with Sandbox(rootfs) as box:
        thread = threading.Thread(target=box.run, args=(["sleep", "300"],))
        thread.start()
        await_programs(box, "sleep 300")
        top = Path("/sys/fs/cgroup")
        (frozen,) = [*top.glob(f"freezer/{box.name}/run-*/freezer.state"),
                     *top.glob(f"{box.name}/run-*/cgroup.freeze")]
        frozen.write_text("FROZEN" if frozen.name == "freezer.state" else "1")
        begun = time.monotonic()
        Runtime(f"{PLACE}/state").delete(box.name, force=True)
        thread.join()
        assert time.monotonic() - begun < 5


def test_living_sandboxes_are_not_pruned(box: Sandbox) -> None:
    assert box.name not in prune().removed
    assert box.name in [state.id for state in Runtime(f"{PLACE}/state").list()]
    assert box.run(["true"]).returncode == 0


def test_an_image(images: ImageStore) -> None:
    with Sandbox("box", store=images) as box:
        assert sh(box, "echo $OF; pwd; ls /bin/busybox") == "the image\n/home/user\n/bin/busybox\n"
        images.remove("box")
        images.prune(everything=True)
        assert sh(box, "ls /bin/busybox") == "/bin/busybox\n", "a living sandbox keeps its layers"
    removed = images.prune(everything=True)[1]
    assert removed.layers, "an ended one does not"


def pyruntime(*words: str) -> str:
    """The output of the command."""
    return subprocess.run([COMMAND, *words], capture_output=True,
                          text=True, check=True, cwd=TOP).stdout


def test_the_command(box: Sandbox) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True, cwd=TOP) as program:
        assert program.stdout
        names = program.stdout.readline().split()
        listed = {row["name"]: row for row in json.loads(pyruntime("sandbox", "ls", "--format", "json"))}
        assert [listed[name]["status"] for name in (*names, box.name)] == ["running"] * 3
        assert listed[box.name]["program"] == os.getpid() and listed[names[0]]["program"] == program.pid
        program.kill()
    assert [line.split()[2] for line in pyruntime("sandbox", "ls").splitlines() if line.split()[0] in names] == [
        "leftover"] * 2
    removed = pyruntime("sandbox", "prune").split()
    assert set(names) <= set(removed) and box.name not in removed
    assert not set(names) & set(pyruntime("sandbox", "ls", "-q").split())
    assert box.run(["true"]).returncode == 0


def test_after_a_fork_and_in_its_threads(box: Sandbox) -> None:
    child = os.fork()
    if child == 0:
        results: list[bytes | str] = []

        def work() -> None:
            with Sandbox.host() as own:
                results.append(own.run(["echo", "child"]).stdout)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        os._exit(results != [b"child\n"] * 3)
    assert os.waitpid(child, 0)[1] == 0
    assert box.run(["true"]).returncode == 0


def test_bytes_from_the_disk(rootfs: Path, tmp_path: Path) -> None:
    if b"tmpfs" in subprocess.run(["stat", "-fc", "%T", tmp_path], capture_output=True, check=True).stdout:
        pytest.skip("the directory for tests is in memory")
    os.chmod(tmp_path, 0o755)
    with open(tmp_path / "data", "wb") as file:
        file.write(os.urandom(4 << 20))
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with Sandbox(rootfs, mounts=[HostMount(str(tmp_path), "/data")]) as box:
        first, second = (box.run(["sh", "-c", "cat /data/data >/dev/null"], check=True).usage for _ in range(2))
    assert first.read >= 4 << 20 > second.read


def test_each_reason_has_its_word(rootfs: Path) -> None:
    with Sandbox(rootfs, limits=Limits(memory="32m")) as box:
        found = {
            box.run(["true"]).reason, box.run(["sh", "-c", "kill $$"]).reason,
            box.run(["sleep", "9"], timeout=0.1).reason, box.run(["tail", "/dev/zero"]).reason,
            box.run(["yes"], output_kills=True).reason}
        process = box.popen(["sleep", "300"])
    assert found | {process.done.reason} == {"exited", "signal", "timeout", "oom", "output", "cancelled"}
    process.close()


def test_children_of_the_moment_of_creation(rootfs: Path) -> None:
    """A child that is forked while a sandbox is made does not keep the sandbox."""
    children: list[int] = []

    class Forking(Directory):
        def prepare(self, scratch: str, user: tuple[int, int]) -> Prepared:
            child = os.fork()
            if child == 0:
                time.sleep(60)
                os._exit(0)
            children.append(child)
            return super().prepare(scratch, user)

    box = Sandbox(Forking(str(rootfs)))
    begun = time.monotonic()
    box.close()
    took = time.monotonic() - begun
    os.kill(children[0], signal.SIGKILL)
    os.waitpid(children[0], 0)
    assert took < 5


def test_a_source_without_a_meaning_leaves_nothing() -> None:
    with pytest.raises(UsageError):
        Sandbox(5)   # type: ignore[arg-type]


def test_a_directory_that_is_replaced_is_not_given_away(rootfs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                        ) -> None:
    secret = tmp_path / "secret"
    secret.mkdir(mode=0o700)
    (secret / "key").write_text("key")
    tmp_path.chmod(0o777)
    make = os.mkdir

    def make_and_lose(name: bytes, mode: int, *, dir_fd: int) -> None:
        make(name, mode, dir_fd=dir_fd)
        (tmp_path / "new").rename(tmp_path / "other")
        secret.rename(tmp_path / "new")

    with Sandbox(rootfs, mounts=[HostMount(str(tmp_path), "/data", writable=True)]) as box:
        monkeypatch.setattr(os, "mkdir", make_and_lose)
        with pytest.raises(SandboxFileError, match="busy"):
            box.write("/data/new/file", "x")
        monkeypatch.undo()
    assert ((tmp_path / "new").stat().st_uid, (tmp_path / "new").stat().st_mode & 0o777) == (0, 0o700)


ANY: Any = Sandbox   # for values of the wrong types


@pytest.mark.parametrize(("call", "words"), [
    (lambda box: box.run(["sleep", 5]), "write every argument as a text"),
    (lambda box: box.run(["ls"], env={"A": 1}), "give texts"),
    (lambda box: box.run(["ls"], env={"A=B": "1"}), 'a name without "="'),
    (lambda box: box.popen(["ls"], env=["A=1"]), "give a dictionary"),
    (lambda box: box.run(["ls"], timeout="5"), "a number of seconds"),
    (lambda box: box.run(["ls"], input=5), "give bytes or a text"),
    (lambda box: box.write("/work/file", 5), "give bytes or a text"),
    (lambda box: ANY.host(env={"A": None}), "give texts"),
    (lambda box: ANY.host(user="nobody"), "give a number"),
    (lambda box: ANY.host(user=-1), "give a number"),
    (lambda box: ANY.host(mounts=[("/tmp", "/data")]), "give HostMount"),
    (lambda box: ANY.host(limits={"memory": "64m"}), "give Limits"),
    (lambda box: ANY(None), "name an image"),
    (lambda box: box.run(["ls"], timeout=float("nan")), "a number of seconds"),
    (lambda box: box.run(["ls"], cwd=5), "cwd 5: give a path"),
    (lambda box: ANY.host(cwd=5), "cwd 5: give a path"),
    (lambda box: box.write("/work/file", None), "give bytes or a text"),
    (lambda box: box.read(None), "give a path"),
    (lambda box: box.popen(["ls"], stdout="file"), "give PIPE, DEVNULL"),
    (lambda box: box.popen(["ls"], stdin=None), "give PIPE, DEVNULL"),
    (lambda box: box.popen(["sh"], terminal=True, size=(-1, 80)), "from 0 to 65535"),
    (lambda box: ANY.host(user=1 << 32), "up to 4294967294"),
    (lambda box: ANY.host("/usr"), "give a list of paths"),
    (lambda box: ANY.host(["usr"]), "write absolute paths"),
    (lambda box: ANY.host(["/"]), "write absolute paths"),
    (lambda box: HostMount("/tmp", "data"), "write an absolute path"),
    (lambda box: HostMount("/tmp", "/"), "write an absolute path"),
    (lambda box: Pool("busybox"), "give Template"),   # type: ignore[arg-type]
])
def test_values_of_another_type(box: Sandbox, call: Callable[[Sandbox], object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        call(box)
    assert box.run(["true"]).returncode == 0


@pytest.mark.parametrize("number", ["TERM", 999, -1])
def test_signals_that_do_not_exist(box: Sandbox, number: Any) -> None:
    with box.popen(["sleep", "300"]) as process:
        with pytest.raises(UsageError, match="give a number, as signal"):
            process.send_signal(number)
        assert process.poll() is None


def test_words_may_be_bytes_and_paths(box: Sandbox) -> None:
    assert box.run([b"echo", Path("/x"), b"\xff"]).stdout == b"/x \xff\n"   # type: ignore[list-item]


def test_paths_as_in_pathlib(rootfs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").write_text("mine")
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    with Sandbox(rootfs, mounts=[HostMount(Path("."), Path("/work/in"))], cwd=Path("/tmp")) as box:
        assert sh(box, "pwd; cat /work/in/data") == "/tmp\nmine"
        assert sh(box, "pwd", cwd=Path("/work")) == "/work\n"
        box.write(Path("/work/file"), "text")
        assert box.read(Path("/work/file")) == b"text"
    with Sandbox.host([Path("/usr")]) as box:
        assert sh(box, "echo x") == "x\n"


def test_long_times(box: Sandbox) -> None:
    assert box.run(["true"], timeout=1e12).reason == "exited"
    with box.popen(["true"], timeout=1e12) as process:
        assert process.wait() == 0


def test_devices_of_the_host(rootfs: Path, tmp_path: Path) -> None:
    with Sandbox(rootfs, devices=["/dev/loop-control"], user=(1234, 55)) as box:
        assert sh(box, "stat -c '%u:%g %a' /dev/loop-control; exec 3<>/dev/loop-control; echo open") == \
            "1234:55 600\nopen\n"
        assert sh(box, "ls /dev").split().count("loop-control") == 1
    os.mknod(tmp_path / "null", 0o20666, os.makedev(1, 3))
    for path, problem in (("/dev/none", "No such file"), ("/etc/passwd", "not the path of a device"),
                          ("dev/null", "No such file"), ("/dev/../dev/null", "not the path of a device"),
                          (str(tmp_path / "null"), "not the path of a device node below /dev")):
        with pytest.raises(UsageError, match=f'devices: "{path}".*{problem}'):
            Sandbox(rootfs, devices=[path])


def test_another_seccomp_filter(rootfs: Path) -> None:
    refused = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSPC}]}
    with Sandbox(rootfs, seccomp=refused) as box:
        assert "No space left" in str(box.run(["mkdir", "/work/x"], text=True).stderr)
        assert sh(box, "grep Seccomp: /proc/self/status").split() == ["Seccomp:", "2"]
    with Sandbox(rootfs, seccomp=MappingProxyType(refused)) as box:
        assert "No space left" in str(box.run(["mkdir", "/work/x"], text=True).stderr)
    for wrong in ({"defaultAction": {1, 2}}, {"syscalls": [object()]}):
        with pytest.raises(UsageError, match=r"seccomp: write what linux\.seccomp of config\.json has"):
            Sandbox(rootfs, seccomp=wrong)
    asks = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/agent.sock",
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}
    with pytest.raises(UsageError, match=r"SCMP_ACT_NOTIFY\) are not prepared"):
        Sandbox(rootfs, seccomp=asks)
    with pytest.raises(ConfigError, match=r"linux\.seccomp\.defaultAction"):
        Sandbox(rootfs, seccomp={"defaultAction": "SCMP_ACT_NOSUCH"})


@pytest.mark.parametrize(("controller", "missing"), [("pids", ("pids",)), ("memory", ("memory", "swap")),
                                                     ("cpu", ("cpus",))])
def test_a_host_without_a_controller(rootfs: Path, controller: str, missing: tuple[str, ...]) -> None:
    """The other limits hold, and `unenforced` tells which do not."""
    mountpoint = next((one.mountpoint for one in discover().hierarchies if controller in one.controllers), "")
    if not mountpoint:
        pytest.skip(f"the host has no cgroup v1 hierarchy with the {controller} controller, which could be unmounted")
    script = f"""
from pyruntime import *
from pyruntime.errors import HostError
limits = Limits(memory="40m", cpus=1, pids=20)
with Sandbox({str(rootfs)!r}, limits=limits) as box:
    print(box.unenforced, box.run(["dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"]).reason,
          b"fork" in box.run(["sh", "-c", "for i in $(seq 40); do sleep 1 & done; wait"], timeout=20).stderr)
try:
    Sandbox({str(rootfs)!r}, limits=limits, require_limits=True)
except HostError as error:
    print(error)
"""
    done = subprocess.run(["unshare", "--mount", "sh", "-c", 'umount "$0" && exec "$@"', mountpoint, sys.executable,
                           "-c", script], capture_output=True, text=True, check=True, cwd=TOP)
    first, second = done.stdout.splitlines()
    assert first == f"{missing} {'exited' if controller == 'memory' else 'oom'} {controller != 'pids'}"
    assert f'"{controller}" controller' in second


def test_a_default_timeout_of_sockets(rootfs: Path) -> None:
    """It makes the sockets nonblocking that a program creates, and those that it gives to other processes."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(0.2)
    try:
        with Sandbox(rootfs) as box:
            assert sh(box, "sleep 1; echo out") == "out\n"
            with box.popen(["sh", "-c", "sleep 1; tty"], terminal=True, text=True) as process:
                assert process.stdout and "/dev/pts/0" in process.stdout.read()
    finally:
        socket.setdefaulttimeout(before)
