"""The front compared with Python: equal output for a hundred command lines, byte for byte; damage, faults, kill -9."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

from pyruntime.runtime.cgroups.group import Cgroup
from pyruntime.runtime.config.load import load_bundle
from pyruntime.runtime.lifecycle.create import Request, make_plan
from pyruntime.runtime.lifecycle.store import StateDirectory
from tests.conftest import TOP, compile_c
from tests.containers import PATIENCE, Bundle
from tests.front import PROGRAM, WAITS, Both

# Commands without effect: (command line, whether the front answers it in: created, running, paused, stopped).
QUESTIONS = [
    ("state c1", "yyyy"), ("state nosuch", "nnnn"), ("state", "nnnn"), ("state c1 more", "nnnn"),
    ("state --help", "nnnn"), ("state --bad c1", "nnnn"), ("--debug state c1", "nnnn"), ("--version", "nnnn"),
    ("--log {log} state c1", "yyyy"), ("--log={log} --log-format json state c1", "yyyy"),
    ("--log-format=text state c1", "yyyy"), ("--log-format bad state c1", "nnnn"), ("--log /no/such state c1", "nnnn"),
    ("-log-format json state c1", "yyyy"), ("--systemd-cgroup state c1", "yyyy"), ("--rootless true state c1", "nnnn"),
    ("--systemd-cgroup=false state c1", "nnnn"), ("--cgroup-manager disabled state c1", "nnnn"),
    ("state ./c1", "nnnn"), ("state ..", "nnnn"), ("-- state c1", "nnnn"), ("state -- c1", "nnnn"),
    ("--log {log} state nosuch", "nnnn"), ("--log {log} --log-format json kill nosuch", "nnnn"),
    ("list -q", "yyyy"), ("list --quiet", "yyyy"), ("list", "nnnn"), ("list -f json", "nnnn"),
    ("list -q -f json", "nnnn"), ("list -q more", "nnnn"),
    ("ps --format json c1", "yyyy"), ("ps -f json c1", "yyyy"), ("ps -f=json c1", "yyyy"), ("ps c1", "nnnn"),
    ("ps --format table c1", "nnnn"), ("ps -f bad c1", "nnnn"), ("ps -f json", "nnnn"), ("ps -f json nosuch", "nnnn"),
    ("ps -f json c1 -ef", "nnnn"),
    ("kill c1 0", "yyyn"), ("kill --all c1 0", "yyyy"), ("kill c1 NOSUCH", "nnnn"), ("kill c1 65", "nnnn"),
    ("kill c1 -9", "nnnn"), ("kill", "nnnn"), ("kill c1 0 0", "nnnn"), ("kill --help", "nnnn"),
    ("kill c1 SIGCHLD", "yyyn"), ("kill c1 chld", "yyyn"), ("kill c1 17", "yyyn"), ("kill c1 RTMIN+20", "nnnn"),
    ("kill -a c1 WINCH", "yyyy"), ("kill c1 sigwinch --all", "yyyy"), ("kill --all=true c1 WINCH", "nnnn"),
    ("delete nosuch", "nnnn"), ("delete --force nosuch", "nnnn"), ("delete", "nnnn"), ("delete --bad c1", "nnnn"),
    ("start nosuch", "nnnn"), ("pause nosuch", "nnnn"), ("resume nosuch", "nnnn"), ("start", "nnnn"),
]
REFUSED = {"created": ["resume c1", "delete c1"], "running": ["start c1", "resume c1", "delete c1"],
           "paused": ["start c1", "pause c1", "delete c1"],
           "stopped": ["start c1", "pause c1", "resume c1", "kill c1", "kill c1 KILL"]}


@pytest.mark.parametrize("status", ["created", "running", "paused", "stopped"])
def test_questions(both: Both, bundle: Bundle, status: str) -> None:
    both.bring(bundle.shell(WAITS, annotations={"a": 'b "c"\n\u00e9'}), status)
    place = ["created", "running", "paused", "stopped"].index(status)
    before = both.left(status)
    for words, answers in [*QUESTIONS, *((words, "nnnn") for words in REFUSED[status])]:
        expected, _ = both.answer(words, "off")
        said, by_front = both.answer(words, "on")
        assert _timeless(said) == _timeless(expected), (status, words)
        assert by_front == (answers[place] == "y"), (status, words, said)
    assert both.left(status) == before
    log = [re.sub(r"\d\d:\d\d:\d\d", "", line) for line in (both.place / "log").read_text().splitlines()]
    assert log and log[0::2] == log[1::2]


def _timeless(answer: tuple[int, str, str]) -> tuple[int, str, str]:
    return (answer[0], answer[1], re.sub(r"\d\d:\d\d:\d\dZ", "", answer[2]))


# (status before, command line, whether the front does it, status after)
DEEDS = [
    ("created", "start c1", True, "running"), ("created", "kill c1", True, "created"),
    ("created", "kill c1 KILL", True, "stopped"), ("created", "kill c1 9", True, "stopped"),
    ("created", "kill --all c1 SIGKILL", True, "stopped"), ("created", "pause c1", True, "paused"),
    ("created", "delete --force c1", True, "absent"), ("created", "delete c1 -f", True, "absent"),
    ("created", "delete --force=true c1", False, "absent"), ("created", "--log {log} start c1", True, "running"),
    ("running", "kill c1", True, "stopped"), ("running", "kill c1 TERM", True, "stopped"),
    ("running", "kill c1 sigterm", True, "stopped"), ("running", "kill c1 15", True, "stopped"),
    ("running", "kill c1 kill", True, "stopped"), ("running", "kill -a c1 9", True, "stopped"),
    ("running", "kill --all c1 TERM", True, "stopped"), ("running", "pause c1", True, "paused"),
    ("running", "delete -f c1", True, "absent"), ("running", "--systemd-cgroup delete --force c1", True, "absent"),
    ("paused", "resume c1", True, "running"), ("paused", "kill c1 KILL", True, "stopped"),
    ("paused", "kill -a c1 KILL", True, "stopped"), ("paused", "kill c1 TERM", True, "paused"),
    ("paused", "delete --force c1", True, "absent"), ("stopped", "delete c1", True, "absent"),
    ("stopped", "delete --force c1", True, "absent"),
    ("stopped", "--log {log} --log-format json delete c1", True, "absent"),
    ("absent", "delete --force c1", False, "absent"), ("absent", "delete c1", False, "absent"),
    ("absent", "state c1", False, "absent"),
]


@pytest.mark.parametrize(("status", "words", "by_front", "after"), DEEDS,
                         ids=[f"{deed[0]}-{deed[1]}" for deed in DEEDS])
def test_deeds(both: Both, bundle: Bundle, status: str, words: str, by_front: bool, after: str) -> None:
    bundle.shell(WAITS)
    answers = []
    for front in ("off", "on"):
        both.runtime.root.mkdir(exist_ok=True)
        both.bring(bundle, status)
        said, front_did = both.answer(words, front)
        assert front_did == (by_front and front == "on")
        answers.append((said, both.left(after)))
        both.runtime("delete", "--force", "c1")
    assert answers[0] == answers[1]


@pytest.mark.parametrize("change", ["poststop", "poststart", "no process", "host pids", "broken program", "no program"])
def test_what_is_out_of_the_ordinary(both: Both, bundle: Bundle, change: str) -> None:
    """Each command of a lifecycle, for containers whose plan lacks the lists of some commands."""
    hook = [{"path": "/bin/sh", "args": ["sh", "-c", f"echo {change} >>{both.place}/hooks"]}]
    bundle.shell(WAITS)
    if change.startswith("post"):
        bundle.config["hooks"] = {change: hook}
    elif change == "no process":
        del bundle.config["process"]
    elif change == "host pids":
        bundle.config["linux"]["namespaces"] = [space for space in bundle.config["linux"]["namespaces"]
                                                if space["type"] != "pid"]
    elif change == "broken program":
        bundle.add_mount("/bin/broken", "bind", str(both.place / "broken"), "bind")
        (both.place / "broken").write_text("garbage")
        (both.place / "broken").chmod(0o755)
        bundle.save(process__args=["/bin/broken"])
    elif change == "no program":
        bundle.add_mount("/run", "tmpfs", "tmpfs")
        bundle.save(process__cwd="/run/nosuch/deep", process__args=["/run/nosuch"])
    bundle.save()
    lives = []
    for front in ("off", "on"):
        life = [both.answer(words, front)[0] for words in (
            f"create c1 {bundle}", "start c1", "kill -a c1 WINCH", "pause c1", "resume c1", "kill c1 KILL")]
        life.append((0, "".join(both.left("stopped" if life[0][0] == 0 else "absent")), ""))
        life.append(both.answer("delete c1", front)[0])
        lives.append(life)
    assert lives[0] == lives[1]
    if change.startswith("post"):
        assert (both.place / "hooks").read_text() == f"{change}\n" * 2


def _refuse(both: Both) -> None:
    """The front leaves the container to Python, which finds it."""
    said, by_front = both.answer("state c1", "on")
    assert not by_front and said[0] == 0
    assert both.answer("list -q", "on") == ((0, "c1\n", ""), False)


@pytest.mark.parametrize("damage", [
    "missing", "empty", "short", "flipped", "fingerprint", "writable", "foreign", "directory writable", "link", "fifo",
    "another's", "record rewritten", "record touched", "root writable", "larger"])
def test_a_plan_that_is_not_believed(both: Both, bundle: Bundle, damage: str) -> None:
    both.bring(bundle.shell(WAITS), "created")
    directory = both.runtime.root / "c1"
    plan = directory / "life.plan"
    data = bytearray(plan.read_bytes())
    if damage in ("missing", "link", "fifo", "another's"):
        plan.unlink()
    if damage == "empty":
        plan.write_bytes(b"")
    elif damage == "short":
        plan.write_bytes(data[:-8])
    elif damage == "flipped":
        data[100] ^= 1
        plan.write_bytes(data)
    elif damage == "fingerprint":
        data[20] ^= 1
        plan.write_bytes(data)
    elif damage == "larger":
        plan.write_bytes(data + bytes(1 << 20))
    elif damage == "writable":
        plan.chmod(0o666)
    elif damage == "foreign":
        os.chown(plan, 12345, 12345)
    elif damage == "directory writable":
        directory.chmod(0o777)
    elif damage == "root writable":
        both.runtime.root.chmod(0o777)
    elif damage == "link":
        (both.place / "plan").write_bytes(data)
        plan.symlink_to(both.place / "plan")
    elif damage == "fifo":
        os.mkfifo(plan)
    elif damage == "another's":
        both.runtime.ok("create", "c2", bundle)
        shutil.copy(both.runtime.root / "c2/life.plan", plan)
        both.runtime.ok("delete", "--force", "c2")
    elif damage == "record rewritten":
        text = (directory / "state.json").read_bytes()
        (directory / "new").write_bytes(text)
        (directory / "new").rename(directory / "state.json")
    elif damage == "record touched":
        os.utime(directory / "state.json")
    _refuse(both)
    assert both.answer("delete --force c1", "on") == ((0, "", ""), False)


def test_a_pid_that_another_process_has_by_now(both: Both, bundle: Bundle) -> None:
    """The start time decides: the other process gets no signal, and the container is not reported as running."""
    from pyruntime.runtime.lifecycle.life import prepare, settle
    from pyruntime.system.processes import start_time

    both.bring(bundle.shell(WAITS), "stopped")
    container = StateDirectory(str(both.runtime.root), "c1")
    with subprocess.Popen(["sleep", "100"]) as other:
        record = container.read()
        record.pid, record.started = other.pid, start_time(other.pid) - 1
        settle(container, record, prepare(container, record))
        said, by_front = both.answer("state c1", "on")
        assert by_front and '"status": "stopped"' in said[1] and '"pid": 0' in said[1]
        for words in ("kill c1 KILL", "kill -a c1 KILL", "delete --force c1"):
            expected = 1 if words == "kill c1 KILL" else 0
            assert both.answer(words, "on")[0][0] == expected
        assert other.poll() is None
        other.kill()


def test_what_is_handed_over_comes_untouched(tmp_path: Path) -> None:
    """Arguments, environment and descriptors."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "libexec").mkdir()
    shutil.copy(TOP / "pyruntime/native/front/front", tmp_path / "bin/pyruntime")
    script = tmp_path / "libexec/pyruntime"
    script.write_text('#!/bin/sh\nprintf "%s|" "$@"; echo; env | sort; ls -l /proc/self/fd | grep -c . ; cat <&7\n')
    script.chmod(0o755)
    given = tmp_path / "given"
    given.write_text("seven\n")
    environment = {"PATH": "/usr/bin:/bin", "A": "1", "PYRUNTIME_FRONT": "on"}

    def called(program: Path) -> str:
        done = subprocess.run(["sh", "-c", f'exec {program} --root "" exec "a b" "" --x="y z" 7<{given}'],
                              capture_output=True, text=True, env=environment, cwd=tmp_path, check=True)
        return done.stdout
    assert called(tmp_path / "bin/pyruntime") == called(script)
    assert "a b||--x=y z|" in called(script) and called(script).endswith("seven\n")


