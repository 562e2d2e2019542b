"""Each verb is killed, and init dies, at each moment of the verb that could make a difference.

With strace, which kills or stops a command at a system call. Through the front every call is such a moment. A start of
the interpreter makes hundreds of calls that read: there, only calls that change something or wait are moments, from
the first look at the container on, because a kill before a read leaves what a kill before the next change leaves.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pyruntime.system.processes import dying, start_time
from tests.containers import PATIENCE, Bundle, Leftovers, Runtime, end

pytestmark = pytest.mark.skipif(not shutil.which("strace"), reason="needs strace, which stops a command")

WAITS = "trap 'exit 3' TERM; sleep 100 & wait"
# (command line, status before, statuses after a kill)
VERBS = [
    ("state c1", "running", "running"), ("list -q", "running", "running"), ("ps -f json c1", "running", "running"),
    ("exec c1 true", "running", "running"),
    ("start c1", "created", "created|running|stopped"),
    ("kill -a c1 KILL", "running", "running|stopped"), ("kill c1 KILL", "paused", "paused|running|stopped"),
    ("pause c1", "running", "running|paused"), ("resume c1", "paused", "paused|running"),
    ("delete c1", "stopped", "stopped|absent"), ("delete --force c1", "paused", "paused|running|stopped|absent"),
]
QUESTIONS = ("state", "list", "ps", "exec")   # they change nothing: the container serves for the next moment, too
_READS = re.compile(r"(read|pread64|readlink|[fl]?stat|newfstatat|statx|statfs|fstatfs|lseek|access|faccessat2?"
                    r"|getdents64|close|mmap|munmap|mprotect|mremap|brk|madvise|rt_sig\w+|sigaltstack|fcntl|ioctl|get\w+|set_\w+"
                    r"|clock_\w+|uname|sched_\w+|prlimit64|arch_prctl|futex|rseq|pidfd_open|socket|umask)\(")


def bring(runtime: Runtime, bundle: Bundle, status: str) -> None:
    """Create the container c1 in a status, with the front, which is faster."""
    lines = ["create c1 {bundle}", *(["start c1"] if status != "created" else []),
             *{"paused": ["pause c1"], "stopped": ["kill c1 KILL"]}.get(status, [])]
    for line in lines:
        runtime.ok(*line.format(bundle=bundle).split(), env={"PYRUNTIME_FRONT": "on"})
    if status == "stopped":
        settled(runtime, "stopped")


class Traced:
    """A command line of the runtime under strace."""

    def __init__(self, runtime: Runtime, words: str, place: Path) -> None:
        self.command = [str(runtime.command), "--root", str(runtime.root), *words.split()]
        self.log = place / "trace"
        self.output = place / "output"
        self.front = os.environ["PYRUNTIME_FRONT"] == "on"

    def moments(self) -> list[tuple[str, int]]:
        """The calls of a whole execution, as a name and the how many'th of this name it is."""
        assert self.run().wait(PATIENCE) == 0
        count: dict[str, int] = {}
        found = []
        seen = False
        for line in self.log.read_text().splitlines():
            if name := re.match(r"(\w+)\(", line):
                count[name[1]] = count.get(name[1], 0) + 1
                seen = seen or "state.json" in line or "/c1" in line
                reads = _READS.match(line) or (name[1] == "openat" and not re.search("O_CREAT|O_WRONLY|O_RDWR", line))
                if name[1] not in ("execve", "exit_group") and (self.front or (seen and not reads)):
                    found.append((name[1], count[name[1]]))
        assert self.front == (count["execve"] == 1 and ".snapshot" not in self.log.read_text()), "who answered?"
        assert len(found) > (20 if self.front else 0)
        return found

    def run(self, moment: tuple[str, int] | None = None, number: str = "") -> subprocess.Popen[bytes]:
        """Start the command, which gets the signal at a moment."""
        self.log.unlink(missing_ok=True)
        inject = ["-e", f"inject={moment[0]}:signal={number}:when={moment[1]}"] if moment else []
        trace = ["-e", f"trace={moment[0]}"] if moment else []
        with self.output.open("w") as output:
            return subprocess.Popen(["strace", "-qq", "-o", str(self.log), *trace, *inject, *self.command],
                                    stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def await_stop(self, strace: subprocess.Popen[bytes]) -> None:
        """Wait until the command has been stopped, or has ended."""
        deadline = time.monotonic() + PATIENCE
        while strace.poll() is None and not (self.log.exists() and "stopped by SIGSTOP" in self.log.read_text()):
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.002)

    @staticmethod
    def resume(strace: subprocess.Popen[bytes]) -> None:
        """Let the command go on."""
        os.kill(int(Path(f"/proc/{strace.pid}/task/{strace.pid}/children").read_text().split()[0]), signal.SIGCONT)


