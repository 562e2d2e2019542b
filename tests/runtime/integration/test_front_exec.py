"""`exec` by the front, from the template of the container or from a kept plan, compared with Python byte for byte."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TOP
from tests.containers import PATIENCE, Bundle
from tests.front import WAITS, Both

# (command line, whether the front answers it). Only Python prints errors, so the front has none to answer.
EXECS = [
    # the program
    ("exec c1 true", "y"), ("exec c1 false", "y"), ("exec c1 echo a b", "y"), ("exec c1 echo '' 'a  b' é", "y"),
    ("exec c1 sh -c 'exit 7'", "y"), ("exec c1 sh -c 'echo a; echo b >&2; exit 255'", "y"),
    ("exec c1 sh -c 'kill -9 $$'", "y"), ("exec c1 sh -c 'kill -TERM $$'", "y"), ("exec c1 /bin/echo a", "y"),
    ("exec c1 bin/echo a", "y"), ("exec --cwd /bin c1 ./echo a", "y"), ("exec c1 echo --detach -e A=1", "y"),
    ("exec c1 echo -- c1", "y"), ("exec c1 nosuch", "n"), ("exec c1 /nosuch", "n"), ("exec c1 /etc", "n"),
    ("exec c1 /proc/version", "n"), ("exec c1 /bin/echo/a", "n"), ("exec c1 ''", "n"), ("exec c1", "n"),
    ("exec -d c1 nosuch", "n"), ("exec nosuch true", "n"), ("exec ../c1 true", "n"),
    # the environment
    ("exec c1 env", "y"), ("exec -e A=1 --env B=2 c1 env", "y"), ("exec -e A=1 -e B=2 -e A=3 c1 env", "y"),
    ("exec -e=A=1 c1 env", "y"), ("exec --env=A= c1 env", "y"), ("exec -e A=a=b c1 env", "y"),
    ("exec -e 'A=a b\té' c1 env", "y"), ("exec -e TERM=vt100 c1 env", "y"), ("exec -e HOME=/x c1 env", "y"),
    ("exec -e HOME= c1 env", "y"), ("exec -e PATH=/nosuch:/bin c1 env", "y"), ("exec -e PATH=/nosuch c1 env", "n"),
    ("exec -e PATH=/nosuch c1 /bin/env", "y"), ("exec -e PATH= --cwd /bin c1 env", "y"),
    ("exec -e PATH=: --cwd /bin c1 env", "y"), ("exec -e PATH= c1 env", "n"), ("exec -e A c1 env", "n"),
    ("exec -e =1 c1 env", "n"), ("exec -e '' c1 env", "n"), ("exec -e c1", "n"),
    # the working directory
    ("exec --cwd /bin c1 pwd", "y"), ("exec --cwd=/bin/ c1 pwd", "y"), ("exec --cwd /tmp --cwd /bin c1 pwd", "y"),
    ("exec --cwd '' c1 pwd", "y"), ("exec --cwd /bin/../proc c1 pwd", "y"), ("exec --cwd /nosuch c1 pwd", "n"),
    ("exec --cwd bin c1 pwd", "n"), ("exec --cwd /bin/sh c1 pwd", "n"),
    # the user
    ("exec -u 1000:1001 c1 id", "y"), ("exec -u 1000 c1 id", "y"), ("exec --user=0 c1 id", "y"),
    ("exec -u 0:0 c1 id", "y"), ("exec -u 007:08 c1 id", "y"), ("exec -u '' c1 id", "y"),
    ("exec -u 5:6 -u 7 c1 id", "y"), ("exec -u 1000 c1 grep -E 'Cap|Groups|NoNew' /proc/self/status", "y"),
    ("exec -u 1000 -e HOME= c1 env", "y"), ("exec -u 4294967294:4294967294 c1 id", "y"), ("exec -u x c1 id", "n"),
    ("exec -u 1: c1 id", "n"), ("exec -u :1 c1 id", "n"), ("exec -u 4294967295 c1 id", "n"), ("exec -u -1 c1 id", "n"),
    ("exec -u root c1 id", "n"), ("exec -u 18446744073709551616 c1 id", "n"),
    # what the process is in
    ("exec c1 cat /proc/self/cgroup", "y"), ("exec c1 grep -c . /proc/self/mountinfo", "y"),
    ("exec c1 ls /proc/self/fd", "y"), ("exec c1 readlink /proc/self/ns/pid", "y"),
    ("exec c1 readlink /proc/self/ns/user", "y"), ("exec c1 cat /proc/self/limits", "y"),
    ("exec c1 sh -c umask", "y"), ("exec c1 grep -E '^(Cap|Seccomp|NoNew|Sig...:|Cpus)' /proc/self/status", "y"),
    ("exec c1 cat /proc/self/oom_score_adj", "y"), ("exec c1 cat /proc/self/sessionid /proc/self/attr/current", "y"),
    # other options
    ("exec -d c1 true", "y"), ("exec --detach c1 false", "y"), ("--log {log} exec c1 echo logged", "y"),
    ("--log {log} --log-format json exec c1 true", "y"), ("--systemd-cgroup exec c1 true", "y"),
    ("exec --pid-file {log}.pid c1 true", "y"), ("exec --pid-file '' c1 true", "y"),
    ("exec --pid-file /no/such c1 true", "n"), ("exec --detach=true c1 true", "n"), ("exec -t c1 true", "n"),
    ("exec -td c1 true", "n"), ("exec -g 5 -g 6 c1 id", "n"), ("exec --preserve-fds 0 c1 true", "n"),
    ("exec --cap CAP_NET_ADMIN c1 grep Cap /proc/self/status", "n"), ("exec --cap NONE c1 true", "n"),
    ("exec --no-new-privs c1 grep NoNewPrivs /proc/self/status", "n"), ("exec --apparmor x c1 true", "n"),
    ("exec --process-label x c1 true", "n"), ("exec --cgroup / c1 true", "n"), ("exec --ignore-paused c1 true", "n"),
    ("exec --console-socket /x c1 true", "n"), ("exec --pidfd-socket /x c1 true", "n"),
    ("exec --process /nosuch c1", "n"), ("exec --process /nosuch c1 true", "n"), ("exec --bad c1 true", "n"),
    ("exec --help", "n"), ("exec", "n"), ("exec -- c1 true", "n"), ("--rootless true exec c1 true", "n"),
    ("--debug exec c1 true", "n"),
]


def _timeless(answer: tuple[int, str, str]) -> tuple[int, str, str]:
    # Times, and the pids in what --debug prints.
    return (answer[0], answer[1], re.sub(r"\d\d:\d\d:\d\dZ|process \d+|init\(\): \d+", "", answer[2]))


@pytest.mark.parametrize("status", ["created", "running"])
def test_every_exec_from_the_first_on(both: Both, bundle: Bundle, status: str) -> None:
    both.bring(bundle.shell(WAITS), status)
    before = both.left(status)
    for words, answer in EXECS:
        expected, _ = both.answer(words, "off")
        said, by_front = both.answer(words, "on")
        assert _timeless(said) == _timeless(expected), words
        assert by_front == (answer == "y"), words
    assert both.left(status) == before


@pytest.mark.parametrize("status", ["paused", "stopped", "absent"])
def test_no_exec_in_this_status(both: Both, bundle: Bundle, status: str) -> None:
    both.bring(bundle.shell(WAITS), status)
    for words in ("exec c1 true", "exec -d c1 true", "exec -u 1 -e A=1 --cwd /bin c1 env", "exec -t c1 true"):
        expected, _ = both.answer(words, "off")
        assert both.answer(words, "on") == (expected, False), words
        assert expected[0] == 255 and expected[2], words


def _user(bundle: Bundle) -> None:
    bundle.save(process__user={"uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 0o027}, process__cwd="/tmp",
                process__env=["A=0", "B=0", "A=1", "HOME="], process__noNewPrivileges=False)


def _shared(bundle: Bundle) -> None:
    spaces = bundle.config["linux"]["namespaces"]
    bundle.config["linux"]["namespaces"] = [space for space in spaces if space["type"] not in ("pid", "network", "ipc")]


def _joined(bundle: Bundle) -> None:
    for space in bundle.config["linux"]["namespaces"]:
        if space["type"] == "network":
            space["path"] = "/proc/self/ns/net"


def _filtered(bundle: Bundle) -> None:
    bundle.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["sync"], "action": "SCMP_ACT_ERRNO"}]}


def _limited(bundle: Bundle) -> None:
    bundle.save(process__rlimits=[{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}], process__oomScoreAdj=100,
                process__scheduler={"policy": "SCHED_BATCH", "nice": 5}, process__execCPUAffinity={"initial": "0"},
                process__ioPriority={"class": "IOPRIO_CLASS_IDLE"}, linux__personality={"domain": "LINUX32"})


@pytest.mark.parametrize("kind", [_user, _shared, _joined, _filtered, _limited, Bundle.in_user_namespace],
                         ids=lambda kind: kind.__name__)
def test_other_containers(both: Both, own_bundle: Bundle, kind: Any) -> None:
    kind(own_bundle)
    both.bring(own_bundle.shell(WAITS), "running")
    for words in ("exec c1 id", "exec c1 env", "exec c1 pwd", "exec c1 sh -c umask", "exec -u 0 c1 id",
                  "exec -u 1002 c1 id", "exec -e A=2 -e PATH=/bin c1 env", "exec --cwd /bin c1 pwd",
                  "exec c1 cat /proc/self/limits /proc/self/cgroup /proc/self/oom_score_adj /proc/self/uid_map",
                  "exec c1 sh -c 'readlink /proc/self/ns/*; uname -m'",
                  "exec c1 grep -E '^(Cap|Seccomp|NoNew|Groups|Cpus)' /proc/self/status"):
        expected, _ = both.answer(words, "off")
        assert both.answer(words, "on") == (expected, True), words
        assert expected[0] == 0, words


@pytest.mark.parametrize("damage", ["missing", "flipped", "touched", "writable", "another's", "itself", "process"])
def test_a_template_that_is_not_believed(both: Both, bundle: Bundle, damage: str) -> None:
    both.bring(bundle.shell(WAITS), "running")
    directory = both.runtime.root / "c1"
    template = directory / "exec.plan"
    data = bytearray(template.read_bytes())
    if damage == "missing":
        template.unlink()
    elif damage == "flipped":
        data[-100] ^= 1
        template.write_bytes(data)
    elif damage == "touched":
        os.utime(template)
    elif damage == "writable":
        template.chmod(0o666)
    elif damage == "another's":
        both.runtime.ok("create", "c2", bundle)
        shutil.copy(both.runtime.root / "c2/exec.plan", template)
        both.runtime.ok("delete", "--force", "c2")
    elif damage == "itself":
        shutil.copy(directory / "life.plan", template)
    elif damage == "process":   # the configuration for exec
        os.utime(directory / "exec.json")
    assert both.answer("exec c1 echo a", "on") == ((0, "a\n", ""), False)
    assert both.answer("state c1", "on")[1]


def test_the_namespaces_of_init_are_others_by_now(both: Both, bundle: Bundle) -> None:
    """Init itself may leave a namespace; and `exec` may come from one."""
    bundle.config["linux"]["namespaces"] = [space for space in bundle.config["linux"]["namespaces"]
                                            if space["type"] != "uts"]
    del bundle.config["hostname"]
    everything = ["CAP_SYS_ADMIN"]
    bundle.shell("mkfifo /tmp/go; read line </tmp/go; exec unshare -u sh -c 'hostname other; echo >/tmp/go; sleep 100'",
                 process__capabilities={name: everything for name in ("bounding", "effective", "permitted")})
    bundle.add_mount("/tmp", "tmpfs", "tmpfs")
    both.bring(bundle.save(), "running")
    command = [str(both.place / "bin/pyruntime"), "--root", str(both.runtime.root), "exec", "c1", "true"]
    both.called.unlink(missing_ok=True)
    subprocess.run(["unshare", "-u", *command], check=True)
    assert both.called.exists()
    subprocess.run(["unshare", "-n", *command], check=True)   # the container has its own: the plan is the same
    assert both.answer("exec c1 hostname", "on") == ((0, f"{os.uname().nodename}\n", ""), True)
    both.runtime.ok("exec", "c1", "sh", "-c", "echo >/tmp/go; read line </tmp/go")
    assert both.answer("exec c1 hostname", "on") == ((0, "other\n", ""), False)


def test_an_exec_by_a_process_file(both: Both, bundle: Bundle) -> None:
    """As with containerd, the names of the process file and the pid file change each time; the content does not."""
    both.bring(bundle.shell(WAITS), "running")
    text = ('{"args": ["sh", "-c", "echo $A; exec sleep 0.2"], "cwd": "/", "env": ["PATH=/bin", "A=%s"],'
            ' "user": {"uid": 0, "gid": 0}}')
    by_front = []
    for number, value in enumerate(["1", "1", "1", "2", "2"]):
        file, pid = both.place / f"process{number}", both.place / f"pid{number}"
        file.write_text(text % value)
        said, front_did = both.answer(f"exec --process {file} --detach --pid-file {pid} c1", "on")
        assert said in ((0, f"{value}\n", ""), (0, "", ""))   # the program may not have printed yet
        by_front.append(front_did)
        state = Path(f"/proc/{pid.read_text()}/stat").read_text().rpartition(")")[2].split()
        assert state[1] != str(os.getpid())
    assert by_front == [False, True, True, False, True]


@pytest.mark.parametrize("words", ["exec --process {pipe} c1", "--log {pipe} state nosuch"])
def test_a_named_pipe_is_opened_once(both: Both, bundle: Bundle, words: str) -> None:
    """The process at its other end would take the front for Python, which comes after it."""
    both.bring(bundle.shell(WAITS), "running")
    pipe = both.place / "pipe"
    os.mkfifo(pipe)
    process = '{"args": ["echo", "a"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}'
    other = ["sh", "-c", 'printf %s "$1" >"$0"' if "exec" in words else 'cat "$0"', pipe, process]
    answers = []
    for front in ("off", "on"):
        with subprocess.Popen(other, stdout=subprocess.PIPE, text=True) as end:
            said, by_front = both.answer(words.replace("{pipe}", str(pipe)), front)
            heard = re.sub(r"time=\S+", "", end.communicate(timeout=PATIENCE)[0])
            answers.append((said, heard, end.returncode, by_front))
    assert answers[0] == answers[1]
    assert answers[0][1:3] == ("", 0) if "exec" in words else "nosuch" in answers[0][1]


def test_a_pid_file_behind_a_link_and_back(both: Both, bundle: Bundle) -> None:
    """Python takes .. away as a text; the kernel would follow the link first."""
    both.bring(bundle.shell(WAITS), "running")
    (both.place / "deep/deeper").mkdir(parents=True)
    (both.place / "link").symlink_to("deep/deeper")
    assert both.answer(f"exec -d --pid-file {both.place}/link/../pid c1 true", "on") == ((0, "", ""), False)
    assert (both.place / "pid").exists() and not (both.place / "deep/pid").exists()


def test_a_pid_file_names_no_process_that_never_ran(both: Both, bundle: Bundle) -> None:
    """Only the kernel finds out that a file is no program; and Python may come too late for this container."""
    bundle.add_mount("/tmp", "tmpfs", "tmpfs")
    both.bring(bundle.shell(f"echo junk >/tmp/junk; chmod 755 /tmp/junk; {WAITS}"), "running")
    (both.place / "libexec/pyruntime").write_text("#!/bin/sh\nexit 9\n")
    assert both.answer(f"exec --pid-file {both.place}/pid c1 /tmp/junk", "on")[0][0] == 9
    assert not (both.place / "pid").exists()


def test_a_kept_plan_that_does_not_hold_here(both: Both, bundle: Bundle) -> None:
    """After the container was created again, its state.json is another."""
    both.bring(bundle.shell(WAITS), "running")
    process = both.place / "process"
    process.write_text('{"args": ["true"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}')
    words = f"exec --process {process} c1"
    assert [both.answer(words, "on")[1] for _ in range(2)] == [False, True]
    kept = {path.name: path.read_bytes() for path in (both.runtime.root / "c1").glob("exec.[0-7]")}
    assert len(kept) == 1
    both.runtime.ok("delete", "--force", "c1")
    both.bring(bundle, "running")
    for name, data in kept.items():
        (both.runtime.root / "c1" / name).write_bytes(data)
        (both.runtime.root / "c1" / name).chmod(0o600)
    assert [both.answer(words, "on")[1] for _ in range(2)] == [False, True]
    assert both.answer(f"exec --cwd /bin --process {process} c1", "on") == ((0, "", ""), False)
    both.runtime.ok("pause", "c1")
    assert both.answer(words, "on") == (both.answer(words, "off")[0], False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGKILL])
def test_signals_are_forwarded(both: Both, bundle: Bundle, number: signal.Signals) -> None:
    both.bring(bundle.shell(WAITS), "running")
    script = "trap 'exit 41' TERM; trap 'exit 42' INT; trap 'exit 43' USR1; echo ready; while :; do sleep 0.05; done"
    command = [str(both.place / "bin/pyruntime"), "--root", str(both.runtime.root), "exec", "c1", "sh", "-c", script]
    statuses = []
    for front in ("off", "on"):
        both.called.unlink(missing_ok=True)
        with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYRUNTIME_FRONT": front}) as process:
            assert process.stdout and process.stdout.readline() == b"ready\n"
            process.send_signal(number)
            statuses.append(process.wait(PATIENCE))
        assert both.called.exists() == (front == "off")
    assert statuses[0] == statuses[1] == {15: 41, 2: 42, 10: 43, 9: -9}[number]


@pytest.mark.parametrize("front", ["off", "on"])
def test_a_caller_that_ignores_sigchld(both: Both, bundle: Bundle, front: str) -> None:
    """Ignored signals survive execve(2), and for this one the kernel would keep no exit status (wait(2))."""
    both.bring(bundle.shell(WAITS), "running")
    # Not the installation that records calls: its shell does not ignore the signal.
    command = ["env", "--ignore-signal=CHLD", str(TOP / ".venv/bin/pyruntime"), "--root", str(both.runtime.root)]
    for words, status in ((["c1", "sh", "-c", "exit 7"], 7), (["--detach", "c1", "true"], 0)):
        done = subprocess.run([*command, "exec", *words], env={**os.environ, "PYRUNTIME_FRONT": front},
                              check=False, timeout=PATIENCE)
        assert done.returncode == status, words


def test_a_thousand_execs_leave_nothing(both: Both, bundle: Bundle) -> None:
    """Neither a descriptor in the new process or in init, nor a process, nor a file."""
    both.bring(bundle.shell(WAITS), "running")
    init = both.runtime.state("c1")["pid"]
    before = (both.left("running"), sorted(os.listdir(f"/proc/{init}/fd")))
    both.called.unlink(missing_ok=True)
    command = [str(both.place / "bin/pyruntime"), "--root", str(both.runtime.root), "exec"]
    with (both.place / "input").open("w+b") as stream:
        for number in range(1000):
            words = ["-e", f"N={number}", "-u", str(number), "c1", "sh", "-c", 'cd /proc/self/fd && echo * "$N"']
            stream.seek(0)
            stream.truncate()
            subprocess.run([*command, *words], stdin=subprocess.DEVNULL, stdout=stream, check=True, timeout=PATIENCE)
            stream.seek(0)
            assert stream.read().split() == [b"0", b"1", b"2", b"3", str(number).encode()]   # 3: of the shell, for *
    assert not both.called.exists()
    assert (both.left("running"), sorted(os.listdir(f"/proc/{init}/fd"))) == before
    assert both.answer("exec c1 sh -c 'echo /proc/[0-9]*'", "on")[0][1].count("/proc/") <= 3   # init, its child, itself
