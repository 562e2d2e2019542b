"""The queue of events, with a containerd that refuses some."""

from __future__ import annotations

import _socket
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyruntime.shim import events, messages
from pyruntime.shim.events import Publisher
from pyruntime.shim.link import BIND, CONFIRMED, EVENT, EXIT, MonitorLink, ProcessExit
from pyruntime.shim.service import Service
from pyruntime.shim.task import STARTED, Task, TaskProcess
from tests.shim.client import FRAME, read_frame


class Refusing(threading.Thread):
    """Refuses the events of the container "bad"; ``seen``: what came, in order, as ID and pid."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.seen: list[tuple[str, int]] = []
        self.start()

    def run(self) -> None:
        connection, _ = self.listener.accept()
        with connection:
            while True:
                try:
                    stream, _, payload = read_frame(connection)
                except OSError:
                    return
                envelope = messages.FORWARD.decode(messages.REQUEST.decode(payload)["payload"])["envelope"]
                event = messages.EVENTS[envelope["topic"]][1].decode(envelope["event"]["value"])
                self.seen.append((event["container_id"], event["pid"]))
                refused = {"code": 3, "message": "no"} if event["container_id"] == "bad" else None
                answer = messages.RESPONSE.encode({"status": refused, "payload": b""})
                connection.sendall(FRAME.pack(len(answer), stream, 2, 0) + answer)


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(events, "_TRIES", 2)
    containerd, logged = Refusing(tmp_path / "containerd"), list[str]()
    poll = select.epoll()
    pairs = [_socket.socketpair() for _ in range(2)]
    publisher = Publisher(str(tmp_path / "containerd"), "tests", poll, logged.append, lambda: None)

    def serve_until(count: int) -> list[tuple[str, int]]:
        """As the server's loop does, until so many events have come and were answered."""
        while len(containerd.seen) < count or publisher._answer_due:
            if poll.poll(publisher.patience()):
                publisher.read()
            publisher.turn()
        return containerd.seen

    yield publisher, [MonitorLink(pair[0]) for pair in pairs], serve_until, logged
    containerd.listener.close()
    publisher._disconnect()
    for pair in pairs:
        for end in pair:
            end.close()


def test_a_refused_event_delays_those_of_its_container_only(room: Any) -> None:
    publisher, (bad, good), serve_until, logged = room
    for pid in (1, 2):
        publisher.publish(bad, "/tasks/start", container_id="bad", pid=pid)
        publisher.publish(good, "/tasks/start", container_id="good", pid=pid)
    assert serve_until(3)[:3] == [("bad", 1), ("good", 1), ("good", 2)]
    assert publisher.pending == 2 and not publisher.flush(bad, 0) and publisher.flush(good, 0)
    # Its next event comes when it is given up.
    assert serve_until(6)[3:] == [("bad", 1), ("bad", 2), ("bad", 2)]
    assert publisher.pending == 0 and publisher.patience() < 0
    assert [line.rpartition(": ")[2] for line in logged] == ["no", "no"]


def test_the_events_of_a_container_that_has_ended_are_all_published(tmp_path: Path) -> None:
    """Its monitor ends after Shutdown, which does not wait long for containerd. If its first events were dropped when
    the connection to containerd fails, the next ones would come without them."""
    poll, pair = select.epoll(), [_socket.socketpair() for _ in range(2)]
    ended, other = (MonitorLink(ends[0]) for ends in pair)
    publisher = Publisher(str(tmp_path / "containerd"), "tests", poll, print, lambda: None)
    ended.broken = True
    for pid in (1, 2):
        publisher.publish(ended, "/tasks/start", container_id="ended", pid=pid)
        publisher.publish(other, "/tasks/start", container_id="other", pid=pid)
    publisher._fail()
    containerd = Refusing(tmp_path / "containerd")
    while publisher.pending:
        if poll.poll(publisher.patience()):
            publisher.read()
        publisher.turn()
    assert containerd.seen == [("ended", 1), ("other", 1), ("ended", 2), ("other", 2)]
    containerd.listener.close()
    publisher._disconnect()
    for end in (*pair[0], *pair[1]):
        end.close()


def test_the_monitor_has_an_event_before_it_is_confirmed(room: Any, tmp_path: Path) -> None:
    """Otherwise it would keep the event, and tell the next server to publish it again. Any thread may announce the end
    of a process, and the loop may read containerd's answer before that thread goes on."""
    publisher, _, serve_until, _ = room
    ours, monitor = _socket.socketpair()
    link = MonitorLink(ours)
    task = Task("good", str(tmp_path), link, str(tmp_path), lambda task, process: None)
    process = task.processes["e"] = TaskProcess(str(tmp_path), exec_id="e", pid=2, phase=STARTED)
    process.end = ProcessExit(EXIT.pack(7, 0, 1, 2, 0))
    loop = threading.Thread(target=serve_until, args=(1,))
    loop.start()
    process.waiters.append(loop.join)
    Service("tests", publisher, lambda task: None).settle(task, process)
    assert [packet.kind for packet in MonitorLink(monitor).packets()] == [EVENT, CONFIRMED, BIND]
    assert process.finished
    for end in (ours, monitor):
        end.close()
