"""ps: the processes of a container, by ID and as listed by ps(1)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pyruntime import Runtime as Library
from pyruntime.errors import PyruntimeError
from pyruntime.runtime.lifecycle.ps import choose
from tests.containers import Bundle, Runtime

needs_ps = pytest.mark.skipif(not shutil.which("ps"), reason="needs ps(1)")


def _two(runtime: Runtime, bundle: Bundle) -> list[int]:
    """A container with two processes, and their IDs."""
    runtime.ok("run", "-d", "c1", bundle.shell("sleep 1000 & wait"))
    init = int(runtime.state("c1")["pid"])
    children = Path(f"/proc/{init}/task/{init}/children")
    while not children.read_text():
        assert Path(f"/proc/{init}").exists()
    return sorted([init, *map(int, children.read_text().split())])


def test_json(runtime: Runtime, bundle: Bundle) -> None:
    both = _two(runtime, bundle)
    output = runtime.ok("ps", "--format", "json", "c1")
    assert sorted(json.loads(output)) == both and output.count("\n") == 1 and " " not in output
    assert sorted(Library(runtime.root).pids("c1")) == both
    runtime.ok("pause", "c1")
    assert sorted(json.loads(runtime.ok("ps", "-f", "json", "c1"))) == both


@needs_ps
def test_table(runtime: Runtime, bundle: Bundle) -> None:
    both = _two(runtime, bundle)
    heading, *lines = runtime.ok("ps", "c1").splitlines()
    assert heading.split()[:3] == ["UID", "PID", "PPID"] and heading.split()[-1] == "CMD"
    assert sorted(int(line.split()[1]) for line in lines) == both
    heading, *lines = runtime.ok("ps", "c1", "-o", "comm,pid", "-e").splitlines()
    assert heading.split() == ["COMMAND", "PID"]
    assert sorted((line.split()[0], int(line.split()[1])) for line in lines) == [("sh", both[0]), ("sleep", both[1])]


@needs_ps
def test_what_is_refused(runtime: Runtime, bundle: Bundle) -> None:
    _two(runtime, bundle)
    for words, phrase in ((("c1", "-o", "comm"), "couldn't find PID field in ps output"),
                          (("c1", "--nosuch"), "unknown gnu long option"),
                          (("--format", "bad", "c1"), "invalid format option"),
                          ((), '"ps" requires a minimum of 1 argument(s)')):
        done = runtime("ps", *words)
        assert done.returncode == 1 and phrase in done.stderr


@needs_ps
def test_a_stopped_container_has_none(runtime: Runtime, bundle: Bundle) -> None:
    runtime.ok("run", "-d", "c1", bundle.shell("true"))
    runtime.await_status("c1", "stopped")
    assert runtime.ok("ps", "c1").splitlines()[1:] == []
    assert runtime.ok("ps", "-f", "json", "c1") == "null\n"   # as runc


def test_selected_lines() -> None:
    text = "USER   PID  ARGS\nroot    12  sh 12\nroot     1  12 is not this one\n\nroot    7\n"
    assert choose(text, [12, 7]) == "USER   PID  ARGS\nroot    12  sh 12\nroot    7\n"
    with pytest.raises(PyruntimeError, match="couldn't find PID field"):
        choose("SPID\n1\n", [1])
