"""Terminals of `run` and `exec`: the output that a user sees, and no blocking."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.commands import COMMAND
from tests.containers import PATIENCE, Bundle, Runtime, end
from tests.terminal import Terminal

TICKS = "trap 'exit 9' TERM; stty -echo; while :; do echo tick; sleep 0.1; done"
Start = Callable[[str], Terminal]


@pytest.fixture(params=["run", "exec"])
def start(request: pytest.FixtureRequest, runtime: Runtime, bundle: Bundle) -> Iterator[Start]:
    """Runs a script on a terminal: as the container's program, or by exec in a container."""
    made: list[Terminal] = []

    def run(script: str) -> Terminal:
        command: list[str | Path] = [COMMAND, "--root", runtime.root]
        if request.param == "run":
            bundle.shell(script, process__terminal=True)
            made.append(Terminal([*command, "run", "--bundle", bundle.path, "c1"]))
        else:
            bundle.save(process__args=["sleep", "1000"])
            runtime.ok("run", "--detach", "--bundle", bundle, "c1")
            made.append(Terminal([*command, "exec", "--tty", "c1", "sh", "-c", script]))
        return made[0]

    yield run
    for terminal in made:
        terminal.__exit__()
    runtime("delete", "--force", "c1")


def test_lines_end_with_a_carriage_return(start: Start) -> None:
    """The container's terminal has the kernel's defaults (OPOST, ONLCR), and the caller's terminal gets its output
    unchanged."""
    terminal = start("stty -a </dev/tty | grep -o '.onlcr\\|^onlcr'; echo one; echo two")
    assert terminal.status() == 0
    assert b"-onlcr" not in terminal.seen and b"onlcr" in terminal.seen, terminal.seen
    assert terminal.seen.endswith(b"one\r\ntwo\r\n"), terminal.seen


def test_a_paste_to_a_program_that_does_not_read(start: Start) -> None:
    terminal = start(TICKS)
    terminal.expect(b"tick")
    terminal.paste(b"".join(b"%05d pasted text of a line\n" % number for number in range(1100)))
    terminal.seen = b""
    terminal.expect(b"tick")
    os.kill(terminal.pid, signal.SIGTERM)
    assert terminal.status() == 9


def test_a_paste_is_complete_if_the_program_reads_later(start: Start) -> None:
    text = b"".join(b"%06d\n" % number for number in range(4000))
    terminal = start("stty -echo; echo ready; sleep 1; head -n 4000 | md5sum | cut -c1-32")
    terminal.expect(b"ready")
    assert terminal.paste(text, seconds=PATIENCE) == len(text)
    terminal.expect(hashlib.md5(text).hexdigest().encode())
    assert terminal.status() == 0


def test_signals_are_forwarded_while_the_terminal_is_not_read(start: Start) -> None:
    terminal = start("trap 'exit 9' TERM; echo begun; yes & while :; do sleep 0.1; done")
    terminal.expect(b"begun")
    time.sleep(0.5)   # the screen is full
    os.kill(terminal.pid, signal.SIGTERM)
    time.sleep(0.5)
    os.kill(terminal.pid, signal.SIGTERM)   # the program has exited; the rest of its output is dropped
    assert terminal.ended(PATIENCE)
    assert terminal.status() == 9


def test_the_callers_terminal_is_restored(start: Start) -> None:
    terminal = start("stty -echo; echo ready; read line; exit 3")
    terminal.expect(b"ready")
    assert terminal.is_raw()
    terminal.type(b"word\n")
    assert terminal.ended(PATIENCE) and not terminal.is_raw()
    assert terminal.status() == 3


def test_the_shells_file_description_stays_blocking(runtime: Runtime, bundle: Bundle) -> None:
    """O_NONBLOCK belongs to the open file description: set on the shell's terminal, it would break later commands."""
    bundle.shell("true", process__terminal=True)
    script = (f"{COMMAND} --root {runtime.root} run --bundle {bundle.path} c1;"
              " grep -h flags /proc/self/fdinfo/0 /proc/self/fdinfo/1")
    terminal = Terminal(["/bin/sh", "-c", script])
    assert terminal.status() == 0
    flags = [int(line.split()[1], 8) for line in terminal.seen.decode().splitlines() if line.startswith("flags")]
    assert len(flags) == 2 and not any(flag & os.O_NONBLOCK for flag in flags), terminal.seen


def test_output_into_a_pipe_that_is_read_late(runtime: Runtime, bundle: Bundle) -> None:
    bundle.shell("stty -onlcr </dev/tty; seq 1 100000", process__terminal=True)
    process = subprocess.Popen([COMMAND, "--root", runtime.root, "run", "--bundle", bundle.path, "c1"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        time.sleep(1)
        out = process.communicate(timeout=PATIENCE)[0]
    finally:
        end(process)
    assert out.decode().replace("^D\b\b", "").split() == [str(number) for number in range(1, 100001)]


def test_a_terminal_that_is_hung_up(start: Start) -> None:
    """SIGHUP is forwarded to the program like every signal, and the command prints no error about the lost terminal."""
    terminal = start("trap 'exit 8' HUP; stty -echo; echo ready; while :; do sleep 0.1; done")
    terminal.expect(b"ready")
    os.close(terminal.master)
    assert terminal.ended(PATIENCE)
    terminal.master = -1
    assert os.waitstatus_to_exitcode(os.waitpid(terminal.pid, 0)[1]) == 8
