"""Runs and times commands for ``python -m bench``: reads a JSON array of words per line, and writes a JSON object per
line.

Each runtime has a worker, so that the environment of a runtime (for crun, a mount namespace without the hybrid cgroup
mount) is set up once and not timed.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time

PATIENCE = 30


def run(words: list[str]) -> dict[str, object]:
    """Run a command and wait for it; ``status`` is None if it took longer than PATIENCE seconds and was killed."""
    # A file, not a pipe: a created container keeps standard error open.
    with tempfile.TemporaryFile() as errors:
        begin = time.perf_counter()
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors)
        # Popen.wait with a timeout sleeps for 0.5, 1, 2, 4, ... ms between checks: times would be 7.5, 15.5 or 31.5.
        pidfd = os.pidfd_open(process.pid)
        ended = select.poll()
        ended.register(pidfd, select.POLLIN)
        done = bool(ended.poll(PATIENCE * 1000))
        seconds = time.perf_counter() - begin
        os.close(pidfd)
        if not done:
            process.kill()
        status = process.wait() if done else None
        process.wait()
        errors.seek(0)
        return {"seconds": seconds, "status": status, "error": errors.read(2000).decode("utf-8", "replace").strip()}


def main() -> None:
    """Serve until end of input."""
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
