"""Sandboxes: what a program sees, and what run does."""

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
from pathlib import Path
from types import MappingProxyType

import pytest

from pyruntime import ImageStore, Limits, Sandbox, run_sandboxed
from pyruntime.errors import ConfigError, RunFailed, StateError, StepError, UsageError
from pyruntime.runtime.cgroups.host import discover
from pyruntime.sandbox.pipes import KeptOutput, Pump
from tests.conftest import TOP
from tests.containers import PATIENCE
from tests.sandbox.programs import await_programs, sh


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


def test_an_image(images: ImageStore) -> None:
    with Sandbox("box", store=images) as box:
        assert sh(box, "echo $OF; pwd; ls /bin/busybox") == "the image\n/home/user\n/bin/busybox\n"
        images.remove("box")
        images.prune(everything=True)
        assert sh(box, "ls /bin/busybox") == "/bin/busybox\n", "a living sandbox keeps its layers"
    removed = images.prune(everything=True)[1]
    assert removed.layers, "an ended one does not"


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


def test_each_reason_has_its_word(rootfs: Path) -> None:
    with Sandbox(rootfs, limits=Limits(memory="32m")) as box:
        found = {
            box.run(["true"]).reason, box.run(["sh", "-c", "kill $$"]).reason,
            box.run(["sleep", "9"], timeout=0.1).reason, box.run(["tail", "/dev/zero"]).reason,
            box.run(["yes"], output_kills=True).reason}
        process = box.popen(["sleep", "300"])
    assert found | {process.done.reason} == {"exited", "signal", "timeout", "oom", "output", "cancelled"}
    process.close()


def test_a_writable_copy_of_the_host() -> None:
    with Sandbox.host(writable=True, user=0) as box:
        assert sh(box, "echo x >/file; mkdir /dir; cat /file; touch /usr/file 2>/dev/null || echo refused") == (
            "x\nrefused\n")


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
