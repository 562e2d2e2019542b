"""Checkpoint, and a task that is created from one, over the task service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bundles.build import busybox_rootfs
from pyruntime.shim import messages
from tests.criu import path_with_criu
from tests.shim.client import Container, Machine, ShimError, until

pytestmark = pytest.mark.timeout(120)
# The value is in the program's memory only: one that was started again would print another.
_COUNTS = "mine=$(cat /proc/sys/kernel/random/uuid); trap 'echo $mine' USR1; echo ready; while :; do sleep 0.05; done"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    path = tmp_path_factory.mktemp("checkpoint")
    busybox_rootfs(path / "image")
    made = Machine(path)
    made.room.environment["PATH"] = f"{made.room.environment['PATH']}:{path_with_criu()}"
    yield made
    left = made.monitors()
    made.close()
    assert left == []


def options(**fields: Any) -> dict[str, Any]:
    return {"type_url": "containerd.runc.v1.CheckpointOptions", "value": messages.CHECKPOINT_OPTIONS.encode(fields)}


def told(container: Container) -> bytes:
    """What the program says of its memory."""
    before = len(container.out.data)
    container.call("Kill", signal=10)
    until(lambda: b"\n" in container.out.data[before:])
    return container.out.data[before:]


def running(machine: Machine, name: str, *, terminal: bool = False) -> Container:
    container = Container(machine, name, "sh", "-c", _COUNTS, terminal=terminal)
    container.start()
    until(lambda: b"ready" in container.out.data)   # it handles the signal
    return container


def test_a_task_goes_on_after_its_checkpoint(machine: Machine, tmp_path: Path) -> None:
    container = running(machine, "on")
    value = told(container)
    container.call("Checkpoint", path=str(tmp_path / "image"))
    assert told(container) == value
    assert not (tmp_path / "image/dump.log").exists()   # containerd keeps the whole directory
    container.end()
    until(lambda: machine.sink.of("on") == ["create", "start", "checkpointed", "exit", "delete"])


def test_from_one_task_to_another(machine: Machine, tmp_path: Path) -> None:
    first = running(machine, "first")
    value = told(first)
    first.call("Checkpoint", path=str(tmp_path / "image"), options=options(exit=True, work_path=str(tmp_path / "work")))
    assert first.call("Wait")["exit_status"] == 137
    assert (tmp_path / "work/dump.log").exists()
    first.remove()
    for name in ("second", "third"):
        container = Container(machine, name, "sh", "-c", _COUNTS)
        assert container.create(checkpoint=str(tmp_path / "image")) == 0   # as with containerd's shim
        assert (container.call("State")["status"], container.call("Connect")["task_pid"]) == (1, 0)
        machine.kill_server()
        pid = container.call("Start")["pid"]
        assert pid and container.call("State")["pid"] == pid
        assert told(container) == value
        machine.kill_server()
        assert container.call("State")["status"] == 2
        assert told(container) == value
        container.exec("e", "true")
        container.call("Start", exec_id="e")
        assert container.call("Wait", exec_id="e")["exit_status"] == 0
        container.call("Kill", signal=9)
        assert container.call("Wait")["exit_status"] == 137
        container.remove()
        until(lambda name=name: machine.sink.of(name)[-1] == "delete")
        assert list(dict.fromkeys(machine.sink.of(name))) == [
            "create", "start", "exec-added e", "exec-started e", "exit e", "exit", "delete"]


def test_a_terminal(machine: Machine, tmp_path: Path) -> None:
    first = running(machine, "pty-1", terminal=True)
    value = told(first)
    first.call("Checkpoint", path=str(tmp_path / "image"), options=options(exit=True, terminal=True))
    first.call("Wait")
    first.remove()
    second = Container(machine, "pty-2", "sh", "-c", _COUNTS, terminal=True)
    second.create(checkpoint=str(tmp_path / "image"))
    second.call("Start")
    assert told(second) == value
    second.end()


def test_a_checkpoint_that_is_none(machine: Machine, tmp_path: Path) -> None:
    """Start says so; the task can be deleted, and nothing is left."""
    container = Container(machine, "none", "true")
    container.create(checkpoint=str(tmp_path / "nothing"))
    with pytest.raises(ShimError, match="OCI runtime restore failed"):
        container.call("Start")
    assert container.call("State")["status"] == 1
    container.call("Delete")
    assert machine.mounts(container.bundle) == []
    assert container.out.all() == b""
    container.call("Shutdown")
    until(lambda: "none" not in machine.monitors())


def test_a_deleted_task_that_was_not_restored(machine: Machine, tmp_path: Path) -> None:
    container = Container(machine, "unused", "true")
    container.create(checkpoint=str(tmp_path / "nothing"))
    with pytest.raises(ShimError) as refused:
        container.call("Kill", signal=9)
    assert refused.value.code == 5
    assert container.call("Delete")["pid"] == 0
    container.call("Shutdown")
    until(lambda: "unused" not in machine.monitors())
