"""kill -9 of the command and of the monitor at random moments: `ps` tells the truth, and `rm -f` leaves nothing."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.pocker.integration.command import Pocker

_FLAGS: tuple[tuple[str, ...], ...] = ((), ("-d",), ("--rm",), ("--restart", "always"))
_ROUNDS = 50


def _others(pocker: Pocker, command: int) -> list[int]:
    """Every process of pocker but the command itself: monitors, and children that are about to become one."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if (entry.name.isdecimal() and int(entry.name) != command
                    and str(pocker.root).encode() in (entry / "cmdline").read_bytes()):
                found.append(int(entry.name))
        except OSError:
            continue   # the process ended in the meantime
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_kills_at_any_moment(pocker: Pocker, seed: int) -> None:
    chance = random.Random(seed)
    for number in range(_ROUNDS // 2):
        name = f"victim{number}"
        with pocker.start("run", "--name", name, "--network", "none", *chance.choice(_FLAGS), "busybox", "sh", "-c",
                          "sleep 0.05; exit 3") as running:
            time.sleep(chance.random() * 0.16)
            if chance.random() < 0.5:
                running.kill()
            else:
                for pid in _others(pocker, running.pid):
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        continue
            running.communicate(timeout=60)
        assert pocker.statuses().get(name, "removed") in ("created", "running", "restarting", "exited", "removed")
        pocker.ok("rm", "-f", name)
        pocker.check()


def test_the_status_is_true_after_each_death(pocker: Pocker) -> None:
    """A container whose status `ps` knows, running or exited, whichever process was killed."""
    for number in range(10):
        name = f"sleeper{number}"
        pocker.ok("run", "-d", "--name", name, "--network", "none", "busybox", "sleep", "1000")
        run = pocker.run_file(name)
        victim = run["monitor"][0] if number % 2 else run["pid"]
        os.kill(victim, signal.SIGKILL)
        if number % 2:
            assert pocker.statuses()[name] == "running"
        else:
            assert pocker.ok("wait", name) == "137"
            assert pocker.ok("inspect", "-f", "{{.State.ExitCode}}", name) == "137"
        pocker.ok("rm", "-f", name)
    pocker.check()
