"""Pipes, with a plain process at the other end."""

from __future__ import annotations

import os
import subprocess
import sys
from time import monotonic

import pytest

from pyruntime.sandbox.output import Pipes


def through(code: str, data: bytes | None = None, *, limit: int = 1000, seconds: float = 20,
            enough: bool = False) -> tuple[str, bytes, bytes, Pipes]:
    """Run Python code at the other ends of the pipes."""
    pipes = Pipes(data, limit)
    first, second, third = pipes.theirs
    program = subprocess.Popen([sys.executable, "-c", f"import os, sys, time\n{code}"], stdin=first, stdout=second,
                               stderr=third)
    pidfd = os.pidfd_open(program.pid)
    pipes.started()
    reason = pipes.follow(pidfd, monotonic() + seconds, enough=enough)
    program.kill()
    program.wait()
    out, err = pipes.finish()
    pipes.close()
    os.close(pidfd)
    return reason, out, err, pipes


@pytest.fixture(autouse=True)
def _no_descriptor_is_left() -> object:
    before = sorted(os.listdir("/proc/self/fd"))
    yield
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_both_outputs_and_the_input() -> None:
    reason, out, err, pipes = through("d = sys.stdin.buffer.read(); os.write(1, d); os.write(2, d[::-1])", b"abc")
    assert (reason, out, err, pipes.truncated) == ("", b"abc", b"cba", False)


def test_no_input_is_the_end_of_the_input() -> None:
    assert through("print(repr(sys.stdin.read()))")[1] == b"''\n"
    assert through("print(repr(sys.stdin.read()))", b"")[1] == b"''\n"


def test_more_than_the_limit_is_read_and_dropped() -> None:
    code = "for _ in range(200): sys.stdout.buffer.write(bytes(100000))\nsys.stderr.write('end')"
    reason, out, err, pipes = through(code)
    assert (reason, len(out), err, pipes.truncated) == ("", 1000, b"end", True)


def test_exactly_the_limit_is_not_truncated() -> None:
    _, out, _, pipes = through("os.write(1, bytes(1000))")
    assert (len(out), pipes.truncated) == (1000, False)


def test_enough_is_asked_after_too_much_output() -> None:
    reason, out, _, pipes = through("while 1: os.write(1, b'x')", limit=5, enough=True)
    assert (reason, out, pipes.truncated) == ("output", b"xxxxx", True)


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
