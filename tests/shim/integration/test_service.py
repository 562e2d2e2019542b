"""The task service over its socket, with a client of ours in the place of containerd."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from pyruntime.shim import messages
from tests.shim.client import FRAME, Client, Container, Machine, ShimError, begin_create, read_frame, until

pytestmark = pytest.mark.timeout(300)


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
    container.start()
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


def test_the_same_program_again(machine: Machine) -> None:
    """The server keeps plans: each process gets its own streams, in its own container."""
    for life in range(2):   # the second container has the same ID and another init
        container = Container(machine, "again", "sh", "-c", f"echo life {life} >/dev/shm/life; sleep 100")
        container.start()
        for number in range(3):
            out = container.exec(f"same-{number}", "sh", "-c", "until cat /dev/shm/life; do :; done; exit 3")
            other = container.exec(f"other-{number}", "sh", "-c", f"exit {number}")
            for name, status in (("same", 3), ("other", number)):
                container.call("Start", exec_id=f"{name}-{number}")
                assert container.call("Wait", exec_id=f"{name}-{number}")["exit_status"] == status
                container.call("Delete", exec_id=f"{name}-{number}")
            assert (out.all(), other.all()) == (f"life {life}\n".encode(), b"")
        container.end()
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


def test_deletes_at_once(machine: Machine) -> None:
    """One of them deletes it."""
    container = Container(machine, "deletes", "sh", "-c", "sleep 100")
    container.start()
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
    container.start()
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
    container.end()


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
    container.start()
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
    container.start()
    for method, fields in (("Update", {"resources": {"type_url": "", "value": text}}),
                           ("Exec", {"exec_id": "e", "spec": {"type_url": "", "value": text}})):
        with pytest.raises(ShimError, match=r"resources|process") as wrong:
            container.call(method, **fields)
        assert wrong.value.code == 3
    with pytest.raises(ShimError, match=r"memory\.limit") as wrong:
        container.call("Update", resources={"type_url": "", "value": b'{"memory": {"limit": "much"}}'})
    assert wrong.value.code == 3
    container.end()


def test_a_start_that_fails_leaves_no_socket(machine: Machine) -> None:
    bundle = machine.path / "no-address"
    (bundle / "address").mkdir(parents=True)
    sockets = Path(machine.room.seen("/run/containerd/s"))
    before = set(sockets.iterdir())
    done = subprocess.run(machine.room.words(*machine.words("no-address", bundle), "start"), stdin=subprocess.DEVNULL,
                          capture_output=True, check=False, timeout=60, env=machine.environment)
    assert done.returncode == 1 and b"cannot write the file address" in done.stderr
    assert set(sockets.iterdir()) == before


def test_limits_and_statistics(machine: Machine) -> None:
    container = Container(machine, "limits", "sleep", "100")
    container.start()
    container.call("Update", resources={"type_url": "", "value": json.dumps({"memory": {"limit": 64 << 20}}).encode()})
    stats = container.call("Stats")["stats"]
    second = stats["type_url"] == "io.containerd.cgroups.v2.Metrics"
    values = (messages.METRICS_2 if second else messages.METRICS_1).decode(stats["value"])
    limit = values["memory"]["usage_limit"] if second else values["memory"]["usage"]["limit"]
    assert limit == 64 << 20
    assert values["pids"]["current"] == 1
    container.end()


def test_twenty_starts_at_once(machine: Machine) -> None:
    machine.kill_server()
    containers: list[Container] = []
    statuses: dict[int, int] = {}

    def one(number: int) -> None:
        container = Container(machine, f"start-{number}", "sh", "-c", f"exit {number}")
        containers.append(container)
        container.start()
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
        container.start()
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
    pid = container.start()
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
    container.start()
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
    container.end()


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
    container.start()
    process = {"args": ["true"], "cwd": "/", "selinuxLabel": "system_u:system_r:container_t:s0:c1,c2"}
    container.call("Exec", exec_id="e", spec={"type_url": "", "value": json.dumps(process).encode()})
    with pytest.raises(ShimError, match=r"selinux label is specified in config, but selinux is disabled"):
        container.call("Start", exec_id="e")
    container.end()
