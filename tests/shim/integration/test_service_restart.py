"""A server of the task service takes the place of one that was killed, with a client of ours in that of containerd."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyruntime.shim import messages
from pyruntime.shim.link import (
    EXITED,
    HELLO,
    OLDEST,
    PROTOCOL,
    READY,
    REQUEST,
    RESPONSE,
    SPAWN,
    MonitorLink,
    ProcessExit,
)
from tests.shim.client import Container, Machine, ShimError, begin_create, until

pytestmark = pytest.mark.timeout(300)
SYS_CLONE, CLONE_PARENT = {"x86_64": 56, "aarch64": 220}[os.uname().machine], 0x8000


def test_the_next_server_knows_that_a_process_failed(machine: Machine) -> None:
    container = Container(machine, "known", "sleep", "100")
    container.start()
    container.exec("e", "nosuch")
    with pytest.raises(ShimError):
        container.call("Start", exec_id="e")
    waited = container.call("Wait", exec_id="e")
    machine.kill_server()
    assert container.call("State", exec_id="e")["status"] == 3
    assert container.call("Wait", exec_id="e") == waited
    container.end()


def test_the_server_is_killed(machine: Machine) -> None:
    """All containers go on, a Wait in progress is answered, and so are exits that nobody saw."""
    containers = [Container(machine, f"killed-{number}", "sh", "-c",
                            f"i=0; while [ $i -lt {4 * number} ]; do echo $i; i=$((i+1)); sleep 0.1; done;"
                            f" exit {10 + number}") for number in range(10)]
    for container in containers:
        container.create()
    waits = [container.client.begin("Wait", id=container.name) for container in containers]
    for container in containers:
        container.call("Start")
        machine.kill_server()
    for number, (container, stream) in enumerate(zip(containers, waits, strict=True)):
        assert container.client.answer(stream, "Wait")["exit_status"] == 10 + number
        assert container.out.all() == "".join(f"{i}\n" for i in range(4 * number)).encode()
        machine.kill_server()
        assert container.call("State")["exit_status"] == 10 + number
        assert container.remove()["exit_status"] == 10 + number
        until(lambda container=container: machine.sink.of(container.name)[-1:] == ["delete"])
        # An event may come twice if the server dies before containerd's answer has come, but in order.
        topics = machine.sink.of(container.name)
        assert [topic for index, topic in enumerate(topics) if topic not in topics[:index]] == [
            "create", "start", "exit", "delete"]


def test_a_server_is_replaced_on_purpose(machine: Machine) -> None:
    """By SIGTERM: another one takes over the requests in progress."""
    container = Container(machine, "replaced", "sleep", "100")
    container.start()
    waiting = container.client.begin("Wait", id="replaced")
    container.call("State")
    before = machine.servers()
    machine.room.ok("kill", "-TERM", str(before[0]))
    until(lambda: machine.servers() not in (before, []))
    assert container.call("State")["status"] == 2
    container.call("Pause")
    assert container.call("State")["status"] == 4
    container.call("Resume")
    container.call("Kill", signal=9)
    assert container.client.answer(waiting, "Wait")["exit_status"] == 137
    container.remove()


def test_a_create_in_progress_does_not_delay_the_next_server(machine: Machine) -> None:
    """It is waiting for the monitor when SIGTERM comes."""
    container, other = Container(machine, "progress", "true"), Container(machine, "bystander", "true")
    begun, reader = begin_create(container)
    machine.room.ok("kill", "-TERM", str(machine.servers()[0]))
    before = time.monotonic()
    descriptor = os.open(reader, os.O_RDONLY | os.O_NONBLOCK)
    assert container.client.answer(begun, "Create")["pid"] > 0
    other.call("Connect")
    assert time.monotonic() - before < 5
    os.close(descriptor)
    container.remove()
    other.call("Shutdown")


def test_the_server_and_containerd_are_killed_during_create(machine: Machine) -> None:
    """The next containerd finds no task, and its Shutdown removes what is left."""
    container = Container(machine, "both", "true")
    begin_create(container)
    container.client.close()
    machine.kill_server()
    container.client = machine.client(container.path)
    for method in ("Pids", "Delete"):
        with pytest.raises(ShimError, match="not created"):
            container.call(method)
    container.call("Shutdown")
    until(lambda: "both" not in machine.monitors())
    assert machine.mounts(container.bundle) == []
    assert not os.path.lexists(container.bundle / "state")
    assert not os.path.exists(machine.room.seen(f"/run/containerd/pyruntime/{machine.namespace}/both"))


def test_a_large_process_is_known_to_the_next_server(machine: Machine) -> None:
    container = Container(machine, "large", "sleep", "100")
    container.start()
    process = {"args": ["true"], "cwd": "/", "env": [f"V{number}={'x' * 100_000}" for number in range(13)]}
    container.call("Exec", exec_id="e", spec={"type_url": "", "value": json.dumps(process).encode()})
    machine.kill_server()
    assert container.call("State", exec_id="e")["status"] == 1
    container.call("Start", exec_id="e")
    assert container.call("Wait", exec_id="e")["exit_status"] == 0
    container.end()


def test_the_exits_of_processes_that_failed_are_forgotten(machine: Machine) -> None:
    """Another process may get their pids."""
    container = Container(machine, "forgotten", "sleep", "100")
    container.start()
    for number in range(10):
        container.exec(f"e{number}", "nosuch")
        with pytest.raises(ShimError):
            container.call("Start", exec_id=f"e{number}")
        container.call("Delete", exec_id=f"e{number}")
    with instead_of_the_server(machine) as link:
        kinds: list[int] = []
        while READY not in kinds and not link.broken:
            kinds += [packet.kind for packet in link.packets()]
    assert kinds == [HELLO, READY]
    container.end()


@contextmanager
def instead_of_the_server(machine: Machine) -> Iterator[MonitorLink]:
    """Take the place of the next server: the link of the only monitor that there is."""
    listener = socket.socket(socket.AF_UNIX)
    place = Path(machine.room.seen("/run/containerd/s"))
    listener.bind(str(place / "next"))
    listener.listen()
    listener.settimeout(20)
    (server,) = place.glob("*.server")
    (place / "next").rename(server)
    machine.kill_server()
    connection, _ = listener.accept()
    connection.settimeout(20)
    try:
        yield MonitorLink(connection)
    finally:
        server.unlink()
        for end in (listener, connection):
            end.close()


@pytest.mark.parametrize("program", [False, True])
def test_a_process_that_has_executed_a_program_is_known_from_one_that_has_not(machine: Machine, program: bool) -> None:
    """Whatever its exit status is. 250 is that of the stub without a server, and also of this program."""
    container = Container(machine, f"executed-{program}", "sleep", "100")
    container.start()
    clone = (f"import ctypes, os; child = ctypes.CDLL(None).syscall({SYS_CLONE}, {CLONE_PARENT | signal.SIGCHLD}, 0, 0,"
             " 0, 0); os._exit(0 if child else 250)")
    python = os.path.realpath(sys.executable)
    words = [python, "-c", "import os; os._exit(250)" if program else clone]
    ends: list[ProcessExit] = []
    with instead_of_the_server(machine) as link:
        fds = [os.open(path, os.O_RDONLY) for path in (python, "/dev/null")]
        texts = ["", "", "", *words]   # no FIFOs
        link.send(SPAWN, 1, struct.pack("=QH", 0, 0) + b"".join(text.encode() + b"\0" for text in texts), flags=1,
                  fds=fds)
        for fd in fds:
            os.close(fd)
        while not any(end.status == 250 for end in ends) and not link.broken:
            ends += [ProcessExit(packet.payload) for packet in link.packets() if packet.kind == EXITED]
    assert [end.executed for end in ends if end.status == 250] == [program]
    container.end()


def test_a_server_refuses_a_link_that_it_does_not_know(machine: Machine) -> None:
    """And serves the others: a monitor of a later version starts a server of its own."""
    container = Container(machine, "versions", "true")
    os.mkfifo(container.bundle / "log")
    log = os.open(container.bundle / "log", os.O_RDWR | os.O_NONBLOCK)
    container.call("Connect")
    (server,) = Path(machine.room.seen("/run/containerd/s")).glob(f"*.{PROTOCOL}.server")
    for version, known in ((PROTOCOL + 1, False), (OLDEST - 1, False), (OLDEST, True)):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(20)
        connection.connect(str(server))
        link = MonitorLink(connection)
        link.send(HELLO, 77, f"other\0{machine.path}\0".encode(), flags=version)
        link.send(READY, 0)
        link.send(REQUEST, 1, messages.REQUEST.encode({
            "service": "containerd.task.v2.Task", "method": "Connect", "payload": b""}))
        kinds: list[int] = []
        while not kinds and not link.broken:
            kinds += [packet.kind for packet in link.packets()]
        assert kinds == ([RESPONSE] if known else [])
        connection.close()
    container.call("Connect")
    text = os.read(log, 65536).decode()
    assert f"monitor 77 has version {PROTOCOL + 1} of the link" in text
    os.close(log)
    container.call("Shutdown")
    until(lambda: "versions" not in machine.monitors())
