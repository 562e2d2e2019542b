"""The server is killed at random moments, with traffic: nothing is lost, nothing is left, no status is wrong."""

from __future__ import annotations

import os
import random
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bundles.build import busybox_rootfs
from tests.shim.client import Container, Machine, Reader, until

pytestmark = pytest.mark.timeout(600)
KILLS = int(os.environ.get("PYRUNTIME_TEST_KILLS", "25"))


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    busybox_rootfs(tmp_path / "image")
    made = Machine(tmp_path)
    yield made
    made.close()


class Traffic:
    """Threads that create tasks and run processes until ``stop``; ``wrong``: what was not as it should be."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.stop = False
        self.wrong: list[Any] = []
        self.done = 0
        self.threads = [threading.Thread(target=self._guard, args=(function, number))
                        for number in (1, 2) for function in (self._processes, self._tasks)]
        for thread in self.threads:
            thread.start()

    def _guard(self, function: Callable[[int], None], number: int) -> None:
        try:
            function(number)
        except BaseException:
            self.wrong.append(traceback.format_exc())

    def _same(self, what: str, found: Any, expected: Any) -> None:
        if found != expected:
            self.wrong.append((what, found, expected))

    def _script(self, chance: random.Random) -> tuple[str, bytes, int]:
        lines, status = chance.choice([0, 3, 14, 300, 4000]), chance.randrange(200)
        script = f"i=0; while [ $i -lt {lines} ]; do echo $i; i=$((i+1)); done; "
        return script, "".join(f"{number}\n" for number in range(lines)).encode(), status

    def _tasks(self, number: int) -> None:
        chance, turn = random.Random(number), 0
        while not self.stop:
            turn += 1
            script, text, status = self._script(chance)
            terminal = chance.random() < 0.25
            container = Container(self.machine, f"task-{number}-{turn}", "sh", "-c", f"{script} exit {status}",
                                  terminal=terminal)
            pid = container.create()
            waiting = container.client.begin("Wait", id=container.name)
            container.call("Start")
            self._same("status", container.client.answer(waiting, "Wait")["exit_status"], status)
            deleted = container.remove()
            self._same("deleted", (deleted["pid"], deleted["exit_status"]), (pid, status))
            self._same("output", container.out.all(), text.replace(b"\n", b"\r\n") if terminal else text)
            self.done += 1

    def _processes(self, number: int) -> None:
        chance, turn = random.Random(number), 0
        container = Container(self.machine, f"processes-{number}", "sleep", "1000")
        container.start()
        while not self.stop:
            turn += 1
            self._process(container, f"e{turn}", chance)
            self.done += 1
        container.call("Kill", signal=9)
        self._same("init", container.call("Wait")["exit_status"], 137)
        container.remove()

    def _process(self, container: Container, name: str, chance: random.Random) -> None:
        script, text, status = self._script(chance)
        terminal, given = chance.random() < 0.25, chance.random() < 0.3
        streams, fields = Reader(container.bundle / f"err-{name}"), {}
        if given:
            fields["stdin"] = str(container.bundle / f"in-{name}")
            os.mkfifo(fields["stdin"])
            script += "head -n 1; "
        if terminal:
            streams.close()
        else:
            script += "echo err >&2; "
            fields["stderr"] = streams.path
        out = container.exec(name, "sh", "-c", f"{script} exit {status}", terminal=terminal, **fields)
        waiting = container.client.begin("Wait", id=container.name, exec_id=name)
        pid = container.call("Start", exec_id=name)["pid"]
        if given:
            with open(fields["stdin"], "wb", buffering=0) as file:
                file.write(b"given\n")
                self._same("exec status", container.client.answer(waiting, "Wait")["exit_status"], status)
            text += b"given\n"
        else:
            self._same("exec status", container.client.answer(waiting, "Wait")["exit_status"], status)
        deleted = container.call("Delete", exec_id=name)
        self._same("exec deleted", (deleted["pid"], deleted["exit_status"]), (pid, status))
        found = out.all()
        if terminal:
            text = text.replace(b"\n", b"\r\n")
            if given:   # its echo may come at any place, also within a line
                found, text = bytes(sorted(found)), bytes(sorted(text + b"given\r\n"))
        else:
            self._same("exec errors", streams.all(), b"err\n")
        self._same("exec output", found, text)


def test_nothing_is_lost(machine: Machine) -> None:
    traffic, chance, kills = Traffic(machine), random.Random(7), 0
    while (kills < KILLS or traffic.done <= KILLS) and any(thread.is_alive() for thread in traffic.threads):
        before, last = traffic.done, time.monotonic()
        time.sleep(chance.uniform(*chance.choice([(0, 0.05), (0.05, 0.6)])))
        for pid in machine.servers():
            kills += machine.room.run("kill", "-9", str(pid)).returncode == 0
        # Every other server lives until it has done something: on a busy host, it takes longer to start.
        while kills % 2 and traffic.done == before and time.monotonic() < last + 10:
            time.sleep(0.01)
    traffic.stop = True
    for thread in traffic.threads:
        thread.join(100)
    assert traffic.wrong == []
    assert [traceback.format_stack(sys._current_frames()[thread.ident]) for thread in traffic.threads
            if thread.ident and thread.is_alive()] == []
    assert kills >= KILLS and traffic.done > KILLS
    assert machine.monitors() == []
    assert [name for name in os.listdir(machine.room.seen("/run/containerd/s")) if ".server" not in name] == []
    assert machine.mounts(machine.path) == []
    assert os.listdir(machine.room.seen(f"/run/containerd/pyruntime/{machine.namespace}")) == []
    names = {fields["container_id"] for _, fields in machine.sink.events}
    for name in names:   # an event may come twice, but none is missing, and each comes in its order
        until(lambda name=name: machine.sink.of(name)[-1] == "delete")
        topics = list(dict.fromkeys(machine.sink.of(name)))
        assert [topic for topic in topics if " " not in topic] == ["create", "start", "exit", "delete"]
        for process in {topic.split()[1] for topic in topics if " " in topic}:
            assert [topic.split()[0] for topic in topics if topic.endswith(f" {process}")] == [
                "exec-added", "exec-started", "exit"]
