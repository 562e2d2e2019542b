"""Runs and times commands for ``python -m bench``: reads a JSON array of words per line, and writes a JSON object per
line. The arguments are the worker's cgroup, and the file that counts the CPU time of this cgroup and others beside it.

Each runtime has a worker, so that the environment of a runtime (for crun, a mount namespace without the hybrid cgroup
mount; for each, a cgroup) is set up once and not timed. As below containerd's shim, the containers' processes are
adopted and reaped at once, by the parent of the worker: `delete --force` waits for that, and not every host's init is
quick.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import tempfile
import time
from pathlib import Path

from bench.interpreter import clean_environment
from bench.libc import become_subreaper

PATIENCE = 20   # seconds
# Python ignores these, and a program that is executed would, too.
_DEFAULT_SIGNALS = [signal.SIGPIPE, signal.SIGXFSZ]


def run(words: list[str], environment: dict[str, str]) -> dict[str, object]:
    """Run a command and wait for it: ``seconds``, ``status`` and the ``error`` output. ``status`` is None if it took
    longer than PATIENCE seconds and was killed. Raises FileNotFoundError if there is no such program."""
    # Files, not pipes: a created container keeps standard output and standard error open.
    with tempfile.TemporaryFile() as errors, Path("/dev/null").open("r+b") as null:
        actions = [(os.POSIX_SPAWN_DUP2, source.fileno(), target)
                   for target, source in enumerate((null, null, errors))]
        begun = time.perf_counter()
        pid = os.posix_spawn(words[0], words, environment,
                             file_actions=actions, setsigdef=_DEFAULT_SIGNALS)
        # Popen.wait with a timeout sleeps for 0.5, 1, 2, 4, ... ms between checks: times would be 7.5, 15.5 or 31.5.
        pidfd = os.pidfd_open(pid)
        ended = select.poll()
        ended.register(pidfd, select.POLLIN)
        done = bool(ended.poll(PATIENCE * 1000))
        seconds = time.perf_counter() - begun
        os.close(pidfd)
        if not done:
            os.kill(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        errors.seek(0)
        return {"seconds": seconds, "status": status if done else None,
                "error": errors.read(2000).decode("utf-8", "replace").strip()}


def consumed(account: str) -> float:
    """CPU seconds that the worker's cgroup, which contains those of its containers, has used without the worker."""
    own = time.process_time()   # first: this makes the kernel charge the time since the last tick to the cgroup, too
    text = Path(account).read_text()
    if account.endswith("cpu.stat"):   # cgroup v2; cpuacct.usage is a number of nanoseconds
        return int(text.split()[1]) / 1e6 - own
    return int(text) / 1e9 - own


def reap_for(worker: int) -> int:
    """Reap adopted processes until the worker exits; return its exit status."""
    while True:
        pid, status = os.wait()
        if pid == worker:
            return os.waitstatus_to_exitcode(status)


def main() -> int:
    """Serve until end of input. ``begun`` and ``ended`` are readings of ``consumed``."""
    group, account = sys.argv[1:]
    become_subreaper()
    if worker := os.fork():
        return reap_for(worker)
    Path(group, "cgroup.procs").write_text("0")
    environment = clean_environment(dict(os.environ))
    for line in sys.stdin:
        begun = consumed(account)
        answer = run(json.loads(line), environment)
        print(json.dumps({**answer, "begun": begun, "ended": consumed(account)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
