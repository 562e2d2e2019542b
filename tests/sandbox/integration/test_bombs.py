"""Programs that take all they can get: each ends within its limits, is reported as what it was, and leaves nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pyruntime import Limits, Sandbox, Template
from pyruntime.errors import PyruntimeError, SandboxFileError
from pyruntime.sandbox.sources import HostSource


def test_fork_bomb(rootfs: Path) -> None:
    with Sandbox(rootfs, limits=Limits(pids=50)) as box:
        begun = time.monotonic()
        done = box.run(["sh", "-c", "f() { f | f & }; f; sleep 300"], timeout=1)
        assert done.timed_out or done.returncode != 0
        assert time.monotonic() - begun < 60
        count = box.run(["sh", "-c", "ls -d /proc/[0-9]* | wc -l"], text=True)
        assert int(count.stdout) <= 4, "more than init, sh, ls, wc"


def test_filled_pids(rootfs: Path) -> None:
    with Sandbox(rootfs, limits=Limits(pids=20)) as box:
        done = box.run(["sh", "-c", "while sleep 300 & do :; done; exit 9"], timeout=10)
        assert (done.reason, done.timed_out) == ("exited", False) and done.returncode
        assert b"fork" in done.stderr
        assert box.run(["true"]).returncode == 0


def test_memory_bomb() -> None:
    with Sandbox.host(limits=Limits(memory="64m")) as box:
        done = box.run(["python3", "-c", "x = []\nwhile 1: x.append(bytearray(1 << 20))"], timeout=30)
        assert (done.reason, done.oom_killed, done.returncode) == ("oom", True, -9)
        assert 60 << 20 < done.usage.memory <= 64 << 20
        after = box.run(["true"])
        assert (after.reason, after.oom_killed) == ("exited", False)


def test_memory_bomb_in_a_child() -> None:
    with Sandbox.host(limits=Limits(memory="64m")) as box:
        bomb = "x = []\nwhile 1: x.append(bytearray(1 << 20))"
        done = box.run(["sh", "-c", f"python3 -c '{bomb}'; exit 0"], timeout=30)
        assert (done.reason, done.oom_killed, done.returncode) == ("exited", True, 0)


def test_the_killed_by_hand_is_not_out_of_memory(box: Sandbox) -> None:
    done = box.run(["sh", "-c", "kill -9 $$"])
    assert (done.reason, done.oom_killed) == ("signal", False)


@pytest.mark.parametrize("place", ["/work", "/tmp", "/dev/shm", ""])
def test_disk_bomb(rootfs: Path, place: str) -> None:
    with Sandbox(rootfs, limits=Limits(disk="8m"), user=0, writable=not place) as box:
        done = box.run(["dd", "if=/dev/zero", f"of={place}/big", "bs=1M", "count=100"], timeout=20)
        assert done.returncode and b"No space left" in done.stderr
        with pytest.raises(SandboxFileError, match="no space left"):
            box.write("/work/more", bytes(1 << 20))


def test_many_files(rootfs: Path) -> None:
    with Sandbox(rootfs, limits=Limits(disk="1m")) as box:
        done = box.run(["sh", "-c", "i=0; while true >$i; do i=$((i+1)); done; echo $i"], timeout=20)
        assert done.reason == "exited" and 500 < int(done.stdout) < 1100, done


def test_ten_gigabytes_of_output(box: Sandbox) -> None:
    before = _resident()
    done = box.run(["dd", "if=/dev/zero", "bs=1M", "count=10240"], timeout=60, max_output="1m")
    assert (done.reason, done.returncode, done.truncated, len(done.stdout)) == ("exited", 0, True, 1 << 20)
    assert _resident() - before < 20 << 20


def test_output_that_may_end_the_run(box: Sandbox) -> None:
    done = box.run(["yes"], timeout=30, max_output=1000, output_kills=True)
    assert (done.reason, done.truncated, len(done.stdout)) == ("output", True, 1000)
    assert done.usage.wall < 5


def test_endless_output_and_a_timeout(box: Sandbox) -> None:
    done = box.run(["sh", "-c", "yes & yes >&2"], timeout=0.5)
    assert (done.reason, len(done.stdout), len(done.stderr)) == ("timeout", 1 << 20, 1 << 20)
    assert done.usage.wall < 3


def test_term_is_ignored(box: Sandbox) -> None:
    done = box.run(["sh", "-c", "trap '' TERM INT HUP; while :; do sleep 1; done"], timeout=0.3)
    assert done.timed_out and done.usage.wall < 3


def test_double_fork_and_setsid(box: Sandbox) -> None:
    script = "(setsid sh -c 'trap \"\" TERM HUP; sleep 300' >/dev/null 2>&1 &) & exit 7"
    done = box.run(["sh", "-c", script], timeout=10)
    assert (done.reason, done.returncode) == ("exited", 7)
    assert "sleep 300" not in str(box.run(["ps"], text=True).stdout)


def test_closed_output(box: Sandbox) -> None:
    done = box.run(["sh", "-c", "exec >&- 2>&-; sleep 0.3; exit 6"], timeout=10)
    assert (done.reason, done.returncode, done.stdout) == ("exited", 6, b"") and done.usage.wall >= 0.3
    assert box.run(["sh", "-c", "exec >&- 2>&- <&-; sleep 300"], timeout=0.3).timed_out


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_two_hundred_sandboxes_one_after_another(rootfs: Path) -> None:
    before = 0
    for number in range(200):
        with Sandbox(rootfs) as box:
            assert box.run(["true"]).returncode == 0
        before = before or (_resident() if number == 20 else 0)
    assert _resident() - before < 4 << 20


@pytest.mark.parametrize("limits", [Limits(pids=10**9), Limits(cpus=1e9)])
def test_limits_that_the_kernel_refuses_are_errors(rootfs: Path, limits: Limits) -> None:
    """They do not make a sandbox without limits."""
    with pytest.raises(PyruntimeError, match="cgroup"):
        Sandbox(rootfs, limits=limits)


def test_the_least_disk(rootfs: Path) -> None:
    for source in (HostSource(), rootfs):
        with Template(source, files={"/work/data": "x" * 1000}, limits=Limits(disk="256k")) as template, \
                template.sandbox() as box:
            assert box.run(["sh", "-c", "cat data >copy"]).returncode == 0


def test_root_cannot_fill_dev(rootfs: Path) -> None:
    with Sandbox(rootfs, limits=Limits(disk="8m"), user=0) as box:
        done = box.run(["dd", "if=/dev/zero", "of=/dev/big", "bs=1k", "count=100"])
        assert done.returncode and b"No space left" in done.stderr
        done = box.run(["sh", "-c", "for i in $(seq 2000); do echo >/dev/$i || exit 5; done"])
        assert done.returncode
