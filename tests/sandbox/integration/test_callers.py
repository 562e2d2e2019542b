"""Programs in odd states that use sandboxes: with root and without, each call works, or its error names the remedy."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bundles.build import busybox_rootfs
from tests.conftest import TOP
from tests.containers import PATIENCE
from tests.sandbox.integration.test_rootless import BEGIN, home, user

__all__ = ["home"]   # a fixture

USE = """
from pyruntime.sandbox.api import PIPE
with Sandbox(ROOTFS) as box:
    done = box.run(["sh", "-c", "cat; umask; grep -h -e SigBlk -e SigIgn /proc/self/status; exit 3"], input="x\\n",
                   text=True)
    found["run"], found["status"] = done.stdout.split(), done.returncode
    box.write("/work/new/file", "content")
    found["modes"] = box.run(["stat", "-c", "%a", "/work/new/file", "/work/new", "/work", "/tmp", "/"],
                             text=True).stdout.split()
    found["read"] = box.read("/work/new/file").decode()
    with box.popen(["cat"], stdin=PIPE, text=True) as process:
        process.stdin.write("line\\n")
        found["line"] = process.stdout.readline()
        process.terminate()
        found["signal"] = process.wait()
    with box.popen(["sh", "-c", "tty"], terminal=True, text=True) as process:
        found["terminal"] = process.stdout.read().strip()
    found["timeout"] = box.run(["sleep", "60"], timeout=0.2).reason
    try:
        box.run(["no-such-program"])
    except errors.StepError as error:
        found["missing"] = "executable file not found" in str(error)
with Template(ROOTFS, setup=[["sh", "-c", "echo set >/etc/up"]], files={"/work/file": "x"}) as it:
    with it.sandbox() as box, box.fork() as other:
        found["template"] = other.run(["cat", "/etc/up", "file"], text=True).stdout
found["python"] = run_sandboxed("print('\\u00e9')", text=True).stdout
"""
EXPECTED = {"run": ["x", "0022", "SigBlk:", "0" * 16, "SigIgn:", "0" * 16], "status": 3,
            "modes": ["644", "755", "755", "1777", "755"], "read": "content", "line": "line\n", "signal": -15,
            "terminal": "/dev/pts/0", "timeout": "timeout", "missing": True, "template": "set\nx", "python": "\u00e9\n"}
STATES = {
    "not dumpable": "import ctypes; assert ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) == 0",   # PR_SET_DUMPABLE
    "SIGCHLD ignored": "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "signals blocked": "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
    "a closed umask": "os.umask(0o777)",
    "an open umask": "os.umask(0)",
    "no standard streams": "out = os.dup(1)\nfor fd in range(3): os.close(fd)",
    "few descriptors": "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))",
    "a directory that is gone": "os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')",
    "an empty environment": "os.environ.clear()",
    "an odd environment": "os.environ.update(LC_ALL='C', PATH='', TMPDIR='/nowhere', HOME='/nowhere')",
    "threads": "import time\nfor _ in range(20): threading.Thread(target=time.sleep, args=(600,), daemon=True).start()",
}


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a root filesystem."""
    with tempfile.TemporaryDirectory(prefix="pyruntime-callers-") as name:
        busybox_rootfs(Path(name, "rootfs"))
        Path(name).chmod(0o755)
        yield Path(name)


def root(place: Path, script: str) -> dict[str, Any]:
    """What a program of root finds, in ``place``."""
    done = subprocess.run([sys.executable, "-c", f"{BEGIN}{script}"], cwd=place, capture_output=True, text=True,
                          check=False, stdin=subprocess.DEVNULL, timeout=PATIENCE,
                          env={**os.environ, "PYTHONPATH": str(TOP)})
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def script(place: Path, state: str, use: str = USE) -> str:
    """A program in this state; its last line is for the standard output that it may have closed."""
    return (f"ROOTFS, out = {str(place / 'rootfs')!r}, 1\n{state}\n{use}\n"
            "os.write(out, json.dumps(found).encode() + b'\\n')\nos.set_inheritable(out, True)")


