"""Pipes, with a plain process at the other end."""

from __future__ import annotations

import os
import subprocess
import sys
from time import monotonic

import pytest

from pyruntime.errors import UsageError
from pyruntime.sandbox.pipes import DEVNULL, PIPE, STDOUT, KeptOutput, ProgramStreams, Pump
from pyruntime.sandbox.run import follow


def through(code: str, data: bytes | None = None, *, limit: int = 1000, seconds: float = 20,
            enough: bool = False) -> tuple[str, bytes, bytes, KeptOutput]:
    """Run Python code at the other ends of the pipes."""
    streams, kept = ProgramStreams(DEVNULL if data is None else PIPE, PIPE, PIPE), KeptOutput(limit)
    pump = Pump(streams.ours, data or b"")
    first, second, third = streams.theirs
    program = subprocess.Popen([sys.executable, "-c", f"import os, sys, time\n{code}"], stdin=first, stdout=second,
                               stderr=third)
    pidfd = os.pidfd_open(program.pid)
    streams.started()
    reason = follow(pump, kept, pidfd, monotonic() + seconds, enough=enough)
    program.kill()
    program.wait()
    for number, part in pump.rest():
        kept.add(number, part)
    pump.close()
    os.close(pidfd)
    return reason, *kept.both(), kept


@pytest.fixture(autouse=True)
def _no_descriptor_is_left() -> object:
    before = sorted(os.listdir("/proc/self/fd"))
    yield
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_both_outputs_and_the_input() -> None:
    reason, out, err, kept = through("d = sys.stdin.buffer.read(); os.write(1, d); os.write(2, d[::-1])", b"abc")
    assert (reason, out, err, kept.truncated) == ("", b"abc", b"cba", False)


def test_no_input_is_the_end_of_the_input() -> None:
    assert through("print(repr(sys.stdin.read()))")[1] == b"''\n"
    assert through("print(repr(sys.stdin.read()))", b"")[1] == b"''\n"


def test_more_than_the_limit_is_read_and_dropped() -> None:
    code = "for _ in range(200): sys.stdout.buffer.write(bytes(100000))\nsys.stderr.write('end')"
    reason, out, err, kept = through(code)
    assert (reason, len(out), err, kept.truncated) == ("", 1000, b"end", True)


def test_exactly_the_limit_is_not_truncated() -> None:
    _, out, _, kept = through("os.write(1, bytes(1000))")
    assert (len(out), kept.truncated) == (1000, False)


def test_enough_is_asked_after_too_much_output() -> None:
    reason, out, _, kept = through("while 1: os.write(1, b'x')", limit=5, enough=True)
    assert (reason, out, kept.truncated) == ("output", b"xxxxx", True)


def test_the_deadline() -> None:
    begun = monotonic()
    reason, out, _, _ = through("print(1, flush=True); time.sleep(60)", seconds=1)
    assert (reason, out) == ("timeout", b"1\n") and 0.9 < monotonic() - begun < 5


def test_closed_outputs_do_not_end_the_wait() -> None:
    begun = monotonic()
    assert through("os.close(1); os.close(2); time.sleep(0.5)")[0] == ""
    assert monotonic() - begun > 0.5


def test_a_process_that_stays_with_the_pipe() -> None:
    begun = monotonic()
    reason, out, _, _ = through("print('out', flush=True)\nif os.fork() == 0: time.sleep(2)")
    assert (reason, out) == ("", b"out\n") and monotonic() - begun < 1.9


def test_input_that_is_not_read() -> None:
    assert through("os.close(0); time.sleep(0.3)", bytes(1 << 20))[0] == ""


def test_streams_of_all_kinds() -> None:
    read, write = os.pipe2(os.O_CLOEXEC)
    with open("/dev/null", "wb") as file:
        streams = ProgramStreams(DEVNULL, write, file)
        assert len(streams.theirs) == 3 and streams.ours == [-1, -1, -1]
        streams.close()
    merged = ProgramStreams(DEVNULL, PIPE, STDOUT)
    assert os.path.sameopenfile(*merged.theirs[1:]) and merged.ours[2] == -1
    merged.close()
    os.close(read)
    os.close(write)
    for wrong in ((-7, PIPE, PIPE), (STDOUT, PIPE, PIPE)):
        with pytest.raises(UsageError, match="give PIPE"):
            ProgramStreams(*wrong)
