"""A client of the shim, as containerd is one, and a place for its events: without containerd."""

from __future__ import annotations

import os
import re
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from pyruntime.shim import messages
from tests.clients.documented_configs import PYRUNTIME
from tests.clients.room import Room

SHIM = str(Path(PYRUNTIME).parent / "containerd-shim-pyruntime-v2")
FRAME = struct.Struct(">IIBB")
PATIENCE = 20.0


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

    def __init__(self, path: str, service: str = "containerd.task.v2.Task") -> None:
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.settimeout(PATIENCE)
        self.connection.connect(path)
        self.service = service
        self.stream = -1
        self._answers: dict[int, bytes] = {}

    def begin(self, method: str, **fields: Any) -> int:
        self.stream += 2
        known = messages.METHODS.get(method)
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
        return messages.METHODS[method][1].decode(response["payload"])

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
    """A room in which shims are started, with one namespace."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.namespace = f"shim-tests-{os.getpid()}"
        self.room = Room(path, [self.namespace], str(Path(PYRUNTIME).parent))
        self.sink = EventSink(path / "events")
        self.clients: list[Client] = []

    def start(self, task: str, bundle: Path) -> str:
        """Run `start`; return the socket's path, as it is seen here."""
        done = self.room.run(*self.words(task, bundle), "start", env=self.environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout == (bundle / "address").read_text()
        return self.room.seen(done.stdout.removeprefix("unix://"))

    def client(self, path: str) -> Client:
        """A connection that is closed with the room at the latest."""
        self.clients.append(Client(path))
        return self.clients[-1]

    def words(self, task: str, bundle: Path) -> list[str]:
        return [SHIM, "-namespace", self.namespace, "-address", "/run/none", "-id", task, "-bundle", str(bundle)]

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
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        fd = os.open(self.path, os.O_RDONLY)
        while part := os.read(fd, 65536):
            self.data += part
        os.close(fd)

    def all(self) -> bytes:
        """Everything up to the end of the stream."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), f"the stream has not ended: {self.data!r}"
        return self.data


def until(condition: Any) -> None:
    """Wait until the condition is true."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "never true"
        time.sleep(0.02)


def ran(words: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(words, capture_output=True, check=False, timeout=PATIENCE, **options)
