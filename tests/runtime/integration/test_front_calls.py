"""Each system call of the front fails: for lack of memory, of descriptors or of space, or as the kernel pleases.

With strace, which lets one call fail. Python then does the work, and the caller sees no difference.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.containers import Bundle, Leftovers, Runtime, end
from tests.runtime.integration.test_killed import QUESTIONS, WAITS, alone, bring, remove, settled

pytestmark = pytest.mark.skipif(not shutil.which("strace"), reason="needs strace, which lets system calls fail")

# The error of each call. A call in neither table fails the test.
ERRORS = {
    "open": "EMFILE", "openat": "EMFILE", "socket": "EMFILE", "socketpair": "EMFILE", "pidfd_open": "EMFILE",
    "pipe2": "EMFILE", "fcntl": "EMFILE", "memfd_create": "ENFILE",
    "mmap": "ENOMEM", "stat": "ENOMEM", "fstat": "ENOMEM", "newfstatat": "ENOMEM", "access": "ENOMEM",
    "faccessat": "ENOMEM", "faccessat2": "ENOMEM", "getdents64": "ENOMEM", "recvfrom": "ENOMEM", "poll": "ENOMEM",
    "clone": "EAGAIN", "connect": "ENOMEM", "sendto": "ENOBUFS", "write": "ENOSPC", "writev": "ENOSPC",
    "sendfile": "ENOSPC", "renameat": "ENOSPC", "rename": "ENOSPC", "read": "EIO", "unlinkat": "EIO", "rmdir": "EIO",
    "pidfd_send_signal": "EPERM", "kill": "EPERM",
}
# Calls that cannot fail as the front makes them; and readlink, without which it finds no Python.
WITHOUT = {"execve", "exit_group", "arch_prctl", "set_tid_address", "rt_sigaction", "rt_sigprocmask", "rt_sigtimedwait",
           "close", "munmap", "brk", "wait4", "nanosleep", "clock_nanosleep", "getpid", "gettid", "geteuid", "readlink"}
# (status before, command line, status after)
VERBS = [
    ("running", "state c1", "running"), ("running", "list -q", "running"), ("running", "ps -f json c1", "running"),
    ("running", "exec c1 sh -c 'echo a; exit 3'", "running"),
    ("running", "exec --detach --pid-file {pid} c1 true", "running"), ("created", "start c1", "running"),
    ("running", "kill c1 TERM", "stopped"), ("running", "kill --all c1 KILL", "stopped"),
    ("running", "pause c1", "paused"), ("paused", "resume c1", "running"), ("stopped", "delete c1", "absent"),
    ("paused", "delete --force c1", "absent"),
]


class Failing:
    """A command line under strace."""

    def __init__(self, runtime: Runtime, words: str, place: Path) -> None:
        self.place = place
        self.pid_file = place / "pid"
        self.command = [str(runtime.command), "--root", str(runtime.root),
                        *shlex.split(words.replace("{pid}", str(self.pid_file)))]

    def run(self, *options: str, front: str = "on") -> tuple[int, str, str]:
        """Its exit status, and what it prints."""
        self.pid_file.unlink(missing_ok=True)
        with (self.place / "out").open("w") as out, (self.place / "err").open("w") as err:
            process = subprocess.Popen(["strace", "-qq", "-o", str(self.place / "trace"), *options, *self.command],
                                       stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                       env={**os.environ, "PYRUNTIME_FRONT": front})
            try:
                status = os.waitstatus_to_exitcode(os.waitpid(process.pid, 0)[1])   # wait(timeout) would sleep
                process.returncode = status
            finally:
                end(process)
        answer = (status, (self.place / "out").read_text(), (self.place / "err").read_text())
        assert ("--pid-file" in self.command) == self.pid_file.exists(), (options, answer)
        return answer

    @property
    def by_front(self) -> bool:
        """Whether the front gave the last answer: it started no interpreter."""
        return not re.search(r"\.snapshot|libexec/", (self.place / "trace").read_text())

    def calls(self) -> list[tuple[str, int]]:
        """The calls of the front that may fail, as a name and the how many'th of this name it is."""
        self.run()
        assert self.by_front
        count: dict[str, int] = {}
        for name in re.findall(r"^(\w+)\(", (self.place / "trace").read_text(), re.MULTILINE):
            count[name] = count.get(name, 0) + 1
        assert set(count) <= {*ERRORS, *WITHOUT}
        return [(name, number + 1) for name, times in count.items() if name in ERRORS for number in range(times)]


@pytest.mark.parametrize(("before", "words", "after"), VERBS, ids=[verb[1] for verb in VERBS])
def test_a_call_fails(runtime: Runtime, bundle: Bundle, tmp_path: Path, before: str, words: str, after: str) -> None:
    asks = words.startswith(QUESTIONS)
    failing = Failing(runtime, words, tmp_path)
    leftovers = Leftovers(runtime.root)

    def once_more() -> None:
        if not asks:
            remove(runtime, leftovers)
            bring(runtime, bundle, before)

    bring(runtime, bundle.shell(WAITS), before)
    expected = failing.run(front="off")
    once_more()
    found = [failing.calls()]
    for _ in range(2):   # `pause` asks until the kernel has paused the container: on a busy host more often
        once_more()
        found.append(failing.calls())
    calls = min(found, key=len)
    injected = handed_over = 0
    for name, number in calls:
        once_more()
        answer = failing.run("-e", f"trace={name},open,openat,execve",
                             "-e", f"inject={name}:error={ERRORS[name]}:when={number}")
        injected += "(INJECTED)" in (tmp_path / "trace").read_text()
        handed_over += not failing.by_front
        assert answer == expected, (name, number)
        settled(runtime, after)
    # Processes that are already gone are not read and not signalled.
    assert injected > len(calls) * 3 / 4 and handed_over > injected / 2, (calls, injected, handed_over)
    assert not asks or len(alone(runtime)) == 2
    remove(runtime, leftovers)   # with a directory whose ID was released, which the next `delete` removes
