"""A client of the shim, as containerd is one, and a place for its events: without containerd."""

from __future__ import annotations

import json
import os
import re
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyruntime.runtime.config.template import template
from pyruntime.shim import messages
from tests.clients.documented_configs import PYRUNTIME
from tests.clients.room import Room

SHIM = str(Path(PYRUNTIME).parent / "containerd-shim-pyruntime-v2")
FRAME = struct.Struct(">IIBB")
PATIENCE = 60.0   # seconds; long, since other tests may run


def read_frame(connection: socket.socket) -> tuple[int, int, bytes]:
    """Stream, type and payload of the next frame."""
    def exactly(length: int) -> bytes:
        data = b""
        while len(data) < length:
            part = connection.recv(length - len(data))
            if not part:
                raise ConnectionResetError
            data += part
        return data

    length, stream, kind, _ = FRAME.unpack(exactly(FRAME.size))
    return stream, kind, exactly(length)


class ShimError(Exception):
    """An answer with a status."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Client:
    """One connection; ``call`` waits for the answer, ``begin`` does not."""

    methods = messages.METHODS

    def __init__(self, path: str, service: str = "containerd.task.v2.Task") -> None:
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.settimeout(PATIENCE)
        self.connection.connect(path)
        self.service = service
        self.stream = -1
        self._answers: dict[int, bytes] = {}

    def begin(self, method: str, **fields: Any) -> int:
        self.stream += 2
        known = self.methods.get(method)
        request = messages.REQUEST.encode({"service": self.service, "method": method,
                                           "payload": known[0].encode(fields) if known else b""})
        self.connection.sendall(FRAME.pack(len(request), self.stream, 1, 0) + request)
        return self.stream

    def answer(self, stream: int, method: str) -> dict[str, Any]:
        while stream not in self._answers:
            found, kind, payload = read_frame(self.connection)
            assert kind == 2
            self._answers[found] = payload
        response = messages.RESPONSE.decode(self._answers.pop(stream))
        if response["status"]:
            raise ShimError(response["status"]["code"], response["status"]["message"])
        return self.methods[method][1].decode(response["payload"])

    def call(self, method: str, **fields: Any) -> dict[str, Any]:
        return self.answer(self.begin(method, **fields), method)

    def close(self) -> None:
        self.connection.close()


class EventSink:
    """What containerd's event service would get: topics and fields, in order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            while True:
                try:
                    stream, _, payload = read_frame(connection)
                    request = messages.REQUEST.decode(payload)
                    assert request["service"] == "containerd.services.events.ttrpc.v1.Events"
                    envelope = messages.FORWARD.decode(request["payload"])["envelope"]
                    name, table = messages.EVENTS[envelope["topic"]]
                    assert envelope["event"]["type_url"] == f"containerd.events.{name}"
                    self.events.append((envelope["topic"], table.decode(envelope["event"]["value"])))
                    connection.sendall(FRAME.pack(0, stream, 2, 0))
                except OSError:
                    return

    def of(self, task: str) -> list[str]:
        """The topics of a task's events, and the exec ID of those that have one."""
        return [" ".join([topic.removeprefix("/tasks/"), *filter(None, [fields.get("exec_id") or (
            fields.get("id") if topic == "/tasks/exit" and fields["id"] != task else "")])])
                for topic, fields in list(self.events) if fields["container_id"] == task]


