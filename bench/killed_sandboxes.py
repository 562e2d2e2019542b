"""Kill programs that use sandboxes at random moments: ``python -m bench.killed_sandboxes [ROUNDS [SEED]]``, as root.

After each kill another program uses a sandbox, as the next user would; then nothing of the killed program may be left:
no process, no cgroup, no directory, no mount on the host. Prints what was found, and exits with 1 if anything was.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from pyruntime.runtime.cgroups.host import discover
from pyruntime.sandbox.configuration import INIT
from pyruntime.sandbox.leftovers import PLACE

# The killed program: all that the library has, again and again.
VICTIM = """
import threading
from pyruntime import Limits, Pool, Sandbox, Template
print("begun", flush=True)
number = 0
while True:
    number += 1
    with Sandbox.host(limits=Limits(memory="64m")) as box:
        box.write("/work/file", "x")
        box.run(["true"])
        process = box.popen(["sh", "-c", "(setsid sleep 98765 &); trap '' TERM; sleep 98765"])
        box.run(["sh", "-c", "sleep 98765 & exit 1"])
        for _ in box.stream(["echo", "x"]):
            pass
        if number % 2:
            process.close()
    if number % 3 == 0:
        with Template(files={"/work/file": "x"}, setup=[["true"]]) as template, Pool(template, 2) as pool:
            pool.run(["true"])
"""
NEXT = "from pyruntime import Sandbox\nwith Sandbox.host() as box: box.run(['true'], check=True)"


def remains(pid: int, seen: list[str]) -> Counter[str]:
    """What is there of a program's sandboxes; the processes are added to ``seen``."""
    found: Counter[str] = Counter()
    state = Path(PLACE, "state")
    found["directories"] = sum(f"sandbox-{pid}-" in name for name in (os.listdir(state) if state.exists() else []))
    found["cgroups"] = sum(1 for hierarchy in discover().all()
                           for _ in Path(hierarchy.mountpoint).glob(f"sandbox-{pid}-*"))
    found["mounts"] = sum(PLACE in line for line in Path("/proc/self/mountinfo").read_text().splitlines())
    own = Path("/proc/self/cgroup").read_text()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes()
            groups = (place / "cgroup").read_text()
            session = os.getsid(int(place.name))
        except OSError:
            continue
        if not words:
            continue   # a kernel thread, or ended: process 1 has not reaped it yet
        if "sandbox-" in groups and f"sandbox-{pid}-" not in groups:
            continue   # of another program
        orphan = INIT.encode() in words and groups == own
        if words == b"sleep\x0098765\x00" or f"sandbox-{pid}-" in groups or session == pid or orphan:
            found["processes"] += 1
            seen.append(f"{place.name} {words!r} {groups.split()[0]}")
    return +found


def main(rounds: int, seed: int) -> int:
    """Returns the exit status."""
    chance = random.Random(seed)
    wrong: Counter[str] = Counter()
    before: Counter[str] = Counter()
    for number in range(rounds):
        with subprocess.Popen([sys.executable, "-c", VICTIM], stdout=subprocess.PIPE, text=True,
                              start_new_session=True) as program:
            assert program.stdout
            program.stdout.readline()
            time.sleep(chance.uniform(0, 0.25))
            program.kill()
        before += remains(program.pid, [])
        subprocess.run([sys.executable, "-c", NEXT], check=True)
        seen: list[str] = []
        found = remains(program.pid, seen)
        if found:
            print(f"round {number}: {dict(found)} {seen}", flush=True)
        wrong += found
    print(f"{rounds} rounds: {dict(before)} right after the kills, {dict(wrong) or 'nothing'} after the next use")
    return 1 if wrong else 0


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    sys.exit(main(numbers[0] if numbers else 300, numbers[1] if len(numbers) > 1 else 1))
