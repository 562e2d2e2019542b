"""What a server does again after another one was killed."""

from __future__ import annotations

import _socket
from pathlib import Path
from typing import Any

import pytest

from pyruntime.shim.calls import Call
from pyruntime.shim.link import EXIT, MonitorLink, ProcessExit
from pyruntime.shim.service import Service
from pyruntime.shim.task import STARTED, Task, TaskProcess

NO_PROCESS = 1 << 22   # above the largest pid
EARLIER = {"exec_id": "e", "pid": NO_PROCESS, "started": 1, "spec": "{}"}


def task_in(bundle: Path) -> tuple[Task, _socket.socket]:
    """A task and the end of its monitor."""
    ours, theirs = _socket.socketpair()
    task = Task("t", str(bundle), MonitorLink(ours), str(bundle), lambda task, process: None)
    return task, theirs


def ended(status: int) -> ProcessExit:
    return ProcessExit(EXIT.pack(7, 0, 1, NO_PROCESS, status))


@pytest.mark.parametrize(("status", "begun"), [(250 << 8, True), (250 << 8 | 0x10000, False), (9 | 0x10000, False)])
def test_a_program_is_started_once(tmp_path: Path, status: int, begun: bool) -> None:
    """Whatever its exit status is. A process that has not executed it is started again; also the server after the next
    one knows that it is not that process: its exit is forgotten, and nobody would learn of its end."""
    no_publisher: Any = None
    service = Service("tests", no_publisher, lambda task: None)
    task, monitor = task_in(tmp_path)
    process = task.processes["e"] = TaskProcess(str(tmp_path), **EARLIER)
    task.save(process)
    process.end = ended(status)
    assert service._has_begun(task, process) is begun
    assert process.pid == (NO_PROCESS if begun else 0)
    later, other = task_in(tmp_path)
    later.load()
    assert later.processes["e"].pid == process.pid
    for end in (monitor, other, task.link.connection, later.link.connection):
        end.close()


@pytest.mark.parametrize("name", ["t", "other"])
def test_a_repeated_start_of_another_task_announces_nothing(tmp_path: Path, name: str) -> None:
    """It is refused: whoever waits for the end of this one would wait for ever."""
    task, monitor = task_in(tmp_path)
    process = task.processes[""] = TaskProcess(str(tmp_path), pid=NO_PROCESS, phase=STARTED)
    Call(task, {"id": name, "exec_id": ""}, again=True).expect()
    assert process.expected is (name == "t")
    for end in (monitor, task.link.connection):
        end.close()
