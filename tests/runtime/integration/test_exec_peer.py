"""exec, pause, resume and ps compared with runc: the same container, the same arguments, the same results."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers import PATIENCE, Bundle, Runtime

RUNC = shutil.which("runc")
pytestmark = pytest.mark.skipif(not RUNC, reason="needs runc for the comparison")

Answer = tuple[int, str, str]


def _runc(root: Path, *words: str) -> Answer:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        done = subprocess.run([str(RUNC), "--root", str(root), *words], stdin=subprocess.DEVNULL, stdout=out,
                              stderr=err, timeout=PATIENCE, check=False)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return done.returncode, texts[0], texts[1].replace('\\"', '"')


@pytest.fixture
def peer(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> Iterator[Path]:
    """runc's state directory. Each runtime has its own container of one bundle; p.json is the process file."""
    bundle.config["ociVersion"] = "1.0.0"   # old releases refuse newer versions
    bundle.config["process"]["capabilities"].pop("ambient", None)
    bundle.shell("sleep 1000", process__env=["PATH=/bin", "TERM=xterm", "A=one"])
    (tmp_path / "p.json").write_text('{"cwd": "/tmp", "args": ["sh", "-c", "env; pwd; id"], "env": ["PATH=/bin"],'
                                     ' "user": {"uid": 3, "gid": 4, "additionalGids": [5]}}')
    root = tmp_path / "runc"
    status, _, error = _runc(root, "run", "--detach", "--bundle", str(bundle), f"{tmp_path.name}-runc")
    if status:
        pytest.skip(f"runc cannot run this: {error}")
    try:
        runtime.ok("run", "--detach", "c1", bundle)
        yield root
    finally:
        _runc(root, "delete", "--force", f"{tmp_path.name}-runc")


# The arguments before and after the ID, and the phrase of both in an error.
PAIRS: list[tuple[str, str, str]] = [
    ("exec", "true", ""),
    ("exec", "sh -c 'exit 7'", ""),
    ("exec", "sh -c 'kill -9 $$'", ""),
    ("exec", "sh -c 'kill -TERM $$'", ""),
    ("exec", "env", ""),
    ("exec", "id", ""),
    ("exec", "pwd", ""),
    ("exec", "echo --cwd -x --", ""),
    ("exec", "sh -c 'grep -e Cap -e NoNew /proc/self/status; cat /proc/self/oom_score_adj; ulimit -a; umask; tty'", ""),
    ("exec", "ls /proc/self/fd", ""),
    ("exec", "sh -c 'ls -l / | cut -c1-10; cat /proc/self/limits; cat /proc/self/uid_map'", ""),
    ("exec --cwd /proc -e B=2 -e A=three", "sh -c 'env; pwd'", ""),
    ("exec --env HOME=", "env", ""),
    ("exec --user 1000:1001 -g 5 -g 6", "sh -c 'id; env; grep Cap /proc/self/status'", ""),
    ("exec --user 4321", "env", ""),
    ("exec --cap CAP_NET_ADMIN --cap CAP_SYS_TIME", "grep Cap /proc/self/status", ""),
    ("exec --cap CAP_NOSUCH", "grep Cap /proc/self/status", ""),
    ("exec --no-new-privs", "grep NoNew /proc/self/status", ""),
    ("exec --process {tmp}/p.json", "", ""),
    ("exec --tty", "true", "open /dev/tty|"),
    ("exec", "nosuch", 'exec: "nosuch": executable file not found in $PATH'),
    ("exec", "/x", 'exec: "/x": stat /x: no such file or directory'),
    ("exec", "/etc/passwd", 'exec: "/etc/passwd": permission denied'),
    ("exec", "", "args cannot be empty"),
    ("exec --cwd /x", "true", 'chdir to cwd ("/x") set in config.json failed: no such file or directory'),
    ("exec --cwd x", "true", "Cwd must be an absolute path"),
    ("exec --user x", "true", ""),
    ("exec --env x", "true", '"x"'),
    ("exec --process /nonexistent", "", "open /nonexistent: no such file or directory"),
    ("exec --detach --tty", "true", "will detach without setting console socket"),
    ("exec --console-socket /x", "true", "will not detach or allocate tty"),
    ("exec --pid-file /nonexistent/x", "true", ""),
    ("exec --cgroup /nonexistent", "true", ""),
    ("exec --cgroup ../..", "true", "../.. is not a sub cgroup path"),
    ("exec --cgroup x:y:z", "true", "invalid --cgroup argument: x:y:z"),
    ("exec --cgroup x --cgroup y", "true", "invalid --cgroup argument: x (missing <controller>: prefix)"),
    ("exec --cgroup x:/", "true", "unknown controller x in SubCgroupPaths"),
    ("exec --nosuch", "true", "flag provided but not defined: -nosuch"),
    ("resume", "", "container not paused"),
    ("ps --format x", "", "invalid format option"),
    ("ps", "-o comm", "couldn't find PID field in ps output"),
    ("ps", "-e -o user,pid", ""),
    ("ps --format json", "", ""),
]


def test_results_are_those_of_runc(runtime: Runtime, peer: Path, tmp_path: Path) -> None:
    import shlex

    wrong = []
    for before, after, phrase in PAIRS:
        words = shlex.split(before.format(tmp=tmp_path))
        rest = shlex.split(after)
        done = runtime(*words, "c1", *rest)
        ours = (done.returncode, done.stdout, done.stderr)
        theirs = _runc(peer, *words, f"{tmp_path.name}-runc", *rest)
        if "--tty" in words and "--detach" not in words:
            if ours[0]:
                wrong.append(f"{before}: {ours}")   # pyruntime works without a terminal of the caller
            continue
        for name, answer in (("ours", ours), ("runc's", theirs)):
            if phrase not in answer[2]:
                wrong.append(f"{before} ... {after}: {name} lacks the phrase: {answer}")
        if _same(ours) != _same(theirs):
            wrong.append(f"{before} ... {after}:\n  ours   {_same(ours)}\n  theirs {_same(theirs)}")
    assert not wrong, "\n".join(wrong)


def _same(answer: Answer) -> tuple[int, str, bool]:
    """The parts to compare: exit status, output without process IDs, and whether there was a message."""
    output = answer[1] if not answer[1].startswith(("NAME:", "Incorrect")) else ""
    output = re.sub(r"\b\d{2,}\b(?=\n|\]|$)", "N", output) if "PID" in output or output.startswith("[") else output
    return answer[0], output, bool(answer[2])


def test_paused(runtime: Runtime, peer: Path, tmp_path: Path) -> None:
    other = f"{tmp_path.name}-runc"
    for words, phrase in ((["pause"], ""), (["pause"], "container not running"),
                          (["exec", "ID", "true"], "cannot exec in a paused container (use --ignore-paused to"),
                          (["state"], ""), (["resume"], ""), (["resume"], "container not paused")):
        answers = []
        for name in ("c1", other):
            line = [name if word == "ID" else word for word in words] if "ID" in words else [*words, name]
            if name == "c1":
                done = runtime(*line)
                answers.append((done.returncode, done.stdout, done.stderr))
            else:
                answers.append(_runc(peer, *line))
        assert answers[0][0] == answers[1][0], (words, answers)
        assert phrase in answers[0][2] and phrase in answers[1][2], (words, answers)
        assert ('"status": "paused"' in answers[0][1]) == ('"status": "paused"' in answers[1][1])
