"""Many at once, and much output."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from bundles.build import busybox_rootfs
from tests.shim.client import Client, Container, Machine, until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    path = tmp_path_factory.mktemp("load")
    busybox_rootfs(path / "image")
    made = Machine(path)
    yield made
    left = made.monitors()
    made.close()
    assert left == []


@pytest.fixture
def alive(machine: Machine, request: pytest.FixtureRequest) -> Iterator[Container]:
    container = Container(machine, request.node.name.replace("[", "-").rstrip("]"), "sleep", "1000")
    container.start()
    yield container
    container.call("Kill", signal=9)
    assert container.call("Wait")["exit_status"] == 137
    container.remove()


def test_execs_at_once(machine: Machine, alive: Container) -> None:
    """Over one connection each, and all of them waited for over one."""
    streams: dict[int, Any] = {}

    def one(number: int) -> None:
        client = Client(alive.path)
        mine = type("Mine", (), {"client": client, "name": alive.name, "bundle": alive.bundle,
                                 "call": Container.call, "exec": Container.exec})()
        streams[number] = Container.exec(mine, f"e{number}", "sh", "-c", f"echo {number}; exit {number}")
        client.call("Start", id=alive.name, exec_id=f"e{number}")
        client.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    waits = {number: alive.client.begin("Wait", id=alive.name, exec_id=f"e{number}") for number in range(50)}
    for number, stream in waits.items():
        assert alive.client.answer(stream, "Wait")["exit_status"] == number
        alive.call("Delete", exec_id=f"e{number}")
        assert streams[number].all() == f"{number}\n".encode()


@pytest.mark.parametrize("terminal", [False, True])
def test_much_output(alive: Container, terminal: bool) -> None:
    out = alive.exec("much", "sh", "-c", "head -c 20000000 /dev/zero | tr '\\0' x; exit 5", terminal=terminal)
    alive.call("Start", exec_id="much")
    assert alive.call("Wait", exec_id="much")["exit_status"] == 5
    alive.call("Delete", exec_id="much")
    assert out.all() == b"x" * 20_000_000


def test_a_client_that_does_not_read(machine: Machine, alive: Container) -> None:
    """It stops its own process only, and Delete does not wait for it for ever."""
    path = alive.bundle / "unread"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    process = {"args": ["sh", "-c", "head -c 200000 /dev/zero"], "cwd": "/", "env": ["PATH=/bin"]}
    alive.call("Exec", exec_id="unread", stdout=str(path), terminal=True, spec={
        "type_url": "", "value": json.dumps(process).encode()})
    alive.call("Start", exec_id="unread")
    out = alive.exec("other", "echo", "hello")
    alive.call("Start", exec_id="other")
    assert alive.call("Wait", exec_id="other")["exit_status"] == 0
    assert out.all() == b"hello\n"
    alive.call("Kill", exec_id="unread", signal=9)
    assert alive.call("Wait", exec_id="unread")["exit_status"] == 137
    begun = time.monotonic()
    alive.call("Delete", exec_id="unread")
    assert time.monotonic() - begun < 12
    os.close(reader)


def test_kill_all(machine: Machine) -> None:
    """In the host's pid namespace, where nothing dies with init."""
    container = Container(machine, "all", "sh", "-c", "sleep 1001 & sleep 1001 & sleep 1001 & wait",
                          edit=lambda config: config["linux"].update(namespaces=[
                              entry for entry in config["linux"]["namespaces"] if entry["type"] != "pid"]))
    container.start()
    until(lambda: len(container.call("Pids")["processes"]) == 4)
    container.call("Kill", signal=9, all=True)
    assert container.call("Wait")["exit_status"] == 137
    until(lambda: container.call("Pids")["processes"] == [])   # when the kernel has removed them
    container.remove()


def test_the_kernel_kills_for_memory(machine: Machine) -> None:
    container = Container(machine, "oom", "sh", "-c", "x=$(head -c 100000000 /dev/zero | tr '\\0' x)",
                          edit=lambda config: config["linux"].setdefault("resources", {}).update(
                              memory={"limit": 16 << 20, "swap": 16 << 20}))
    container.start()
    assert container.call("Wait")["exit_status"] == 137
    until(lambda: "oom" in machine.sink.of("oom"))
    container.remove()
    until(lambda: machine.sink.of("oom")[-1] == "delete")
    assert [topic for topic in machine.sink.of("oom") if topic != "oom"] == ["create", "start", "exit", "delete"]
