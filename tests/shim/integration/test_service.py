"""The task service over its socket, with a client of ours in the place of containerd."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bundles.build import busybox_rootfs
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
from tests.shim.client import FRAME, Client, Container, Machine, ShimError, read_frame, until

pytestmark = pytest.mark.timeout(300)
SYS_CLONE, CLONE_PARENT = {"x86_64": 56, "aarch64": 220}[os.uname().machine], 0x8000


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    path = tmp_path_factory.mktemp("shim")
    busybox_rootfs(path / "image")
    made = Machine(path)
    yield made
    left = made.monitors()
    sockets = os.listdir(made.room.seen("/run/containerd/s"))
    made.close()
    assert left == []
    assert [name for name in sockets if ".server" not in name] == []


def test_a_life(machine: Machine) -> None:
    container = Container(machine, "life", "sh", "-c", "echo hello; exit 7")
    pid = container.create()
    assert container.call("State")["status"] == 1
    assert container.call("Pids")["processes"] == [{"pid": pid, "info": None}]
    assert container.call("Start")["pid"] == pid
    waited = container.call("Wait")
    assert waited["exit_status"] == 7 and waited["exited_at"]["seconds"] > 1_700_000_000
    assert container.out.all() == b"hello\n"
    state = container.call("State")
    assert (state["status"], state["exit_status"], state["pid"]) == (3, 7, pid)
    deleted = container.remove()
    assert (deleted["pid"], deleted["exit_status"], deleted["exited_at"]) == (pid, 7, waited["exited_at"])
    until(lambda: machine.sink.of("life") == ["create", "start", "exit", "delete"])


def test_both_names_of_the_service(machine: Machine) -> None:
    container = Container(machine, "names", "true")
    container.client.service = "containerd.task.v3.Task"
    assert container.call("Connect")["task_pid"] == 0
    container.client.service = "containerd.task.v4.Task"
    with pytest.raises(ShimError) as refused:
        container.call("Connect")
    assert refused.value.code == 12
    container.client.service = "containerd.task.v2.Task"
    container.call("Shutdown")
    until(lambda: "names" not in machine.monitors())


def test_exec(machine: Machine) -> None:
    container = Container(machine, "exec", "sleep", "100")
    container.create()
    container.call("Start")
    first = container.exec("one", "sh", "-c", "echo in; exit 3")
    with pytest.raises(ShimError) as twice:
        container.exec("one-again", "true") and container.call("Exec", exec_id="one")
    assert twice.value.code == 6
    assert container.call("State", exec_id="one")["status"] == 1
    pid = container.call("Start", exec_id="one")["pid"]
    assert container.call("Wait", exec_id="one")["exit_status"] == 3
    assert first.all() == b"in\n"
    assert container.call("State", exec_id="one")["status"] == 3
    assert container.call("Delete", exec_id="one")["pid"] == pid
    with pytest.raises(ShimError) as gone:
        container.call("State", exec_id="one")
    assert gone.value.code == 5
    container.exec("unstarted", "true")
    assert container.call("Delete", exec_id="unstarted")["pid"] == 0
    container.exec("bad", "nosuch")
    with pytest.raises(ShimError, match="executable file not found"):
        container.call("Start", exec_id="bad")
    assert container.call("Wait", exec_id="bad")["exit_status"] == 255
    container.call("Delete", exec_id="bad")
    container.call("Kill", signal=9)
    assert container.call("Wait")["exit_status"] == 137
    with pytest.raises(ShimError) as late:
        container.call("Start", exec_id="one-again")
    assert late.value.code == 9
    container.remove()
    until(lambda: machine.sink.of("exec") == [
        "create", "start", "exec-added one", "exec-added one-again", "exec-started one", "exit one",
        "exec-added unstarted", "exec-added bad",
        "exit", "delete"])


def test_the_next_server_knows_that_a_process_failed(machine: Machine) -> None:
    container = Container(machine, "known", "sleep", "100")
    container.create()
    container.call("Start")
    container.exec("e", "nosuch")
    with pytest.raises(ShimError):
        container.call("Start", exec_id="e")
    waited = container.call("Wait", exec_id="e")
    machine.kill_server()
    assert container.call("State", exec_id="e")["status"] == 3
    assert container.call("Wait", exec_id="e") == waited
    container.call("Kill", signal=9)
    container.call("Wait")
    container.remove()


def test_the_same_program_again(machine: Machine) -> None:
    """The server keeps plans: each process gets its own streams, in its own container."""
    for life in range(2):   # the second container has the same ID and another init
        container = Container(machine, "again", "sh", "-c", f"echo life {life} >/dev/shm/life; sleep 100")
        container.create()
        container.call("Start")
        for number in range(3):
            out = container.exec(f"same-{number}", "sh", "-c", "until cat /dev/shm/life; do :; done; exit 3")
            other = container.exec(f"other-{number}", "sh", "-c", f"exit {number}")
            for name, status in (("same", 3), ("other", number)):
                container.call("Start", exec_id=f"{name}-{number}")
                assert container.call("Wait", exec_id=f"{name}-{number}")["exit_status"] == status
                container.call("Delete", exec_id=f"{name}-{number}")
            assert (out.all(), other.all()) == (f"life {life}\n".encode(), b"")
        container.call("Kill", signal=9)
        container.call("Wait")
        container.remove()
        shutil.rmtree(container.bundle)


def test_errors_have_the_codes_that_containerd_knows(machine: Machine) -> None:
    container = Container(machine, "codes", "sleep", "100")
    for method in ("State", "Start", "Kill", "Pids", "Stats", "Delete", "Wait"):
        with pytest.raises(ShimError, match="not created") as missing:
            container.call(method)
        assert missing.value.code == 5
    container.create()
    with pytest.raises(ShimError) as twice:
        container.create()
    assert twice.value.code == 6
    container.call("Start")
    with pytest.raises(ShimError, match="cannot delete a running process") as running:
        container.call("Delete")
    assert running.value.code == 9
    for fields in ({"options": {"type_url": "", "value": b"\x0a\x05a"}}, {"signal": 1 << 40}):
        with pytest.raises(ShimError) as wrong:
            container.call("Kill" if "signal" in fields else "Checkpoint", **fields)
        assert wrong.value.code == 3
    container.call("Kill", signal=15, all=True)
    container.call("Kill", signal=9)
    container.call("Wait")
    with pytest.raises(ShimError, match="process already finished") as finished:
        container.call("Kill", signal=9)
    assert finished.value.code == 5
    container.remove()


def test_a_failed_create_leaves_nothing(machine: Machine) -> None:
    container = Container(machine, "failed", "nosuch")
    with pytest.raises(ShimError, match=r"OCI runtime create failed.*executable file not found"):
        container.create()
    assert machine.mounts(container.bundle) == []
    assert not os.path.lexists(container.bundle / "state")
    assert container.out.all() == b""
    container.call("Shutdown")
    until(lambda: "failed" not in machine.monitors())


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
    container.create()
    container.call("Start")
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
    container.call("Kill", signal=9)
    container.call("Wait")
    container.remove()


def test_what_is_asked_during_create_waits_for_it(machine: Machine) -> None:
    """nerdctl asks for the state when its input has ended, and closes it if there is a task."""
    container = Container(machine, "waits", "cat")
    os.mkfifo(container.bundle / "in")
    begun, fifo = begin_create(container, stdin=str(container.bundle / "in"))
    state = container.client.begin("State", id=container.name)
    closed = container.client.begin("CloseIO", id=container.name, stdin=True)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    assert container.client.answer(begun, "Create")["pid"] > 0
    assert container.client.answer(state, "State")["status"] == 1
    container.client.answer(closed, "CloseIO")
    container.call("Start")
    assert container.call("Wait")["exit_status"] == 0
    os.close(reader)
    container.out.close()
    container.remove()


def test_what_is_asked_during_a_repeated_create_waits_for_it(machine: Machine) -> None:
    """The client has seen the input before the server was killed."""
    container = Container(machine, "waits-again", "cat")
    begun, fifo = begin_create(container)
    asked = [container.client.begin("State", id=container.name) for _ in range(4)]
    machine.kill_server()
    container.call("Connect")   # answered at once, after the others have been taken up
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    assert container.client.answer(begun, "Create")["pid"] > 0
    assert [container.client.answer(state, "State")["status"] for state in asked] == [1] * 4
    os.close(reader)
    container.out.close()
    container.remove()


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
        container.create()
        container.call("Start")
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


def test_frames_that_are_wrong(machine: Machine) -> None:
    container = Container(machine, "frames", "true")
    send = container.client.connection.sendall
    send(FRAME.pack(5, 1, 3, 0) + b"12345")   # a stream's data: ignored
    send(FRAME.pack(3, 3, 1, 0) + b"\x0a\x05a")   # no Request
    assert messages.RESPONSE.decode(read_frame(container.client.connection)[2])["status"]["code"] == 3
    send(FRAME.pack((4 << 20) + 1, 5, 1, 0) + bytes((4 << 20) + 1))
    assert messages.RESPONSE.decode(read_frame(container.client.connection)[2])["status"]["code"] == 8
    request = messages.REQUEST.encode({"service": "containerd.task.v2.Task", "method": "Connect",
                                       "payload": bytes([0x0A, 0x06]) + b"frames" + b"\x7a" + (
                                           b"\xf0\xff\xff\x01") + bytes(0x3FFFF0)})[:4 << 20]
    send(FRAME.pack(len(request), 7, 1, 0) + request)   # as long as a message may be
    assert read_frame(container.client.connection)[0] == 7
    container.client.stream = 9
    assert container.call("Connect")["shim_pid"] > 0
    clients = [machine.client(container.path) for _ in range(200)]
    streams = [client.begin("Connect", id="frames") for client in clients]
    assert len({client.answer(stream, "Connect")["shim_pid"] for client, stream in
                zip(clients, streams, strict=True)}) == 1
    for client in clients:
        client.close()
    container.call("Shutdown")
    until(lambda: "frames" not in machine.monitors())


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
    container.create()
    container.call("Start")
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


def begin_create(container: Container, **fields: str) -> tuple[int, Path]:
    """A Create that waits for a client, who does not open its FIFO: the stream, and the FIFO."""
    fifo = container.bundle / "unread"
    os.mkfifo(fifo)
    mount = {"type": "bind", "source": str(container.machine.path / "image"), "options": ["rbind"]}
    begun = container.client.begin("Create", id=container.name, bundle=str(container.bundle), stdout=str(fifo),
                                   rootfs=[mount], **fields)
    until(lambda: container.machine.mounts(container.bundle))
    return begun, fifo


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


def test_deletes_at_once(machine: Machine) -> None:
    """One of them deletes it."""
    container = Container(machine, "deletes", "sh", "-c", "sleep 100")
    container.create()
    container.call("Start")
    container.exec("e", "true")
    container.call("Start", exec_id="e")
    container.call("Wait", exec_id="e")
    assert delete_at_once(container, exec_id="e") == [0, 5, 5]
    container.call("Kill", signal=9)
    container.call("Wait")
    assert delete_at_once(container) == [0, 5, 5]
    container.call("Shutdown")
    until(lambda: "deletes" not in machine.monitors())
    until(lambda: machine.sink.of("deletes")[-1] == "delete")
    assert machine.sink.of("deletes").count("delete") == 1


def delete_at_once(container: Container, **fields: str) -> list[int]:
    """The codes of three answers."""
    codes = []
    for stream in [container.client.begin("Delete", id=container.name, **fields) for _ in range(3)]:
        try:
            container.client.answer(stream, "Delete")
            codes.append(0)
        except ShimError as error:
            codes.append(error.code)
    return sorted(codes)


def test_requests_of_clients_that_have_gone(machine: Machine) -> None:
    """Are given up: they do not count among those that may wait for an answer."""
    container = Container(machine, "gone", "sleep", "100")
    container.create()
    container.call("Start")
    for _ in range(4100):
        client = Client(container.path)
        client.begin("Wait", id="gone")
        client.close()

    def answers() -> bool:   # when the monitor has noticed that enough of them have gone
        try:
            return bool(container.call("State")["status"] == 2)
        except ShimError as error:
            assert str(error) == "too many requests wait for an answer"
            return False

    until(answers)
    container.call("Kill", signal=9)
    container.call("Wait")
    container.remove()


def test_a_full_disk(machine: Machine) -> None:
    """A container that was created can be started and deleted."""
    place = Path("/run/user")
    container = Container(machine, "full", "sleep", "100")
    container.call("Shutdown")
    until(lambda: "full" not in machine.monitors())
    machine.room.ok("mount", "-t", "tmpfs", "-o", "size=256k", "full", str(place))
    machine.room.ok("cp", "-a", str(container.bundle), str(place))
    container.bundle = place / "full"
    container.client = machine.client(machine.start("full", container.bundle))
    container.create()
    machine.room.run("sh", "-c", f"cat /dev/zero >{place}/filler")
    container.call("Start")
    machine.kill_server()
    assert container.call("State")["status"] == 2
    with pytest.raises(ShimError, match="No space left on device"):
        container.call("Exec", exec_id="e", spec={"type_url": "", "value": b'{"args": ["true"], "cwd": "/"}'})
    container.call("Kill", signal=9)
    assert container.call("Wait")["exit_status"] == 137
    assert container.call("Delete")["exit_status"] == 137
    container.call("Shutdown")
    until(lambda: "full" not in machine.monitors())
    assert machine.mounts(container.bundle) == []
    machine.room.ok("umount", str(place))


def test_a_large_process_is_known_to_the_next_server(machine: Machine) -> None:
    container = Container(machine, "large", "sleep", "100")
    container.create()
    container.call("Start")
    process = {"args": ["true"], "cwd": "/", "env": [f"V{number}={'x' * 100_000}" for number in range(13)]}
    container.call("Exec", exec_id="e", spec={"type_url": "", "value": json.dumps(process).encode()})
    machine.kill_server()
    assert container.call("State", exec_id="e")["status"] == 1
    container.call("Start", exec_id="e")
    assert container.call("Wait", exec_id="e")["exit_status"] == 0
    container.call("Kill", signal=9)
    container.call("Wait")
    container.remove()


def test_the_exits_of_processes_that_failed_are_forgotten(machine: Machine) -> None:
    """Another process may get their pids."""
    container = Container(machine, "forgotten", "sleep", "100")
    container.create()
    container.call("Start")
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
    container.call("Kill", signal=9)
    container.call("Wait")
    container.remove()


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
    container.create()
    container.call("Start")
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
    container.call("Kill", signal=9)
    container.call("Wait")
    container.remove()


def test_no_descriptors_are_left(machine: Machine) -> None:
    """The monitor accepts connections again later, and waits until then."""
    container = Container(machine, "descriptors", "true")
    monitor = container.call("Connect")["shim_pid"]
    held = int(machine.room.ok("sh", "-c", f"ls /proc/{monitor}/fd | wc -l"))
    machine.room.ok("prlimit", f"--nofile={held + 1}", "--pid", str(monitor))
    clients = [Client(container.path) for _ in range(4)]
    container.call("Connect")

    def used() -> int:
        fields = machine.room.ok("cat", f"/proc/{monitor}/stat").rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])   # user and system time, in ticks of 10 ms

    before, begun = used(), time.monotonic()
    while time.monotonic() < begun + 1:
        container.call("Connect")   # is still served
        time.sleep(0.1)
    assert used() - before < 10
    for client in clients[:3]:
        client.close()
    assert clients[3].call("Connect", id="descriptors")["shim_pid"] == monitor
    clients[3].close()
    container.call("Shutdown")
    until(lambda: "descriptors" not in machine.monitors())


@pytest.mark.parametrize("killed", [False, True])
def test_a_wait_for_a_process_that_is_deleted_before_its_start(machine: Machine, killed: bool) -> None:
    container = Container(machine, f"unstarted-{killed}", "sleep", "100")
    container.create()
    container.call("Start")
    for exec_id in ("deleted", "with-init"):
        container.exec(exec_id, "true").close()
    waits = {exec_id: container.client.begin("Wait", id=container.name, exec_id=exec_id)
             for exec_id in ("deleted", "with-init")}
    container.call("State")
    if killed:
        machine.kill_server()
    assert container.call("Delete", exec_id="deleted")["pid"] == 0
    with pytest.raises(ShimError, match="not found") as gone:
        container.client.answer(waits["deleted"], "Wait")
    assert gone.value.code == 5
    container.call("Kill", signal=9)
    container.call("Wait")
    container.call("Delete")
    with pytest.raises(ShimError, match="not found"):
        container.client.answer(waits["with-init"], "Wait")
    container.call("Shutdown")
    until(lambda: container.name not in machine.monitors())


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"a": 1, "a": 2}', b"\xff"])
def test_json_that_is_wrong(machine: Machine, text: bytes) -> None:
    """An invalid argument, also for containerd."""
    container = Container(machine, f"json-{text.hex()}", "sleep", "100")
    container.create()
    container.call("Start")
    for method, fields in (("Update", {"resources": {"type_url": "", "value": text}}),
                           ("Exec", {"exec_id": "e", "spec": {"type_url": "", "value": text}})):
        with pytest.raises(ShimError, match=r"resources|process") as wrong:
            container.call(method, **fields)
        assert wrong.value.code == 3
    with pytest.raises(ShimError, match=r"memory\.limit") as wrong:
        container.call("Update", resources={"type_url": "", "value": b'{"memory": {"limit": "much"}}'})
    assert wrong.value.code == 3
    container.call("Kill", signal=9)
    container.call("Wait")
    container.remove()


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


def test_a_start_that_fails_leaves_no_socket(machine: Machine) -> None:
    bundle = machine.path / "no-address"
    (bundle / "address").mkdir(parents=True)
    sockets = Path(machine.room.seen("/run/containerd/s"))
    before = set(sockets.iterdir())
    done = subprocess.run(machine.room.words(*machine.words("no-address", bundle), "start"), stdin=subprocess.DEVNULL,
                          capture_output=True, check=False, timeout=60, env=machine.environment)
    assert done.returncode == 1 and b"cannot write the file address" in done.stderr
    assert set(sockets.iterdir()) == before


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


def test_limits_and_statistics(machine: Machine) -> None:
    container = Container(machine, "limits", "sleep", "100")
    container.create()
    container.call("Start")
    container.call("Update", resources={"type_url": "", "value": json.dumps({"memory": {"limit": 64 << 20}}).encode()})
    stats = container.call("Stats")["stats"]
    second = stats["type_url"] == "io.containerd.cgroups.v2.Metrics"
    values = (messages.METRICS_2 if second else messages.METRICS_1).decode(stats["value"])
    limit = values["memory"]["usage_limit"] if second else values["memory"]["usage"]["limit"]
    assert limit == 64 << 20
    assert values["pids"]["current"] == 1
    container.call("Kill", signal=9)
    container.call("Wait")
    container.remove()


def test_twenty_starts_at_once(machine: Machine) -> None:
    machine.kill_server()
    containers: list[Container] = []
    statuses: dict[int, int] = {}

    def one(number: int) -> None:
        container = Container(machine, f"start-{number}", "sh", "-c", f"exit {number}")
        containers.append(container)
        container.create()
        container.call("Start")
        statuses[number] = container.call("Wait")["exit_status"]

    threads = [threading.Thread(target=one, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == {number: number for number in range(20)}
    assert len(machine.servers()) == 1
    for container in containers:
        container.remove()


def test_descriptors_do_not_grow(machine: Machine) -> None:
    counts = []
    for number in range(12):
        container = Container(machine, f"flat-{number}", "sleep", "100")
        container.create()
        container.call("Start")
        container.exec("e", "true")
        container.call("Start", exec_id="e")
        container.call("Wait", exec_id="e")
        container.call("Delete", exec_id="e")
        container.call("Kill", signal=9)
        container.call("Wait")
        monitor = container.call("Connect")["shim_pid"]
        held = machine.room.ok("sh", "-c", f"ls /proc/{monitor}/fd | wc -l")
        container.remove()
        counts.append((held, machine.room.ok("sh", "-c", f"ls /proc/{machine.servers()[0]}/fd | wc -l")))
    assert len(set(counts[2:])) == 1, counts


def test_delete_program(machine: Machine) -> None:
    """After the monitor was killed, containerd runs it: the container goes, whatever is left of it."""
    container = Container(machine, "orphan", "sleep", "100")
    pid = container.create()
    container.call("Start")
    monitor = container.call("Connect")["shim_pid"]
    machine.room.run("kill", "-9", str(monitor))
    for _ in range(2):   # the second time, nothing is left
        done = subprocess.run(machine.room.words(*machine.words("orphan", container.bundle), "delete"), check=False,
                              capture_output=True, timeout=60, env=machine.environment)
        assert done.returncode == 0, done.stderr
        deleted = messages.METHODS["Delete"][1].decode(done.stdout)
        assert deleted["exit_status"] == 137 and deleted["pid"] in (pid, 0)
        assert machine.mounts(container.bundle) == []
        assert machine.room.run("kill", "-0", str(pid)).returncode != 0


def test_dump(machine: Machine) -> None:
    """SIGUSR1 writes what the server does to the log of containerd."""
    container = Container(machine, "dump", "sleep", "100")
    os.mkfifo(container.bundle / "log")
    log = os.open(container.bundle / "log", os.O_RDWR | os.O_NONBLOCK)
    container.create()
    container.call("Start")
    container.client.begin("Wait", id="dump")
    until(lambda: container.call("State")["status"] == 2)
    machine.room.run("kill", "-USR1", str(machine.servers()[0]))
    text = b""

    def shown() -> bool:
        nonlocal text
        try:
            text += os.read(log, 65536)
        except BlockingIOError:
            return False
        return b"task dump: process init" in text and b"1 wait for it" in text

    until(shown)
    os.close(log)
    container.call("Kill", signal=9)
    container.call("Wait")
    container.remove()


@pytest.mark.skipif(os.path.exists("/sys/fs/selinux/enforce"), reason="the kernel has SELinux")
def test_a_selinux_label_without_selinux(machine: Machine) -> None:
    """As with runc: an error that says so, for init and for a process of exec."""
    container = Container(machine, "label", "true", edit=lambda config: config["process"].update(
        selinuxLabel="system_u:system_r:container_t:s0:c1,c2"))
    with pytest.raises(ShimError, match=r"selinux label is specified in config, but selinux is disabled"):
        container.create()
    assert container.out.all() == b""
    container.call("Shutdown")
    until(lambda: "label" not in machine.monitors())
    container = Container(machine, "label-of-exec", "sleep", "100")
    container.create()
    container.call("Start")
    process = {"args": ["true"], "cwd": "/", "selinuxLabel": "system_u:system_r:container_t:s0:c1,c2"}
    container.call("Exec", exec_id="e", spec={"type_url": "", "value": json.dumps(process).encode()})
    with pytest.raises(ShimError, match=r"selinux label is specified in config, but selinux is disabled"):
        container.call("Start", exec_id="e")
    container.call("Kill", signal=9)
    container.call("Wait")
    container.remove()