def test_a_closed_standard_descriptor_and_a_reader_that_has_gone(both: Both, bundle: Bundle) -> None:
    both.bring(bundle.shell(WAITS), "created")
    words = f"{both.place}/bin/pyruntime --root {both.runtime.root} state c1"
    for script in (f"{words} >&-", f"{words} <&-", f"{words} | true; exit 0", f"{words} >/dev/full",
                   f"ulimit -f 0; {words} >{both.place}/out"):
        answers = []
        for front in ("off", "on"):
            done = subprocess.run(["bash", "-c", f"set -o pipefail; {script}"], capture_output=True, text=True,
                                  env={**os.environ, "PYRUNTIME_FRONT": front}, check=False)
            answers.append((done.returncode, done.stdout, done.stderr))
        assert answers[0] == answers[1], script


@pytest.mark.parametrize("kind", ["fail", "after", "parent"])
def test_faults_after_start(both: Both, bundle: Bundle, kind: str) -> None:
    """Each step of init after `start` fails, or `start` is killed."""
    bundle.shell(WAITS)
    steps = make_plan(load_bundle(str(bundle)), "c1", Request()).steps
    waiting = next(index for index, step in enumerate(steps) if step.op.name == "await_start")
    for index in range(waiting + 1, len(steps)):
        if steps[index].op.name in ("execve", "seccomp") and kind != "fail":
            continue   # the filter may forbid the report, and the parent does not wait after it
        answers = []
        for front in ("off", "on"):
            both.runtime.ok("create", "c1", bundle, env={"PYRUNTIME_FAULT": f"{kind}:{index}"})
            said, _ = both.answer("start c1", front)
            # A killed `start` leaves a running container if init had sent its last report by then, else a stopped one.
            answers.append((said, both.left("(running|stopped)")[1:] if kind == "parent" else both.left("stopped")))
            both.runtime.ok("delete", "--force", "c1")
        assert answers[0] == answers[1], steps[index]
        assert kind != "fail" or answers[0][0][0] == 1




