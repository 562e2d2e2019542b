"""Checkpoint and restore of sandboxes, by CRIU."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from pyruntime import AsyncSandbox, HostMount, ImageStore, Limits, Sandbox, Template, errors
from pyruntime.sandbox.api import PIPE, STDOUT
from tests.conftest import TOP
from tests.containers import PATIENCE
from tests.sandbox.checkpoints import PYTHON, WHO, ask, interpreter, saved, start
from tests.sandbox.integration.test_callers import STATES
from tests.sandbox.integration.test_snapshot import CHANGE

__all__ = ["saved"]   # a fixture


def contents(path: Path) -> dict[str, tuple[int, int]]:
    """Sizes and times of all files."""
    return {str(file): (file.lstat().st_size, file.lstat().st_mtime_ns) for file in path.rglob("*")}


def test_two_sandboxes_go_on_from_one_checkpoint(saved: Path) -> None:
    with Sandbox.host(checkpointable=True, user=WHO) as box:
        process = interpreter(box, "x = [41]")
        for path in ("/work/file", "/tmp/file", "/dev/shm/file"):
            box.write(path, f"content of {path}")
        box.checkpoint(saved)
        assert process.wait(PATIENCE) == -9 and process.done.reason == "cancelled" and not box.alive
    before = contents(saved)
    with Sandbox.restore(saved) as first, Sandbox.restore(saved) as second:
        for box in (first, second):
            process, = box.processes
            assert process.args == tuple(PYTHON) and process.returncode is None
            assert ask(process, "x[0] += 1; print(x)") == "[42]"
            for path in ("/work/file", "/tmp/file", "/dev/shm/file"):
                assert box.read(path).decode() == f"content of {path}"
            box.write("/work/file", "own")
            assert ask(process, "print(open('/work/file').read())") == "own"
            assert process.stdin
            process.stdin.close()
            assert process.wait(PATIENCE) == 0
            assert box.run(["sh", "-c", "exit 5"]).returncode == 5
    assert contents(saved) == before


def test_another_program_restores(saved: Path) -> None:
    with Sandbox.host(checkpointable=True, user=WHO) as box:
        interpreter(box, "x = 41")
        box.checkpoint(saved)
    code = ("import sys; from pyruntime import Sandbox\n"
            "with Sandbox.restore(sys.argv[1]) as box:\n"
            " process, = box.processes; process.stdin.write('print(x + 1)\\n'); print(process.stdout.readline())")
    done = subprocess.run([sys.executable, "-c", code, saved], capture_output=True, text=True, check=False,
                          timeout=PATIENCE)
    assert (done.stdout.rpartition(">>> ")[2].strip(), done.stderr) == ("42", "")


def test_a_sandbox_goes_on_after_a_checkpoint(saved: Path) -> None:
    with Sandbox.host(checkpointable=True, user=WHO) as box:
        process = interpreter(box, "x = 1")
        box.checkpoint(saved, leave_running=True)
        assert ask(process, "x += 1; print(x)") == "2"
        with Sandbox.restore(saved) as other:
            assert ask(other.processes[0], "print(x)") == "1"
            # Its own programs are saved, too, though CRIU has put the others into a new time namespace.
            started = interpreter(other, "y = 3")
            other.checkpoint(saved.parent / "again")
            assert started.wait(PATIENCE) == -9
        assert ask(process, "print(x)") == "2"
    with Sandbox.restore(saved.parent / "again") as box:
        first, second = box.processes
        assert (ask(first, "print(x)"), ask(second, "print(y)")) == ("1", "3")
        assert box.run(["true"]).returncode == 0


def test_pipes(saved: Path) -> None:
    """What nobody has read yet is there for the restored program, and for its reader."""
    script = "echo out; echo err >&2; touch /work/written; while [ ! -e /work/go ]; do sleep 0.1; done; cat; exit 3"
    with Sandbox.host(checkpointable=True, user=WHO) as box:
        ended = start(box, ["sh", "-c", script], stdin=PIPE)
        both = start(box, ["sh", "-c", "echo both >&2; exec cat"], stdin=PIPE, stderr=STDOUT)
        assert start(box, ["sh", "-c", "read line"]).wait(PATIENCE) == 1   # it is not in the checkpoint
        assert ended.stdin and both.stdin and both.stdout
        ended.stdin.write(b"unread\n")
        ended.stdin.close()
        assert both.stdout.readline() == b"both\n"
        big = start(box, ["sh", "-c", "head -c 60000 /dev/zero; touch /work/big; exec sleep 1000"])
        while box.run(["ls", "/work/written", "/work/big"]).returncode:
            time.sleep(0.02)
        box.checkpoint(saved)
    with Sandbox.restore(saved) as box:
        ended, both, big = box.processes
        assert ended.stdin is None
        box.write("/work/go", "")
        assert ended.communicate(timeout=PATIENCE) == (b"out\nunread\n", b"err\n") and ended.returncode == 3
        assert both.communicate(b"more", timeout=PATIENCE) == (b"more", b"") and both.returncode == 0
        assert big.stdin is None and big.stdout and big.stdout.read(60000) == bytes(60000)
        big.kill()
        assert big.wait(PATIENCE) == -9 and big.done.reason == "signal"


def test_a_pipe_from_a_program_to_another(saved: Path) -> None:
    with Sandbox.host(checkpointable=True, user=WHO) as box:
        read, write = os.pipe()
        start(box, ["sh", "-c", "read line; echo $line; echo second"], stdin=PIPE, stdout=write)
        start(box, ["sh", "-c", "cat; echo end"], stdin=read)
        os.close(read)
        os.close(write)
        box.checkpoint(saved)
    with Sandbox.restore(saved) as box:
        writer, reader = box.processes
        assert writer.stdin and writer.stdout is None and reader.stdin is None and reader.stdout
        writer.stdin.write(b"first\n")
        assert reader.stdout.read() == b"first\nsecond\nend\n"


def test_the_end_of_restored_programs(saved: Path) -> None:
    busy = ("import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"
            "bytearray(30 << 20)\nexit(9)")
    with Sandbox.host(checkpointable=True, user=WHO) as box:
        start(box, ["sh", "-c", f"read line; python3 -c '{busy}'"], stdin=PIPE)
        start(box, ["sh", "-c", "trap 'exit 4' TERM; echo trapped; while :; do sleep 0.1; done"])
        start(box, ["sleep", "1000"], timeout=600)
        start(box, ["sleep", "1000"], timeout=4)
        start(box, ["sh", "-c", "(setsid sleep 2000 &) ; read line; exit 6"], stdin=PIPE)
        while "sleep 2000" not in str(box.run(["ps", "-eo", "args="], text=True).stdout):
            time.sleep(0.02)
        box.checkpoint(saved)
    with Sandbox.restore(saved) as box:
        counted, trapped, long, short, double = box.processes
        assert counted.stdin and trapped.stdout and double.stdin
        counted.stdin.write(b"\n")
        assert counted.wait(PATIENCE) == 9 and counted.done.reason == "exited"
        usage = counted.done.usage
        assert 0.3 <= usage.cpu < 10 and 30 << 20 < usage.memory < 300 << 20 and usage.wall >= 0.3
        assert trapped.stdout.readline() == b"trapped\n"
        trapped.terminate()
        assert trapped.wait(PATIENCE) == 4
        with pytest.raises(errors.WaitTimeout):
            long.wait(0.1)
        assert short.wait(PATIENCE) == -9 and short.done.timed_out
        assert long.returncode is None
        assert "2000" in str(box.run(["ps", "-eo", "args="], text=True).stdout)
        double.stdin.write(b"\n")
        assert double.wait(PATIENCE) == 6
        assert "2000" not in str(box.run(["ps", "-eo", "args="], text=True).stdout)
        assert long.returncode is None
        # A child of init, as each program: its status is known all the same.
        assert [box.run(["sh", "-c", f"kill -{number} $$; exit 2"]).returncode for number in (9, 0)] == [-9, 2]
    assert long.returncode == -9 and long.done.reason == "cancelled"


def facts(box: Sandbox) -> tuple[list[str], dict[str, str]]:
    """How a program of the sandbox is confined, as it sees it, and the limits of its cgroups."""
    script = ("grep -E '^(Cap|NoNew|Seccomp|Groups|Uid|Gid)' /proc/self/status; cat /proc/self/limits; hostname; umask;"
              " env; pwd; cut -d' ' -f4-6 /proc/self/mountinfo; grep -c : /proc/net/dev; ls /dev;"
              " cat /proc/1/environ 2>&1; kill -KILL 1; kill -STOP 1; grep '^Sig[IBC]' /proc/1/status")
    shown = box.run(["sh", "-c", script], text=True, check=True).stdout
    limits = {}
    for key, path in box._container.entrance._cgroup.items():
        for name in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max", "pids.max", "cpu.max",
                     "cpu.cfs_quota_us", "devices.list"):
            if (file := Path(path, name)).exists():
                limits[f"{key} {name}"] = file.read_text()
    # The root filesystem is another part of another filesystem; all else is the same.
    return sorted(re.sub(r"^\S+ / ", "/ / ", line) for line in str(shown).splitlines()), limits


def test_the_same_limits_and_hardening(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/file").write_text("of the host")
    options: dict[str, Any] = {
        "limits": Limits(memory="123m", pids=33, cpus=0.7, disk="9m", files=321), "env": {"A": "1"},
        "mounts": [HostMount(str(tmp_path / "data"), "/data"), HostMount(str(tmp_path / "data"), "/rw", True)]}
    with Sandbox.host(checkpointable=True, user=WHO, cwd="/data", **options) as box:
        before = facts(box)
        process = interpreter(box, "import os, socket")
        attempts = {"open('/data/x', 'w')": "Errno 30", "open('/usr/x', 'w')": "Errno 30",
                    "open('/x', 'w')": "Errno 30", "os.unshare(0x10000000)": "Errno 1", "os.setuid(5)": "Errno 1",
                    "open('/proc/sys/kernel/hostname', 'w')": "Errno 30", "os.mknod('/tmp/x', 0o60600, 1)": "Errno 1",
                    "socket.create_connection(('192.0.2.1', 80))": "Errno 101",
                    "open('/work/big', 'wb', 0).write(bytes(1 << 24))": str(9 << 20)}
        if not hasattr(os, "unshare"):   # Python 3.12
            del attempts["os.unshare(0x10000000)"]
        box.checkpoint(saved, leave_running=True)
    with Sandbox.restore(saved) as restored:
        process, = restored.processes
        assert facts(restored) == before
        for attempt, answer in attempts.items():
            if answer.startswith("Errno"):
                assert f"[{answer}]" in ask(process, f"exec('try:\\n {attempt}\\nexcept OSError as e: print(e)\\nelse:"
                                            " print(None)')".replace(attempt, attempt.replace("'", '"'))), attempt
        assert int(ask(process, "print(open('/work/big', 'wb', 0).write(bytes(1 << 24)))")) <= 9 << 20
        bomb = restored.run(["python3", "-c", "x = bytearray(1 << 30)"], timeout=PATIENCE)
        assert (bomb.reason, bomb.returncode) == ("oom", -9)
        forks = restored.run(["python3", "-c", "import os\nfor _ in range(99):\n if not os.fork(): os.read(0, 1) or"
                              " __import__('time').sleep(99)"], timeout=PATIENCE, text=True)
        assert "Resource temporarily unavailable" in str(forks.stderr)
        assert ask(process, "print(1)") == "1"


def test_the_end_of_the_owner(saved: Path) -> None:
    with Sandbox.host(checkpointable=True, user=WHO) as box:
        start(box, ["sleep", "1000"])
        box.checkpoint(saved)
    code = ("import os, sys; from pyruntime import Sandbox\n"
            "box = Sandbox.restore(sys.argv[1])\n"
            "print(box.processes[0].pid, flush=True); sys.stdin.read()")
    with subprocess.Popen([sys.executable, "-c", code, saved], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as owner:
        assert owner.stdout
        pid = int(owner.stdout.readline())
        pidfd = os.pidfd_open(pid)
        try:
            owner.kill()
            owner.wait()
            ended = subprocess.run([sys.executable, "-c", f"import select; p = select.poll(); p.register({pidfd}, 1);"
                                    f" print(len(p.poll({PATIENCE} * 1000)))"], pass_fds=[pidfd], capture_output=True,
                                   text=True, check=True)
            assert ended.stdout == "1\n"
        finally:
            os.close(pidfd)
    prune = "from pyruntime.sandbox.api import prune; assert prune().removed"
    subprocess.run([sys.executable, "-c", prune], check=True)


def test_the_writable_layer(saved: Path, images: ImageStore) -> None:
    with Sandbox("box", store=images, user=0, writable=True, checkpointable=True, cwd="/") as box:
        box.run(CHANGE, check=True)
        before = box.diff()
        holder = start(box, ["sh", "-c", "exec 3</new/dir/file; echo; read line; cat <&3"], stdin=PIPE)
        assert holder.stdout
        holder.stdout.readline()
        box.checkpoint(saved)
    with Sandbox.restore(saved) as box:
        assert box.diff() == before
        script = ("cat /etc/passwd /new/dir/link /work/mine /tmp/temporary; echo $OF; stat -c %a /work/mine;"
                  " ls /bin/ls")
        done = box.run(["sh", "-c", script], text=True)
        assert done.stdout == "changed\nx\nw\nt\nthe image\n640\n" and "No such file" in str(done.stderr)
        assert box.processes[0].communicate(b"\n", timeout=PATIENCE)[0] == b"x\n"
        box.commit("restored")
    assert images.find("restored")


@pytest.mark.parametrize("host", [True, False])
def test_a_sandbox_of_a_template(saved: Path, rootfs: Path, host: bool) -> None:
    options: dict[str, Any] = {"setup": [["sh", "-c", "echo set >/etc/up"]], "files": {"/work/file": "of the template"}}
    with Template(None if host else rootfs, user=0, writable=True, **options) as template, \
            template.sandbox(checkpointable=True) as box:
        box.run(["sh", "-c", "echo own >/etc/own; echo more >>/work/file; rm -f /etc/hosts"], check=True)
        waits = start(box, ["sh", "-c", "echo; read line; cat /etc/up /etc/own /work/file"], stdin=PIPE)
        assert waits.stdout
        waits.stdout.readline()
        box.checkpoint(saved)
    with Sandbox.restore(saved) as box, box.fork() as copy:
        expected = "set\nown\nof the templatemore\n"
        assert box.processes[0].communicate(b"\n", timeout=PATIENCE)[0] == expected.encode()
        for each in (box, copy):
            done = each.run(["sh", "-c", "cat /etc/up /etc/own /work/file; ls /etc/hosts"], text=True)
            assert done.stdout == expected
        if host:
            with pytest.raises(errors.StateError, match="has no copy"):
                box.diff()
        else:
            assert ("A", "/etc/own") in box.diff() and ("C", "/work/file") in box.diff()


def test_programs_with_much(saved: Path) -> None:
    """Threads, children, connections, locks and files without a name."""
    code = """
