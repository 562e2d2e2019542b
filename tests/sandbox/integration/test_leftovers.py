"""Nothing is left of a sandbox when its program is killed, forks, or does not close it; `pyruntime sandbox prune`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pyruntime import HostMount, Runtime, Sandbox
from pyruntime.errors import StateError, StepError, UsageError
from pyruntime.sandbox.leftovers import PLACE, prune
from pyruntime.sandbox.sources import Directory, Prepared
from tests.commands import COMMAND
from tests.conftest import TOP
from tests.containers import PATIENCE
from tests.sandbox.programs import await_programs


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


def test_an_error_of_the_source_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a directory"):
        Sandbox(tmp_path / "none")
    with pytest.raises(StepError):
        Sandbox(tmp_path, mounts=[HostMount("/no/such/file", "/x")])


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