def test_cgroups_that_a_container_has_nested(both: Both, bundle: Bundle) -> None:
    """As deep as it likes: each would take a part of the front's stack."""
    both.bring(bundle.shell(WAITS), "running")
    record = StateDirectory(str(both.runtime.root), "c1").read()
    made = [Path(Cgroup(record.cgroup).main())]
    for _ in range(60):
        made.append(made[-1] / "d")
        made[-1].mkdir()
    for words in ("ps -f json c1", "kill -a c1 0"):
        assert both.answer(words, "on") == (both.answer(words, "off")[0], False), words
    for directory in made[:20:-1]:
        directory.rmdir()
    for words in ("ps -f json c1", "kill -a c1 0"):
        assert both.answer(words, "on") == (both.answer(words, "off")[0], True), words


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace, which stops the front at a system call")
def test_a_delete_that_is_overtaken(both: Both, bundle: Bundle) -> None:
    """By another `delete`, and by a `create` of the same ID, whose container is not this one's to remove."""
    both.bring(bundle.shell(WAITS), "stopped")
    trace = both.place / "trace"
    # Its last look at the directory, before it renames.
    command = ["strace", "-qq", "-o", str(trace), "-e", "trace=getdents64,renameat",
               "-e", "inject=getdents64:signal=SIGSTOP:when=2",
               str(both.place / "bin/pyruntime"), "--root", str(both.runtime.root), "delete", "c1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as slow:
        deadline = time.monotonic() + PATIENCE
        while not trace.exists() or "stopped by SIGSTOP" not in trace.read_text():
            assert time.monotonic() < deadline and slow.poll() is None
            time.sleep(0.01)
        both.runtime.ok("delete", "c1", env={"PYRUNTIME_FRONT": "off"})
        both.bring(bundle, "running")
        os.kill(int(Path(f"/proc/{slow.pid}/task/{slow.pid}/children").read_text()), signal.SIGCONT)
        assert "that is not stopped: running" in slow.communicate(timeout=PATIENCE)[1]
    assert slow.returncode == 1
    assert re.search(r"renameat\(.* = 0$", trace.read_text(), re.MULTILINE)
    assert [path.name for path in both.runtime.root.iterdir()] == ["c1"]
    assert '"status": "running"' in both.answer("state c1", "on")[0][1]


def test_a_life_under_sanitizers(tmp_path: Path, bundle: Bundle) -> None:
    """AddressSanitizer and UndefinedBehaviorSanitizer end the front at the first mistake."""
    program = compile_c(tmp_path / "front", sorted(PROGRAM.parent.glob("*.c")), "-fsanitize=address,undefined",
                        "-fno-sanitize-recover=all")
    both = Both(tmp_path, program)
    both.runtime.environment["ASAN_OPTIONS"] = "detect_leaks=0"
    life = (f"create c1 {bundle.shell(WAITS)}", "state c1", "list -q", "ps -f json c1", "exec c1 true", "exec c1 true",
            "start c1", "exec -d c1 true", "exec -d c1 true", "pause c1", "state c1", "resume c1", "kill -a c1 WINCH",
            "kill c1 KILL")
    for words in life:
        assert both.answer(words, "on")[0][::2] == (0, ""), words
    both.left("stopped")
    assert both.answer("delete c1", "on") == ((0, "", ""), True)


def test_the_files_of_a_container_are_the_owner_s(both: Both, bundle: Bundle) -> None:
    both.bring(bundle.shell(WAITS), "created")
    assert stat.S_IMODE((both.runtime.root / "c1/life.plan").stat().st_mode) == 0o600
