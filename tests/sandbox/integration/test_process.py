"""Programs that run while their caller does something else: popen and stream."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pyruntime import Limits, Sandbox
from pyruntime.errors import HostError, RunFailed, StateError, StepError, WaitTimeout
from pyruntime.sandbox.api import DEVNULL, PIPE, STDOUT, Process
from tests.conftest import TOP


def test_a_dialogue(box: Sandbox) -> None:
    with box.popen(["cat"], stdin=PIPE, text=True) as process:
        assert process.stdin and process.stdout and process.pid
        for word in ("one\n", "two\n"):
            process.stdin.write(word)
            assert process.stdout.readline() == word
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(10) == 0 == process.returncode
    assert (process.done.reason, process.done.args) == ("exited", ("cat",))
    assert process.done.usage.wall > 0


def test_communicate(box: Sandbox) -> None:
    data = os.urandom(3 << 20)
    with box.popen(["sh", "-c", "cat; echo problem >&2; exit 3"], stdin=PIPE) as process:
        assert process.communicate(data, max_output="4m") == (data, b"problem\n")
    assert (process.returncode, process.done.stdout, process.done.truncated) == (3, data, False)
    with box.popen(["sh", "-c", "echo a; sleep 1; echo b"], text=True, stderr=STDOUT) as process:
        with pytest.raises(WaitTimeout, match=r'"sh" is still running after 0.2 s'):
            process.communicate(timeout=0.2)
        assert process.communicate(timeout=10) == ("a\nb\n", "")
    with box.popen(["yes"], timeout=0.3) as process:
        assert len(process.communicate(max_output=10)[0]) == 10
    assert process.done.timed_out and process.done.truncated


def test_signals(box: Sandbox) -> None:
    with box.popen(["sleep", "300"], stdout=DEVNULL, stderr=DEVNULL) as process:
        assert process.stdin is process.stdout is process.stderr is None
        with pytest.raises(StateError, match="still running"):
            _ = process.done
        with pytest.raises(TimeoutError):
            process.wait(0.05)
        process.terminate()
        assert process.wait(10) == -signal.SIGTERM
    assert process.done.reason == "signal"
    process.kill()   # no effect by now
    with box.popen(["sh", "-c", "trap 'echo got; exit 5' USR1; echo ready; while :; do sleep 0.05; done"]) as process:
        assert process.stdout and process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGUSR1)
        assert (process.stdout.read(), process.wait(10)) == (b"got\n", 5)


def test_the_end_of_with_kills_the_whole_run(box: Sandbox) -> None:
    with box.popen(["sh", "-c", "(setsid sleep 300 &); trap '' TERM; sleep 301"]) as process, \
            box.popen(["sleep", "302"]) as other:
        process.close()
        assert (process.returncode, process.done.reason) == (-signal.SIGKILL, "cancelled")
        assert "sleep 30" in str(box.run(["ps"], text=True).stdout), "another run is not touched"
        assert other.poll() is None
    assert "sleep 30" not in str(box.run(["ps"], text=True).stdout)


def test_time_is_over_without_anybody_waiting(rootfs: Path) -> None:
    with Sandbox(rootfs, limits=Limits(wall=0.3)) as box:
        process = box.popen(["sleep", "300"])
        time.sleep(1)
        assert process.returncode == -signal.SIGKILL and process.done.timed_out
        process.close()


def test_the_sandbox_is_closed(rootfs: Path) -> None:
    box = Sandbox(rootfs)
    process = box.popen(["sleep", "300"])
    box.close()
    assert (process.wait(5), process.done.reason) == (-signal.SIGKILL, "cancelled")
    process.close()
    with pytest.raises(StateError, match="is closed"):
        box.popen(["true"])


def test_a_terminal(box: Sandbox) -> None:
    script = "stty size; tty; trap 'stty size; exit 4' WINCH; echo ready; while :; do sleep 0.05; done"
    with box.popen(["sh", "-c", script], terminal=True, size=(30, 100), text=True) as process:
        assert process.stdout and process.stderr is None
        assert [process.stdout.readline() for _ in range(3)] == ["30 100\n", "/dev/pts/0\n", "ready\n"]
        process.resize(40, 120)
        assert process.stdout.read() == "40 120\n"
        assert process.wait(10) == 4
    with box.popen(["cat"], terminal=True) as process:
        assert process.stdin and process.stdout
        process.stdin.write(b"typed\n")
        assert process.stdout.readline() == b"typed\r\n", "echoed"
        process.stdin.write(b"\x03")   # Ctrl-C
        assert process.wait(10) == -signal.SIGINT
    with box.popen(["true"]) as process, pytest.raises(StateError, match="no terminal"):
        process.resize(1, 1)


@pytest.mark.parametrize(("call", "used"), [
    (lambda process: process.resize(40, 120), "fcntl.ioctl"),
    (lambda process: process.kill(), "pyruntime.sandbox.run.signal_pidfd")], ids=["resize", "kill"])
def test_a_descriptor_in_use_is_not_closed(box: Sandbox, monkeypatch: pytest.MonkeyPatch,
                                           call: Callable[[Process], None], used: str) -> None:
    """Its number could be that of another file then, which another thread has opened."""
    process = box.popen(["sleep", "100"], terminal=True)
    closer = threading.Thread(target=process.close)
    after: list[str] = []

    def slow(fd: int, *_: object) -> None:
        before = os.readlink(f"/proc/self/fd/{fd}")
        closer.start()
        closer.join(0.5)   # it has to wait for this call; otherwise it ends
        assert os.path.lexists(f"/proc/self/fd/{fd}"), f"{before} is closed"
        after.append(before)

    with monkeypatch.context() as patched:
        patched.setattr(used, slow)
        call(process)
    closer.join(60)
    assert len(after) == 1 and not closer.is_alive()


def test_files_as_streams(box: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"content")
    with open(tmp_path / "in", "rb") as source, open(tmp_path / "out", "wb") as target, \
            box.popen(["cat"], stdin=source, stdout=target.fileno()) as process:
        assert process.wait(10) == 0
    assert (tmp_path / "out").read_bytes() == b"content"


def test_a_program_that_does_not_exist(box: Sandbox) -> None:
    for options in ({}, {"terminal": True}):
        with pytest.raises(StepError, match="not found"):
            box.popen(["no-such-program"], **options)  # type: ignore[arg-type]
    with pytest.raises(StepError, match="not found"):
        box.stream(["no-such-program"])


def test_many_at_once(box: Sandbox) -> None:
    processes = [box.popen(["sh", "-c", f"read x; echo $x {number}"], stdin=PIPE, text=True) for number in range(20)]
    for process in processes:
        assert process.stdin
        process.stdin.write("line\n")
    assert [process.communicate()[0] for process in processes] == [f"line {number}\n" for number in range(20)]


def test_a_stream(box: Sandbox) -> None:
    stream = box.stream(["sh", "-c", "read word; echo $word; sleep 0.3; echo two >&2; sleep 0.3; echo three"],
                        input="one\n")
    times = []
    chunks = []
    for chunk in stream:
        times.append(time.monotonic())
        chunks.append(chunk)
    assert chunks == [("stdout", b"one\n"), ("stderr", b"two\n"), ("stdout", b"three\n")]
    assert times[1] - times[0] > 0.2, "as it comes"
    assert (stream.done.returncode, stream.done.reason) == (0, "exited")


def test_a_stream_of_text_has_whole_characters(box: Sandbox) -> None:
    text = "".join(str(part) for _, part in box.stream(
        ["sh", "-c", "printf 'a\\303'; sleep 0.2; printf '\\244b'"], text=True))
    assert text == "a\u00e4b"


def test_a_stream_raises_at_its_end(box: Sandbox) -> None:
    got = []
    with pytest.raises(RunFailed, match="exit status 3"):
        for chunk in box.stream(["sh", "-c", "echo out; exit 3"], check=True):
            got.append(chunk)
    assert got == [("stdout", b"out\n")]
    assert [part for part in box.stream(["sleep", "300"], timeout=0.2)] == []


def test_a_stream_that_is_left_kills_the_program(box: Sandbox) -> None:
    for _, _chunk in box.stream(["sh", "-c", "(setsid sleep 300 &); yes"]):
        break
    del _, _chunk
    until = time.monotonic() + 5
    while "sleep 300" in str(box.run(["ps"], text=True).stdout) and time.monotonic() < until:
        time.sleep(0.05)
    assert "sleep 300" not in str(box.run(["ps"], text=True).stdout)
    with box.stream(["yes"]) as stream:
        next(stream)
    assert stream.done.reason == "cancelled"


def test_a_slow_reader_stops_the_program(box: Sandbox) -> None:
    with box.stream(["sh", "-c", "head -c 10000000 /dev/zero; echo done >/work/flag"]) as stream:
        next(stream)
        time.sleep(0.3)
        assert box.run(["ls", "/work/flag"]).returncode != 0
        for _ in stream:
            pass
    assert box.run(["ls", "/work/flag"]).returncode == 0


def test_output_of_the_last_moment(box: Sandbox) -> None:
    for _ in range(20):
        assert b"".join(data for _, data in box.stream(["echo", "last"]) if isinstance(data, bytes)) == b"last\n"


WITHOUT_CGROUPS = """
from pyruntime import Sandbox, errors
with Sandbox.host() as box:
    with box.popen(["sh", "-c", "(setsid sleep 300 &); sleep 301"]):
        try:
            box.popen(["true"])
        except errors.StateError as error:
            print(error)
    print(box.run(["sh", "-c", "ps ax | grep -c '[s]leep 30'"], text=True).stdout.strip())
