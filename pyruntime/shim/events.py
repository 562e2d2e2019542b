"""Events for containerd: one queue for the server, in order, with retries.

Each event is kept by the monitor of its container until containerd has it, so that another server can publish it.
"""

from __future__ import annotations

import _socket
import struct
import threading
import time
from collections import deque

from pyruntime.shim import messages
from pyruntime.shim.link import CONFIRMED, EVENT, MonitorLink
from pyruntime.shim.protobuf import Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_FRAME = struct.Struct(">IIBB")
_TIMEOUT = 5.0     # seconds for an answer
_TRIES = 5         # refusals of one event, after which it is dropped
_SERVICE = "containerd.services.events.ttrpc.v1.Events"


class Refused(Exception):
    """containerd has answered with an error."""


class Publisher:
    """The queue and its thread. ``log`` is called with a message for each event that is dropped."""

    def __init__(self, address: str, namespace: str, log: Callable[[str], None]) -> None:
        self._address = address
        self._namespace = namespace
        self._log = log
        self._queue: deque[tuple[MonitorLink, int, bytes]] = deque()
        self._changed = threading.Condition()
        self._connection: _socket.socket | None = None
        self._stream = -1
        self._last = 0
        threading.Thread(target=self._run, name="events", daemon=True).start()

    def publish(self, link: MonitorLink, topic: str, **fields: Any) -> None:
        """Add an event to the queue; it is the monitor's before this returns."""
        name, table = messages.EVENTS[topic]
        now = time.time_ns()
        payload = messages.FORWARD.encode({"envelope": {
            "timestamp": messages.moment(now), "namespace": self._namespace, "topic": topic,
            "event": {"type_url": f"containerd.events.{name}", "value": table.encode(fields)}}})
        with self._changed:
            self._last = number = max(now, self._last + 1)
            link.send(EVENT, number, payload)
            self._queue.append((link, number, payload))
            self._changed.notify_all()

    def again(self, link: MonitorLink, number: int, payload: bytes) -> None:
        """Add an event that another server has not published."""
        with self._changed:
            self._queue.append((link, number, payload))
            self._changed.notify_all()

    def flush(self, link: MonitorLink, seconds: float) -> bool:
        """Wait until the events of this monitor have been published; whether they were in time."""
        with self._changed:
            return self._changed.wait_for(lambda: all(entry[0] is not link for entry in self._queue), seconds)

    @property
    def pending(self) -> int:
        """The number of events in the queue."""
        return len(self._queue)

    def _run(self) -> None:
        refusals = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._queue))
                link, number, payload = self._queue[0]
            try:
                self._forward(payload)
            except Refused as error:
                refusals += 1
                if refusals < _TRIES:
                    time.sleep(refusals)
                    continue
                self._log(f"an event is dropped, containerd refuses it: {error}")
            except OSError:   # containerd is restarted: the events wait, and so do those in the monitors
                self._disconnect()
                time.sleep(0.2)
                if not link.broken:
                    continue
            refusals = 0
            link.send(CONFIRMED, number)
            with self._changed:
                self._queue.popleft()
                self._changed.notify_all()

    def _forward(self, payload: bytes) -> None:
        """Send one event and wait for the answer. Raises Refused, OSError."""
        for attempt in (1, 2):   # a connection of containerd's that was restarted meanwhile
            try:
                return self._call(payload)
            except OSError:
                self._disconnect()
                if attempt == 2:
                    raise

    def _call(self, payload: bytes) -> None:
        if self._connection is None:
            sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
            for direction in (_socket.SO_RCVTIMEO, _socket.SO_SNDTIMEO):   # settimeout would poll before each call
                sock.setsockopt(_socket.SOL_SOCKET, direction, struct.pack("@ll", int(_TIMEOUT), 0))
            try:
                sock.connect(self._address)
            except BaseException:
                sock.close()
                raise
            self._connection, self._stream = sock, -1
        self._stream += 2
        request = messages.REQUEST.encode({
            "service": _SERVICE, "method": "Forward", "payload": payload, "timeout": int(_TIMEOUT * 10**9),
            "metadata": [{"key": "containerd-namespace-ttrpc", "value": self._namespace}]})
        self._connection.sendall(_FRAME.pack(len(request), self._stream, 1, 0) + request)
        while True:
            length, stream, kind, _ = _FRAME.unpack(self._read(_FRAME.size))
            answer = self._read(length)
            if stream == self._stream and kind == 2:
                break
        try:
            status = messages.RESPONSE.decode(answer)["status"]
        except Malformed as error:
            raise OSError(0, f"containerd's answer is malformed: {error}") from None
        if status and status["code"]:
            raise Refused(status["message"])

    def _read(self, length: int) -> bytes:
        assert self._connection
        data = bytearray()
        while len(data) < length:
            part = self._connection.recv(length - len(data))
            if not part:
                raise ConnectionResetError("the connection was closed")
            data += part
        return bytes(data)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