class Machine:
    """A room in which shims are started, with one namespace, which is also the name of the cgroup. ``shim`` is the
    program: ours, or containerd's own; ``suffix`` tells two rooms apart."""

    def __init__(self, path: Path, shim: str = SHIM, suffix: str = "") -> None:
        self.path = path
        self.shim = shim
        self.namespace = f"shim-tests-{os.getpid()}{suffix}"
        self.room = Room(path, [self.namespace], str(Path(PYRUNTIME).parent))
        self.sink = EventSink(path / "events")
        self.clients: list[Client] = []

    def start(self, task: str, bundle: Path, request: bytes = b"") -> str:
        """Run `start` with a request on standard input; return the socket's path, as it is seen here."""
        # Not through nsenter alone: containerd's shim looks for the OOM score of its parent.
        words = self.room.words("sh", "-c", f'cd {bundle}; "$@"; exit $?', "sh", *self.words(task, bundle), "start")
        done = subprocess.run(words, input=request, env=self.environment, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return self.room.seen(self.address(done.stdout).removeprefix("unix://"))

    def address(self, answer: bytes) -> str:
        """The address in the answer of `start`."""
        return answer.decode()

    def client(self, path: str) -> Client:
        """A connection that is closed with the room at the latest."""
        self.clients.append(Client(path))
        return self.clients[-1]

    def words(self, task: str, bundle: Path) -> list[str]:
        return [self.shim, "-namespace", self.namespace, "-address", "/run/none", "-id", task, "-bundle", str(bundle)]

    @property
    def environment(self) -> dict[str, str]:
        return {**self.room.environment, "TTRPC_ADDRESS": str(self.sink.path)}

    def servers(self) -> list[int]:
        """The pids of servers in the room, as they are seen in it."""
        found = self.room.run("pgrep", "-f", f"shim-pyruntime-v2 serve .* {self.namespace} ").stdout.split()
        return [int(pid) for pid in found]

    def kill_server(self) -> None:
        for pid in self.servers():
            self.room.run("kill", "-9", str(pid))

    def mounts(self, path: Path) -> list[str]:
        """The mounts in the room at a path or below it: here they are not seen."""
        points = [line.split()[4] for line in self.room.ok("cat", "/proc/self/mountinfo").splitlines()]
        return [point for point in points if Path(point).is_relative_to(path)]

    def monitors(self) -> list[str]:
        """The IDs of the tasks that have a monitor."""
        return re.findall(rf"-namespace {self.namespace} .*-id (\S+) .*start",
                          self.room.run("ps", "-eo", "args").stdout)

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.sink.listener.close()
        self.room.close()


class Reader:
    """The client's end of a FIFO for output."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path, 0o700)
        self.path = str(path)
        self.data = b""
        # At once, as containerd does: the shim may open and close its end before the thread runs.
        self._fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        waiting = select.poll()
        waiting.register(self._fd, select.POLLIN)
        waiting.poll()   # until there is, or has been, a writer
        os.set_blocking(self._fd, True)
        while part := os.read(self._fd, 65536):
            self.data += part
        os.close(self._fd)

    def close(self) -> None:
        """Nobody will write."""
        os.close(os.open(self.path, os.O_WRONLY))
        self.all()

    def all(self) -> bytes:
        """Everything up to the end of the stream."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), f"the stream has not ended: {self.data!r}"
        return self.data


class Container:
    """A bundle as containerd prepares it, and a client of its shim."""

    def __init__(self, machine: Machine, name: str, *args: str, terminal: bool = False, request: bytes = b"",
                 edit: Callable[[dict[str, Any]], None] = lambda config: None) -> None:
        self.machine = machine
        self.name = name
        self.bundle = machine.path / name
        (self.bundle / "rootfs").mkdir(parents=True)
        config = template(rootless=False, uid=0, gid=0, unified=False)
        config["process"].update(args=list(args), terminal=terminal)
        config["linux"]["cgroupsPath"] = f"/{machine.namespace}/{name}"
        edit(config)
        (self.bundle / "config.json").write_text(json.dumps(config))
        self.terminal = terminal
        self.path = machine.start(name, self.bundle, request)
        self.client = machine.client(self.path)
        self.out = Reader(self.bundle / "out")

    def create(self, **fields: Any) -> int:
        mount = {"type": "bind", "source": str(self.machine.path / "image"), "options": ["rbind", "rw"]}
        pid: int = self.client.call("Create", id=self.name, bundle=str(self.bundle), terminal=self.terminal, **{
            "rootfs": [mount], "stdout": self.out.path, **fields})["pid"]
        return pid

    def call(self, method: str, **fields: Any) -> dict[str, Any]:
        return self.client.call(method, id=self.name, **fields)

    def start(self) -> int:
        """Create it, and start it; its process ID."""
        pid = self.create()
        self.call("Start")
        return pid

    def exec(self, exec_id: str, *args: str, **fields: Any) -> Reader:
        out = Reader(self.bundle / f"out-{exec_id}")
        process = {"args": list(args), "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
        self.call("Exec", exec_id=exec_id, stdout=out.path, spec={
            "type_url": "types.containerd.io/opencontainers/runtime-spec/1/Process",
            "value": json.dumps(process).encode()}, **fields)
        return out

    def remove(self) -> dict[str, Any]:
        deleted = self.call("Delete")
        self.call("Shutdown", now=True)
        until(lambda: self.name not in self.machine.monitors())
        assert self.machine.mounts(self.bundle) == []
        self.client.close()
        return deleted

    def end(self) -> None:
        """Kill it, wait, and remove it."""
        self.call("Kill", signal=9)
        self.call("Wait")
        self.remove()


def until(condition: Any) -> None:
    """Wait until the condition is true."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "never true"
        time.sleep(0.02)


def ran(words: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(words, capture_output=True, check=False, timeout=PATIENCE, **options)


def begin_create(container: Container, **fields: str) -> tuple[int, Path]:
    """A Create that waits for a client, who does not open its FIFO: the stream, and the FIFO."""
    fifo = container.bundle / "unread"
    os.mkfifo(fifo)
    mount = {"type": "bind", "source": str(container.machine.path / "image"), "options": ["rbind"]}
    begun = container.client.begin("Create", id=container.name, bundle=str(container.bundle), stdout=str(fifo),
                                   rootfs=[mount], **fields)
    until(lambda: container.machine.mounts(container.bundle))
    return begun, fifo