"""


def test_without_cgroups_one_at_a_time() -> None:
    script = f"umount -l /sys/fs/cgroup && exec {sys.executable} -c \"$0\""
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, WITHOUT_CGROUPS], capture_output=True, text=True,
                          check=False, timeout=60, cwd=TOP)
    assert done.returncode == 0, done.stderr
    assert "one at a time" in done.stdout.splitlines()[0] and done.stdout.splitlines()[1] == "0"


def test_threads_are_not_left(box: Sandbox) -> None:
    before = threading.active_count()
    for _ in range(5):
        box.popen(["true"]).close()
    until = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() == before


@pytest.mark.parametrize("use", [
    lambda box: box.run(["cat"], input=b"x"), lambda box: box.popen(["true"]).close(),
    lambda box: box.popen(["true"], terminal=True).close(), lambda box: list(box.stream(["echo"])),
    lambda box: box.fork().close(), lambda box: Sandbox.host().close()],
    ids=["run", "popen", "terminal", "stream", "fork", "new"])
def test_too_few_descriptors(use: Callable[[Sandbox], object]) -> None:
    """Whichever of them is the first that cannot be opened: all others are closed, and the sandbox can be closed."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    succeeded = 0
    for spare in range(3, 24):
        with Sandbox.host() as box:
            filled = [os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)]
            highest = max(map(int, os.listdir("/proc/self/fd")))
            while filled[-1] < highest:   # no free numbers below
                filled.append(os.dup(filled[0]))
            before = os.listdir("/proc/self/fd")
            resource.setrlimit(resource.RLIMIT_NOFILE, (filled[-1] + 1 + spare, limits[1]))
            try:
                use(box)
                succeeded += 1
            except HostError as error:
                assert "Too many open files: close some, or allow this program more" in str(error), error
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
                for fd in filled:
                    os.close(fd)
        del box
        left = set(os.listdir("/proc/self/fd")) - set(before)
        assert not left, (spare, [os.readlink(f"/proc/self/fd/{fd}") for fd in left])
    assert 0 < succeeded < 20