import fcntl, mmap, os, socket, tempfile, threading
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname()); peer, _ = server.accept()
one, other = socket.socketpair(); one.send(b"queued")
nameless = tempfile.TemporaryFile(); nameless.write(bytes(3 << 20)); nameless.flush()
shared = mmap.mmap(-1, 4096)
lock = open("/tmp/lock", "w"); fcntl.flock(lock, fcntl.LOCK_EX)
read, write = os.pipe()
if not os.fork():
    os.close(write)
    while part := os.read(read, 9): shared[:len(part)] = part
    os._exit(0)
event = threading.Event()
thread = threading.Thread(target=lambda: event.wait() and found.append("thread"))
thread.start(); found = []
print("ready", flush=True); input(); event.set(); thread.join()
client.send(b"tcp"); found += [peer.recv(9), other.recv(9), nameless.seek(0, 2)]
os.write(write, b"child"); os.close(write); os.wait(); found.append(shared[:5])
try:
    fcntl.flock(open("/tmp/lock"), fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    found.append("locked")
print(found)
"""
    with Sandbox.host(checkpointable=True, user=WHO) as box:
        box.write("/work/much.py", code)
        process = start(box, ["python3", "much.py"], stdin=PIPE)
        assert process.stdout and process.stdout.readline() == b"ready\n"
        box.checkpoint(saved)
    with Sandbox.restore(saved) as box:
        out, err = box.processes[0].communicate(b"\n", timeout=PATIENCE)
        assert (out, err) == (b"['thread', b'tcp', b'queued', 3145728, b'child', 'locked']\n", b"")


def test_checkpoints_while_programs_start_and_end(saved: Path) -> None:
    with Sandbox.host(checkpointable=True, user=WHO) as box:
        problems: list[object] = []
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                if (done := box.run(["sh", "-c", "echo $0; exit 3"])).returncode != 3:
                    problems.append(done)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(4):
            box.checkpoint(saved, leave_running=True)
            with Sandbox.restore(saved) as other:
                assert all(process.wait(PATIENCE) == 3 for process in other.processes)
                assert [other.run(["sh", "-c", "exit 3"]).returncode for _ in range(9)] == [3] * 9
            shutil.rmtree(saved)
        stop.set()
        for thread in threads:
            thread.join()
        assert problems == []


def test_vfork(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CRIU cannot stop a program that waits in vfork(2): the checkpoint waits."""
    code = ("import ctypes, os, time\nlibc = ctypes.CDLL(None)\n"
            "child = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(lambda _: time.sleep(SECONDS) or 0)\n"
            "stack = ctypes.create_string_buffer(1 << 20)\nprint('begins', flush=True)\n"
            "libc.clone(child, ctypes.c_void_p(ctypes.addressof(stack) + (1 << 20) - 64), 0x4000 | 17, None)\n"
            "print('ended', flush=True)\ntime.sleep(1000)")   # CLONE_VFORK, without CLONE_VM
    with Sandbox.host(checkpointable=True, user=WHO) as box:
        process = start(box, ["python3", "-c", code.replace("SECONDS", "2")])
        assert process.stdout and process.stdout.readline() == b"begins\n"
        box.checkpoint(saved, leave_running=True)
        assert process.stdout.readline() == b"ended\n"
        again = start(box, ["python3", "-c", code.replace("SECONDS", "1000")])
        assert again.stdout and again.stdout.readline() == b"begins\n"
        while "kernel_clone" not in Path(f"/proc/{again.pid}/wchan").read_text():
            time.sleep(0.01)
        monkeypatch.setattr("pyruntime.sandbox.checkpoint._PATIENCE", 0.2)
        with pytest.raises(errors.HostError, match="try again later"):
            box.checkpoint(saved.parent / "again")
        assert again.returncode is None and os.listdir(saved.parent) == ["saved"]
    with Sandbox.restore(saved) as box:
        assert box.processes[0].stdout and box.processes[0].stdout.readline() == b"ended\n"


def test_what_a_program_that_had_just_ended_has_left(saved: Path) -> None:
    """Its cgroup is restored with it, and possibly its descendants."""
    with Sandbox.host(checkpointable=True, user=WHO) as box:
        start(box, ["sleep", "1000"])
        start(box, ["sleep", "2000"])
        box.checkpoint(saved)
    record = json.loads((saved / "sandbox.json").read_text())
    record["programs"] = record["programs"][:1]
    (saved / "sandbox.json").write_text(json.dumps(record))
    with Sandbox.restore(saved) as box:
        shown = str(box.run(["ps", "-eo", "args="], text=True, check=True).stdout)
        assert "sleep 1000" in shown and "sleep 2000" not in shown


def test_asyncio(saved: Path) -> None:
    async def program() -> None:
        async with AsyncSandbox.host(checkpointable=True, user=WHO) as box:
            process = await box.popen(["sh", "-c", "read line; echo got $line; exit 3"], stdin=PIPE)
            await box.checkpoint(saved)
            await process.close()
        async with AsyncSandbox.restore(saved) as box:
            process, = box.processes
            assert await process.communicate(b"line\n") == (b"got line\n", b"") and process.returncode == 3

    asyncio.run(program())


def test_a_deep_tree(saved: Path) -> None:
    """Beyond the length of a path, Python's stack and the number of open files."""
    levels = 3000
    code = f"import os\nfor _ in range({levels}): os.mkdir('d'); os.chdir('d')\nopen('end', 'w').write('x')"
    read = f"import os\nfor _ in range({levels}): os.chdir('d')\nprint(open('end').read())"
    with Sandbox.host(checkpointable=True, user=WHO) as box:
        box.run(["python3", "-c", code], check=True)
        box.checkpoint(saved)
    with Sandbox.restore(saved) as box, box.fork() as copy:
        for each in (box, copy):
            assert each.run(["python3", "-c", read], text=True, check=True).stdout == "x\n"


def test_packets_that_nobody_has_read(saved: Path) -> None:
    """A program may have cut its output into packets (pipe2(2), O_DIRECT)."""
    code = ("import fcntl, os; fcntl.fcntl(1, fcntl.F_SETFL, os.O_DIRECT)\n"
            "for number in range(10): os.write(1, b'packet %d\\n' % number)\n"
            "fcntl.fcntl(1, fcntl.F_SETFL, 0); open('/work/done', 'w'); input()")
    with Sandbox.host(checkpointable=True, user=WHO) as box:
        start(box, ["python3", "-c", code], stdin=PIPE)
        while box.run(["test", "-e", "/work/done"]).returncode:
            time.sleep(0.01)
        box.checkpoint(saved)
    with Sandbox.restore(saved) as box:
        out, _ = box.processes[0].communicate(b"\n", timeout=PATIENCE)
        assert out == b"".join(b"packet %d\n" % number for number in range(10))


@pytest.mark.parametrize("state", ["SIGCHLD ignored", "a closed umask", "no standard streams", "short socket timeouts"])
def test_callers_in_odd_states(saved: Path, state: str) -> None:
    code = f"""
import os, sys
{ {**STATES, "short socket timeouts": "import socket; socket.setdefaulttimeout(0.001)"}[state] }
from pyruntime import Sandbox
from pyruntime.runtime.lifecycle.restore import Revival
from pyruntime.sandbox import restore
from pyruntime.sandbox.api import PIPE
with Sandbox.host(checkpointable=True, user={WHO}) as box:
    with box.popen(["sh", "-c", "read line; echo $line; exit 3"], stdin=PIPE, text=True):
        assert box.run(["sh", "-c", "exit 4"]).returncode == 4
        box.checkpoint(sys.argv[1])
with Sandbox.restore(sys.argv[1]) as box:
    process, = box.processes
    assert process.communicate("x\\n") == ("x\\n", "") and process.returncode == 3
    assert box.run(["sh", "-c", "umask; exit 5"], text=True).stdout == "0022\\n"
os._exit(7)
"""
    done = subprocess.run([sys.executable, "-c", code, saved], capture_output=True, text=True, check=False,
                          timeout=PATIENCE, stdin=subprocess.DEVNULL)
    assert done.returncode == 7, done.stderr
    subprocess.run([sys.executable, "-c", "from pyruntime.sandbox.api import prune; prune()"], check=True)


def test_the_example(saved: Path) -> None:
    """That of docs/sandbox.md."""
    text = (TOP / "docs/sandbox.md").read_text().partition("## Checkpoints of running programs")[2]
    text = text.partition("\n## ")[0]
    example = textwrap.dedent("\n".join(re.findall("^(?:    .*)?$", text, re.M)))
    assert "checkpointable=True" in example and "/var/tmp/saved" in example
    example = example.replace("checkpointable=True", f"checkpointable=True, user={WHO}").replace(
        "/var/tmp/saved", str(saved))
    exec(compile(example, "docs/sandbox.md", "exec"), {"Sandbox": Sandbox, "PIPE": PIPE})
    assert saved.is_dir()


def test_the_keyring_of_the_owner_is_not_theirs(saved: Path) -> None:
    """CRIU restores no keyrings."""
    code = ("import ctypes; name = ctypes.create_string_buffer(999);"
            " ctypes.CDLL(None).syscall(ctypes.c_long(250), 6, -3, name, 999)")   # KEYCTL_DESCRIBE of the session's
    show = "print(name.value.decode().rpartition(';')[2])"
    with Sandbox.host(checkpointable=True, user=WHO, seccomp={"defaultAction": "SCMP_ACT_ALLOW"}) as box:
        process = interpreter(box, "x = 1")
        assert ask(process, f"exec(\"{code}\"); {show}") == f"_ses.{box.name}"
        box.checkpoint(saved)
    with Sandbox.restore(saved) as box:
        for process in (box.processes[0], interpreter(box, "x = 1")):
            assert ask(process, f"exec(\"{code}\"); {show}") == f"_ses.{box.name}"


def test_arguments_and_options_that_json_does_not_have(saved: Path) -> None:
    """An argument that is not UTF-8, and mappings that are not dictionaries."""
    options: dict[str, Any] = {"env": MappingProxyType({"NAME": "value"}),
                               "seccomp": MappingProxyType({"defaultAction": "SCMP_ACT_ALLOW"})}
    with Sandbox.host(checkpointable=True, user=WHO, **options) as box:
        start(box, ["sh", "-c", 'read line; echo "$NAME $0"', "\udcfe\u20ac"], stdin=PIPE)
        box.checkpoint(saved)
    with Sandbox.restore(saved) as box:
        process, = box.processes
        assert process.args[-1] == "\udcfe\u20ac"
        assert process.communicate(b"\n", timeout=PATIENCE)[0] == b"value \xfe\xe2\x82\xac\n"
