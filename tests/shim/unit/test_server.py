"""What threads of the server do at once."""

from __future__ import annotations

import _socket
import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pyruntime.shim.link import MonitorLink
from pyruntime.shim.server import Monitor, ShimServer


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
