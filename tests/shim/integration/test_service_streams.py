"""The streams of processes, with a client of ours in the place of containerd."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.shim.client import Container, Machine, until

pytestmark = pytest.mark.timeout(300)


def test_standard_input_ends_when_both_have_closed_it(machine: Machine) -> None:
    container = Container(machine, "input", "cat")
    os.mkfifo(container.bundle / "in")
    container.create(stdin=str(container.bundle / "in"))
    container.call("Start")
    for text in (b"one\n", b"two\n"):   # a client that goes and comes again
        with (container.bundle / "in").open("wb", buffering=0) as file:
            file.write(text)
        until(lambda text=text: text in container.out.data)
    container.call("CloseIO", stdin=True)
    assert container.call("Wait")["exit_status"] == 0
    assert container.out.all() == b"one\ntwo\n"
    container.remove()


@pytest.mark.parametrize("killed", [False, True])
def test_standard_input_that_is_closed_before_the_start(machine: Machine, killed: bool) -> None:
    """A client may have seen its end before; also the next server knows."""
    container = Container(machine, f"early-{killed}", "sleep", "100")
    container.start()
    os.mkfifo(container.bundle / "in")
    out = container.exec("e", "cat", stdin=str(container.bundle / "in"))
    container.call("CloseIO", exec_id="e", stdin=True)
    if killed:
        machine.kill_server()
    client = os.open(container.bundle / "in", os.O_RDWR)   # without a wait for the reader
    os.write(client, b"one\n")
    container.call("Start", exec_id="e")
    os.close(client)
    assert container.call("Wait", exec_id="e")["exit_status"] == 0
    assert out.all() == b"one\n"
    container.end()


def test_a_terminal_has_its_size_before_the_start(machine: Machine) -> None:
    container = Container(machine, "tty", "sh", "-c", "stty size; read line; echo got $line; exit 4", terminal=True)
    os.mkfifo(container.bundle / "in")
    container.create(stdin=str(container.bundle / "in"))
    container.call("ResizePty", width=91, height=17)
    container.call("Start")
    until(lambda: b"17 91\r\n" in container.out.data)
    with (container.bundle / "in").open("wb", buffering=0) as file:
        file.write(b"typed\n")
        assert container.call("Wait")["exit_status"] == 4
    container.remove()
    assert container.out.all() == b"17 91\r\ntyped\r\ngot typed\r\n"


def test_no_byte_is_lost_at_the_end(machine: Machine) -> None:
    for terminal in (False, True):
        name = f"bytes-{terminal}"
        container = Container(machine, name, "sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x", terminal=terminal)
        container.start()
        assert container.call("Wait")["exit_status"] == 0
        container.remove()
        assert container.out.all() == b"x" * 1_000_000


def test_files_and_logging_programs(machine: Machine, tmp_path: Path) -> None:
    container = Container(machine, "file", "sh", "-c", "echo out; echo err >&2")
    container.create(stdout=f"file://{tmp_path}/new/log")
    container.call("Start")
    container.call("Wait")
    assert (tmp_path / "new/log").read_text() == "out\nerr\n"
    container.remove()
    logger = tmp_path / "logger"
    logger.write_text('#!/bin/sh\nexec 5>&-\necho "$1 $2 $CONTAINER_ID" >"$2"\ncat <&3 >>"$2"\ncat <&4 >>"$2"\n')
    logger.chmod(0o755)
    container = Container(machine, "logger", "sh", "-c", "echo out; echo err >&2")
    container.create(stdout=f"binary://{logger}?to={tmp_path}/logged")
    container.call("Start")
    container.call("Wait")
    container.remove()
    assert (tmp_path / "logged").read_text() == f"to {tmp_path}/logged logger\nout\nerr\n"


def test_a_logging_program_has_the_usual_signals(machine: Machine, tmp_path: Path) -> None:
    """Python ignores SIGPIPE and SIGXFSZ."""
    logger = tmp_path / "logger"
    logger.write_text('#!/bin/sh\nexec 5>&-\ngrep SigIgn /proc/self/status >"$2"\ncat <&3\n')
    logger.chmod(0o755)
    container = Container(machine, "signals", "true")
    container.create(stdout=f"binary://{logger}?to={tmp_path}/signals")
    container.call("Start")
    container.call("Wait")
    container.remove()
    assert int((tmp_path / "signals").read_text().split()[1], 16) & (1 << 12 | 1 << 24) == 0