def remove(runtime: Runtime, leftovers: Leftovers) -> None:
    """Remove the container, in whatever status: nothing is left."""
    runtime.ok("delete", "--force", "c1")
    leftovers.check()


def settled(runtime: Runtime, statuses: str) -> str:
    """The status, once the front and Python agree, and no process is just ending."""
    deadline = time.monotonic() + PATIENCE
    while True:
        said = [runtime("state", "c1", env={"PYRUNTIME_FRONT": front}) for front in ("on", "off")]
        status = json.loads(said[0].stdout)["status"] if said[0].returncode == 0 else "absent"
        if said[0].stdout == said[1].stdout and status in statuses.split("|"):
            return str(status)
        assert time.monotonic() < deadline, (statuses, said)


def alone(runtime: Runtime) -> list[int]:
    """The container's processes, once those of an `exec` have gone: init and its child."""
    deadline = time.monotonic() + PATIENCE
    while len(found := json.loads(runtime.ok("ps", "-f", "json", "c1"))) != 2:
        assert time.monotonic() < deadline, found
        time.sleep(0.01)
    return list(found)


@pytest.mark.parametrize(("words", "before", "after"), VERBS, ids=[verb[0] for verb in VERBS])
def test_a_verb_is_killed(runtime: Runtime, bundle: Bundle, tmp_path: Path, words: str, before: str,
                          after: str) -> None:
    """`state` tells the truth, and `delete --force` leaves nothing."""
    asks = words.startswith(QUESTIONS)
    leftovers = Leftovers(runtime.root)
    bring(runtime, bundle.shell(WAITS), before)
    traced = Traced(runtime, words, tmp_path)
    moments = traced.moments()
    processes = alone(runtime) if asks else []
    tried = killed = 0
    # Fewer calls of the front for verbs that change less.
    for moment in moments[::1 if words.startswith(("start", "delete")) or not traced.front else 2]:
        tried += 1
        if not asks:
            remove(runtime, leftovers)
            bring(runtime, bundle, before)
        process = traced.run(moment, "SIGKILL")
        try:
            status = process.wait(PATIENCE)
        finally:
            end(process)
        assert status in (0, -signal.SIGKILL), (moment, status)
        killed += status != 0
        settled(runtime, after)
        assert not asks or alone(runtime) == processes, moment
    remove(runtime, leftovers)
    assert runtime("delete", "c1").returncode == 1
    # Where processes have gone by then, there is less to read, to kill and to wait for than in the first execution.
    assert killed >= tried / 4, (killed, moments)