TELLS_STATUSES = tuple(map(int, os.uname().release.split("-")[0].split(".")[:2])) >= (6, 15)
PARAMETERS = [pytest.param(state, id=name, marks=pytest.mark.skipif(
    name == "SIGCHLD ignored" and not TELLS_STATUSES, reason="Linux before 6.15 forgets statuses of reaped processes:"
    " see test_a_status_that_is_lost")) for name, state in STATES.items()]


@pytest.mark.parametrize("state", PARAMETERS)
def test_with_root(place: Path, state: str) -> None:
    assert root(place, script(place, state)) == EXPECTED


@pytest.mark.parametrize("state", PARAMETERS)
def test_without_root(home: Path, state: str) -> None:
    found = user(home, script(home, state) + "\nsys.stdout = open(out, 'w') if out > 1 else sys.stdout")
    assert found == EXPECTED


PRIORITIES = {
    "a negative nice value": "os.setpriority(os.PRIO_PROCESS, 0, -5)",
    # Cgroups of version 1 may have no time for real-time processes, but for the root.
    "real time": """
tasks = "/sys/fs/cgroup/cpu/tasks"
if os.path.exists(tasks):
    with open(tasks, "w") as file:
        file.write("0")
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
""",
}


@pytest.mark.parametrize("state", PRIORITIES.values(), ids=PRIORITIES)
def test_programs_are_not_favoured(place: Path, state: str) -> None:
    """A priority above others', of which a program that is not trusted could make use, stays with the caller."""
    found = root(place, script(place, state, """
look = ["sh", "-c", "cut -d ' ' -f 19,41 /proc/self/stat; cut -d ' ' -f 19,41 /proc/1/stat"]
with Sandbox(ROOTFS) as box:
    found["run"] = box.run(look, text=True, check=True).stdout
    with box.popen(look, text=True) as process:
        found["popen"] = process.stdout.read()
found["own"] = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)
"""))
    assert found["run"] == found["popen"] == "0 0\n0 0\n" and found["own"] != [0, 0]


def test_directories_are_not_open_to_others(place: Path) -> None:
    """With a umask of 0, in a /run where no sandbox has been."""
    state = """
import subprocess
from pyruntime.system import kernel
kernel.unshare(0x20000)
subprocess.run(["mount", "--make-rprivate", "/"], check=True)
subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"], check=True)
os.umask(0)
"""
    use = """
with Sandbox(ROOTFS) as box:
    box.run(["true"], check=True)
    found["modes"] = {path: os.stat(path).st_mode for path, _, _ in os.walk("/run/pyruntime-sandbox")}
"""
    modes = root(place, script(place, state, use))["modes"]
    assert len(modes) > 2 and not [path for path, mode in modes.items() if stat.S_IMODE(mode) & 0o022]


ERRORS = """
found["told"] = []
for call in (lambda: Sandbox(ROOTFS), lambda: Template(ROOTFS, files={"/work/x": "x"})):
    try:
        call().close()
    except errors.HostError as error:
        found["told"].append(str(error))
"""
LACKS = {
    "descriptors": ("import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (6, 6))",
                    "Too many open files: close some, or allow this program more (RLIMIT_NOFILE"),
    "sizes of files": ("import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))",
                       "allow this program larger files (RLIMIT_FSIZE"),
}


@pytest.mark.parametrize("lack", LACKS)
def test_what_the_caller_lacks_is_told(place: Path, lack: str) -> None:
    state, words = LACKS[lack]
    found = root(place, script(place, state, ERRORS))
    assert len(found["told"]) == 2 and all(words in told for told in found["told"]), found