@pytest.mark.parametrize("option", ["0", "0x40"])   # PTRACE_O_TRACEEXIT
def test_a_tracer_keeps_nobody_waiting(option: str) -> None:
    """A program that traces the programs of other runs (PTRACE_SEIZE), so that they do not end or nobody else can wait
    for them."""
    code = f"""
import ctypes, os, time
print("begins", flush=True)
traced = {{1, os.getpid()}}
while True:
    for pid in {{int(name) for name in os.listdir("/proc") if name.isdigit()}} - traced:
        try:
            if open(f"/proc/{{pid}}/cmdline").read().startswith("sleep"):
                traced.add(pid)
                print(ctypes.CDLL(None).ptrace(0x4206, pid, 0, {option}), flush=True)
        except OSError:
            pass
    time.sleep(0.01)
"""
    seccomp = {"defaultAction": "SCMP_ACT_ALLOW"}   # the default filter refuses the option
    with Sandbox.host(seccomp=seccomp) as box, box.popen(["python3", "-c", code], text=True) as tracer:
        assert tracer.stdout and tracer.stdout.readline() == "begins\n"
        with box.popen(["sleep", "300"]) as process:
            if tracer.stdout.readline() != "0\n":
                pytest.skip("the host does not let processes of one user trace each other")
            process.cancel()
            assert process.wait(60) == -signal.SIGKILL
        assert tracer.wait(60) == -signal.SIGKILL


def test_two_that_trace_each_other() -> None:
    """With PTRACE_O_TRACEEXIT they could never be ended."""
    code = """
import ctypes, os, time
child = os.fork()
if not child:
    time.sleep(300)
trace = ctypes.CDLL(None, use_errno=True).ptrace
for option in (0x40, 0x1):
    print(trace(0x4206, child, 0, option), end=" ")   # PTRACE_SEIZE
trace(0x4207, child, 0, 0)   # PTRACE_INTERRUPT
os.waitpid(child, 0)
for request in (0x4200, 21):   # PTRACE_SETOPTIONS, PTRACE_OLDSETOPTIONS (of x86)
    print(trace(request, child, 0, 0x7F), end=" ")
print(trace(0x4200, child, 0, 0x10003F))
os.kill(child, 9)
"""
    with Sandbox.host() as box:
        shown = box.run(["python3", "-u", "-c", code], text=True, timeout=60).stdout
    assert shown == "-1 0 -1 -1 0\n"