@pytest.mark.parametrize("before", ["running", "paused"])
@pytest.mark.parametrize("pids", ["own", "shared"])
def test_a_killed_kill_leaves_nothing_frozen(runtime: Runtime, bundle: Bundle, tmp_path: Path, pids: str,
                                             before: str) -> None:
    """Once init has been sent SIGKILL, the next look at the container ends it, whatever `kill` had frozen by then."""
    if pids == "shared":   # frozen, so that no process escapes by forking
        bundle.config["linux"]["namespaces"] = [space for space in bundle.config["linux"]["namespaces"]
                                                if space["type"] != "pid"]
    bring(runtime, bundle.shell(WAITS), before)
    traced = Traced(runtime, "kill --all c1 KILL", tmp_path)
    traced.front = traced.front and pids == "own"   # else Python's, both ways
    frozen = 0
    for moment in [moment for moment in traced.moments() if moment[0] in ("write", "kill", "pidfd_send_signal")]:
        runtime.ok("delete", "--force", "c1")
        bring(runtime, bundle, before)
        init = runtime.state("c1")["pid"]
        process = traced.run(moment, "SIGKILL")
        try:
            process.wait(PATIENCE)
        finally:
            end(process)
        killed = dying(init) or not start_time(init)
        frozen += dying(init)
        # Not asked both ways at first: the first look changes what the second finds.
        deadline = time.monotonic() + PATIENCE
        while (status := runtime.state("c1")["status"]) != ("stopped" if killed else before):
            assert time.monotonic() < deadline, (moment, status)
            killed = killed or not start_time(init)   # the signal may be delivered later than it was sent
        if killed:
            runtime.ok("delete", "c1")
    # A running init has usually died before its cgroup is frozen.
    assert frozen or before == "running"


# Not `exec`: init can only die when the host's init has reaped the orphan of the exec, which may take seconds.
WITH_INIT = [verb[:2] for verb in VERBS if verb[1] != "stopped" and not verb[0].startswith("exec")]


@pytest.mark.parametrize(("words", "before"), WITH_INIT, ids=[verb[0] for verb in WITH_INIT])
def test_init_dies_during_a_verb(runtime: Runtime, bundle: Bundle, tmp_path: Path, words: str, before: str) -> None:
    """The verb succeeds or reports an error, and does not hang; the container is stopped, and can be deleted."""
    leftovers = Leftovers(runtime.root)
    bring(runtime, bundle.shell(WAITS), before)
    traced = Traced(runtime, words, tmp_path)
    moments = traced.moments()
    reached = 0
    for moment in moments[::6 if traced.front else 1]:
        remove(runtime, leftovers)
        bring(runtime, bundle, before)
        init = runtime.state("c1")["pid"]
        process = traced.run(moment, "SIGSTOP")
        try:
            traced.await_stop(process)
            if process.poll() is None:
                reached += 1
                os.kill(init, signal.SIGKILL)
                # A frozen init does not die.
                deadline = time.monotonic() + 0.05
                while start_time(init) and time.monotonic() < deadline:
                    time.sleep(0.002)
                traced.resume(process)
            status = process.wait(PATIENCE)
        finally:
            end(process)
        said = traced.output.read_text()
        assert "Traceback" not in said and (status == 0 or "error" in said), (moment, status, said)
        # A frozen init dies when it is thawed.
        settled(runtime, "paused|stopped|absent" if before == "paused" or words == "pause c1" else "stopped|absent")
    remove(runtime, leftovers)
    assert reached


def test_a_delete_is_overtaken(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """At each moment, by another `delete` and by a `create` of the same ID, whose container is not this one's."""
    bring(runtime, bundle.shell(WAITS), "stopped")
    traced = Traced(runtime, "delete c1", tmp_path)
    moments = traced.moments()
    reached = 0
    for moment in moments[::3 if traced.front else 1]:
        runtime("delete", "--force", "c1")
        bring(runtime, bundle, "stopped")
        process = traced.run(moment, "SIGSTOP")
        try:
            traced.await_stop(process)
            if process.poll() is None:
                reached += 1
                runtime("delete", "c1")
                bring(runtime, bundle, "running")
                traced.resume(process)
                assert process.wait(PATIENCE) in (0, 1)
                assert settled(runtime, "running"), moment
                record = json.loads((runtime.root / "c1/state.json").read_text())
                assert all(map(os.path.isdir, record["cgroup"].values())), moment
                names = [path.name for path in runtime.root.iterdir() if path.name[0] != "."]
                assert names == ["c1"], (moment, traced.output.read_text())
        finally:
            end(process)
    assert reached > len(moments) / 4