FILES = """
import resource
from pyruntime import Limits
def told(files):
    try:
        with Sandbox(ROOTFS, limits=Limits(files=files)) as box:
            return box.run(["sh", "-c", "ulimit -n; ulimit -Hn"], text=True, check=True).stdout.split()
    except errors.HostError as error:
        return str(error)
found["more"] = told(2000)
resource.setrlimit(resource.RLIMIT_NOFILE, (500, 500))
found["default"], found["all"], found["too many"] = told(None), told(500), told(501)
"""


def test_open_files_of_a_caller_with_few(place: Path, home: Path) -> None:
    """The same with root, which has CAP_SYS_RESOURCE, and without."""
    for found in (root(place, script(place, "", FILES)), user(home, script(home, "", FILES))):
        assert found["more"] == ["2000"] * 2 and found["default"] == found["all"] == ["500"] * 2
        assert found["too many"].startswith("files 501: the hard limit of this program is 500: write at most 500")


def test_another_users_runtime_directory(home: Path) -> None:
    found = user(home, script(home, "before, os.environ['XDG_RUNTIME_DIR'] = os.environ['XDG_RUNTIME_DIR'], '/root'",
                              ERRORS) + "\nos.environ['XDG_RUNTIME_DIR'] = before")
    assert len(found["told"]) == 2
    assert all('XDG_RUNTIME_DIR "/root" is not a directory that user' in told for told in found["told"])


def test_a_status_that_is_lost(place: Path) -> None:
    """Where the kernel does not keep it: the error names the reason, and the sandbox can be used."""
    found = root(place, script(place, STATES["SIGCHLD ignored"], """
from pyruntime.sandbox import run
run.reaped_status = lambda pidfd: None
with Sandbox(ROOTFS) as box:
    try:
        box.run(["true"])
    except errors.StateError as error:
        found["told"] = str(error)
    import signal
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    found["then"] = box.run(["sh", "-c", "exit 4"]).returncode
"""))
    assert "this program ignores SIGCHLD" in found["told"] and found["then"] == 4


def test_another_part_waits_for_all_children(place: Path) -> None:
    """Its waits take the statuses of runs away, which the kernel still tells (Linux 6.15)."""
    found = root(place, script(place, """
import signal
def reap(*_):
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            found["reaped"] = found.get("reaped", 0) + 1
    except ChildProcessError:
        pass
signal.signal(signal.SIGCHLD, reap)
""", """
told = []
def runs():
    try:
        for _ in range(5):
            told.append(box.run(["sh", "-c", "exit 5"]).returncode)
    except errors.StateError as error:
        told.append(str(error))
with Sandbox(ROOTFS) as box:
    thread = threading.Thread(target=runs)   # the main thread carries out the handlers
    thread.start()
    while thread.is_alive():
        thread.join(0.01)
found["told"] = told
"""))
    assert found["told"] == [5] * 5 or (not TELLS_STATUSES and "is lost" in found["told"][-1]), found


def test_an_exception_of_a_signal_handler(place: Path) -> None:
    """While a sandbox is being made in another thread: it is removed when it exists."""
    found = root(place, script(place, """
import signal, time
from pyruntime.sandbox import container
class Alarm(Exception):
    pass
def alarm(*_):
    raise Alarm
signal.signal(signal.SIGALRM, alarm)
create = container.SandboxContainer._create
def interrupted(*words):
    create(*words)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)
    time.sleep(0.1)
def mine():
    tasks = os.listdir("/proc/self/task")
    children = "".join(open(path).read() for path in map("/proc/self/task/{}/children".format, tasks))
    states = [name for name in os.listdir("/run/pyruntime-sandbox/state") if f"-{os.getpid()}-" in name]
    return [children.split(), states, len(os.listdir("/proc/self/fd"))]
""", """
with Sandbox(ROOTFS):
    pass
found["before"] = mine()
container.SandboxContainer._create = interrupted
try:
    Sandbox(ROOTFS)
except Alarm:
    found["stopped"] = True
found["after"] = mine()
"""))
    assert found["stopped"] and found["after"] == found["before"], found
    assert found["before"][:2] == [[], []]
