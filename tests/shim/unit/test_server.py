"""What threads of the server do at once."""

from __future__ import annotations

import _socket
import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pyruntime.shim.calls import Call
from pyruntime.shim.link import MonitorLink
from pyruntime.shim.sandbox_service import NoEvents
from pyruntime.shim.server import Monitor, ShimServer
from pyruntime.shim.service import Service
from pyruntime.shim.task import CREATED, Task, TaskProcess


class Counter:
    """An OOM counter whose making takes as long as another thread needs to begin with its own."""

    event = 1
    made: list[Counter]

    def __init__(self, barrier: threading.Barrier) -> None:
        try:
            barrier.wait(0.3)
        except threading.BrokenBarrierError:   # no other thread has come
            barrier.reset()
        self.fds = [os.eventfd(0)]
        self.made.append(self)

    def close(self) -> None:
        os.close(self.fds.pop())


@pytest.fixture
def watched(tmp_path: Path) -> Any:
    listener, (ours, theirs) = _socket.socket(), _socket.socketpair()
    server, monitor = ShimServer(str(tmp_path / "server"), listener, "tests", "/none", 1.0), Monitor(MonitorLink(ours))
    server._monitors[ours.fileno()] = monitor
    server._poll.register(ours, 1)
    barrier, Counter.made = threading.Barrier(2), []
    task: Any = SimpleNamespace(id="t", runtime=SimpleNamespace(oom_counter=lambda _id: Counter(barrier)), leaving=True,
                                parent=SimpleNamespace(lost=lambda: None))
    monitor.task = task
    yield server, monitor, task
    for end in (listener, theirs):
        end.close()


def test_a_container_is_watched_once(watched: Any) -> None:
    """After a repeated Start, by two threads."""
    server, monitor, task = watched
    threads = [threading.Thread(target=server._watch, args=(task,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server._lose(monitor)
    assert [counter.fds for counter in Counter.made] == [[]]
    assert server._counters == {}


def test_a_monitor_that_is_lost_meanwhile(watched: Any) -> None:
    server, monitor, task = watched
    thread = threading.Thread(target=server._watch, args=(task,))
    thread.start()
    while not thread.ident:
        pass
    server._lose(monitor)
    thread.join()
    assert [counter.fds for counter in Counter.made if counter.fds] == []
    assert server._counters == {}


def test_a_create_that_is_to_be_repeated_is_waited_for(tmp_path: Path) -> None:
    """What the server has read is replaced when the repeated Create begins."""
    ours, theirs = _socket.socketpair()
    task = Task("t", str(tmp_path), MonitorLink(ours), str(tmp_path), lambda task, process: None)
    read = task.processes[""] = TaskProcess(str(tmp_path))
    call = Call(task, {"id": "t"}, again=True)
    call.expect()
    assert not call.await_create(0.01)
    with task.changed:
        again = task.processes[""] = TaskProcess(str(tmp_path), key=read.key)
        again.expected = True
    assert not call.await_create(0.01)
    waiting = threading.Thread(target=call.await_create, args=(60.0,))
    waiting.start()
    again.phase = CREATED
    Service("tests", NoEvents(), lambda task: None)._expected(call, again)
    waiting.join(30)
    assert not waiting.is_alive() and call.await_create(0.01)
    for end in (ours, theirs):
        end.close()


def test_events_are_published_when_all_monitors_have_ended(watched: Any) -> None:
    """Containerd cannot be reached for a moment: the server does not wait for its own end until it tries again."""
    server, monitor, _ = watched
    server._publisher.publish(monitor.link, "/tasks/delete", container_id="t")
    assert 0 < server._patience() <= 0.2   # there is no containerd
    server._lose(monitor)
    assert 0 < server._patience() <= 0.2
    server._publisher._queue.clear()
    server._publisher._again = 0.0
    assert 0.2 < server._patience() <= 1.0   # then it ends
    server._end = 0.0
    assert server._patience() == 0.0
