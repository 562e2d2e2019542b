"""Events for containerd: one queue for the server, in order, with retries. An event that containerd refuses delays
those of its container only.

Each event is kept by the monitor of its container until containerd has it, so that another server can publish it. The
thread that publishes an event sends it, unless another one waits for its answer; the server's loop reads the answers.
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
    from select import epoll
    from typing import Any

    Event = tuple[MonitorLink, int, bytes]   # the link of its container's monitor, its number there, and the request

_FRAME = struct.Struct(">IIBB")
_REQUEST, _RESPONSE = 1, 2   # types of frames
_TIMEOUT = 5.0     # seconds for an answer
_PAUSE = 0.2       # seconds between attempts to reach containerd
_TRIES = 5         # refusals of one event, after which it is dropped
_SERVICE = "containerd.services.events.ttrpc.v1.Events"


class Publisher:
    """The queue and its connection. ``log`` is called with a message for each event that is dropped, ``wake`` when the
    loop has to look at `patience` again."""

    def __init__(self, address: str, namespace: str, poll: epoll, log: Callable[[str], None],
                 wake: Callable[[], None]) -> None:
        self._address = address
        self._namespace = namespace
        self._poll = poll
        self._log = log
        self._wake = wake
        self._queue: deque[Event] = deque()
        self._sent: Event | None = None   # the event whose answer is awaited
        # The containers whose next event was refused: how often, and not to be sent before
        self._refused: dict[MonitorLink, tuple[int, float]] = {}
        self._changed = threading.Condition()
        self._connection: _socket.socket | None = None
        self._received = b""
        self._stream = 0
        self._last = 0
        self._answer_due = 0.0   # until when the event that was sent must be answered; 0: none was
        self._again = 0.0        # containerd cannot be reached: no event is to be sent before

    def publish(self, link: MonitorLink, topic: str, **fields: Any) -> None:
        """Add an event to the queue; the monitor gets it before the packets that are sent later."""
        name, table = messages.EVENTS[topic]
        now = time.time_ns()
        payload = messages.FORWARD.encode({"envelope": {
            "timestamp": messages.moment(now), "namespace": self._namespace, "topic": topic,
            "event": {"type_url": f"containerd.events.{name}", "value": table.encode(fields)}}})
        with self._changed:
            self._last = number = max(now, self._last + 1)
            link.send(EVENT, number, payload)
            self._queue.append((link, number, payload))
            self._send()

    def again(self, link: MonitorLink, number: int, payload: bytes) -> None:
        """Add an event that another server has not published."""
        with self._changed:
            self._queue.append((link, number, payload))
            self._send()

    def flush(self, link: MonitorLink, seconds: float) -> bool:
        """Wait until the events of this monitor have been published; whether they were in time."""
        with self._changed:
            return self._changed.wait_for(lambda: all(entry[0] is not link for entry in self._queue), seconds)

    @property
    def pending(self) -> int:
        """The number of events in the queue."""
        return len(self._queue)

    # --- for the loop ------------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """The descriptor of the connection; -1 if there is none."""
        return self._connection.fileno() if self._connection else -1

    def patience(self) -> float:
        """The seconds until `turn` must be called; negative: it need not be."""
        with self._changed:
            due = self._answer_due or self._again or min((due for _, due in self._refused.values()), default=0.0)
        return max(due - time.monotonic(), 0.0) if due else -1.0

    def turn(self) -> None:
        """Called after each turn of the loop."""
        with self._changed:
            if self._answer_due and time.monotonic() >= self._answer_due:
                self._fail()
            self._send()

    def read(self) -> None:
        """The connection is readable."""
        with self._changed:
            if self._connection is None:
                return   # another thread has just closed it
            try:
                data = self._connection.recv(65536, _socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:   # containerd is restarted: the events wait, and so do those in the monitors
                self._fail()
                self._send()
                return
            self._received += data
            while len(self._received) >= _FRAME.size:
                length, stream, kind, _ = _FRAME.unpack_from(self._received)
                if len(self._received) < _FRAME.size + length:
                    break
                answer = self._received[_FRAME.size:_FRAME.size + length]
                self._received = self._received[_FRAME.size + length:]
                if stream == self._stream and kind == _RESPONSE and self._answer_due:
                    self._answered(answer)

    # --- called with the lock held -----------------------------------------------------------------------------------

    def _send(self) -> None:
        """Send the next event, unless the answer to one is awaited or it is to be sent later."""
        now = time.monotonic()
        if self._answer_due or now < self._again:
            return
        self._again = 0.0
        self._sent = next((event for event in self._queue if self._refused.get(event[0], (0, 0.0))[1] <= now), None)
        if self._sent is None:
            return
        for fresh in (self._connection is None, True):   # first over a connection that may be that of an earlier daemon
            try:
                self._request(self._sent[2])
                return
            except OSError:
                self._disconnect()
                if fresh:
                    break
        self._fail()

    def _request(self, payload: bytes) -> None:
        if self._connection is None:
            sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
            try:
                sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, struct.pack("@ll", int(_TIMEOUT), 0))
                sock.connect(self._address)
            except BaseException:
                sock.close()
                raise
            self._connection, self._stream, self._received = sock, -1, b""
            self._poll.register(sock, 1)   # EPOLLIN
        self._stream += 2
        request = messages.REQUEST.encode({
            "service": _SERVICE, "method": "Forward", "payload": payload, "timeout": int(_TIMEOUT * 10**9),
            "metadata": [{"key": "containerd-namespace-ttrpc", "value": self._namespace}]})
        self._connection.sendall(_FRAME.pack(len(request), self._stream, _REQUEST, 0) + request)
        self._answer_due = time.monotonic() + _TIMEOUT

    def _answered(self, answer: bytes) -> None:
        assert self._sent is not None
        self._answer_due, link = 0.0, self._sent[0]
        try:
            status = messages.RESPONSE.decode(answer)["status"]
        except Malformed as error:
            status = {"code": 2, "message": f"the answer is malformed: {error}"}
        if status and status["code"]:
            refusals = self._refused.get(link, (0, 0.0))[0] + 1
            if refusals < _TRIES:
                self._refused[link] = refusals, time.monotonic() + refusals
                self._send()
                return
            self._log(f"an event is dropped, containerd refuses it: {status['message']}")
        self._confirm(self._sent)
        self._send()

    def _confirm(self, event: Event) -> None:
        """The event, the first of its container, is done with."""
        link, number, _ = event
        self._queue.remove(event)
        self._refused.pop(link, None)
        link.send(CONFIRMED, number)
        self._changed.notify_all()

    def _fail(self) -> None:
        """There is no containerd: try again soon."""
        self._disconnect()
        self._again = time.monotonic() + _PAUSE
        self._wake()

    def _disconnect(self) -> None:
        self._answer_due = 0.0
        if self._connection is not None:
            self._connection.close()
            self._connection = None
