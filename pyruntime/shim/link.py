"""The server's end of a link: a connection from the monitor of a container (pyruntime/native/shim/shim.h).

The monitor sends what containerd asks, and the exits of its processes; it starts processes, answers containerd and
holds descriptors when it is told to.
"""

from __future__ import annotations

import _socket
import os
import struct
import threading
from queue import SimpleQueue

from pyruntime.errors import PyruntimeError
from pyruntime.runtime.api import Parent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HEAD = struct.Struct("=IBBHQ")    # struct head: length, kind, descriptors, flags, number
EXIT = struct.Struct("=QQqii")    # struct exit: serial, key, time, pid, wait status and NO_PROGRAM
PROTOCOL, OLDEST = 1, 1           # versions of the link that this server serves, from OLDEST on
(HELLO, EXITED, EVENT, READY, REQUEST, SPAWNED, CLOSED) = b"HXERQSC"
(SPAWN, RESPONSE, FORGET, BIND, CONFIRMED, HOLD, TERMINAL, RESIZE, CLOSE_STDIN, RELEASE, OPEN) = b"sqfbdhtwcro"
_NO_PROGRAM = 0x10000
_LARGEST = 64 << 20
_CHUNK = 1 << 16


class Packet:
    """A packet of the monitor."""

    __slots__ = ("flags", "kind", "number", "payload")

    def __init__(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        self.kind = kind
        self.flags = flags
        self.number = number
        self.payload = payload


class ProcessExit:
    """The end of a process. ``status``: its exit status, 128 + N when signal N killed it; ``time``: ns since 1970;
    ``executed``: whether it had executed a program."""

    __slots__ = ("executed", "key", "pid", "serial", "status", "time", "wait_status")

    def __init__(self, payload: bytes) -> None:
        self.serial, self.key, self.time, self.pid, status = EXIT.unpack(payload)
        self.executed = not status & _NO_PROGRAM
        self.wait_status: int = status & ~_NO_PROGRAM
        code = os.waitstatus_to_exitcode(self.wait_status)
        self.status = 128 - code if code < 0 else code


class MonitorLink:
    """One connection. Packets may be sent by any thread; one thread reads them."""

    def __init__(self, connection: _socket.socket) -> None:
        self.connection = connection
        self._received = bytearray()
        self._sending = threading.Lock()
        self.broken = False

    def packets(self) -> Iterator[Packet]:
        """Read once, and return the packets that are complete. Sets ``broken`` at the end of the connection."""
        try:
            data = self.connection.recv(_CHUNK)
        except OSError:
            data = b""
        if not data:
            self.broken = True
        self._received += data
        at = 0
        while len(self._received) - at >= HEAD.size:
            length, kind, _, flags, number = HEAD.unpack_from(self._received, at)
            if length > _LARGEST:
                self.broken = True
                return
            end = at + HEAD.size + length
            if len(self._received) < end:
                break
            yield Packet(kind, flags, number, bytes(self._received[at + HEAD.size:end]))
            at = end
        del self._received[:at]

    def send(self, kind: int, number: int, payload: bytes = b"", *, flags: int = 0, fds: Sequence[int] = ()) -> None:
        """Send a packet, unless the monitor has ended: whoever waits for it is told so elsewhere."""
        data = HEAD.pack(len(payload), kind, len(fds), flags, number) + payload
        with self._sending:
            try:
                if fds:
                    rights = struct.pack(f"={len(fds)}i", *fds)
                    sent = self.connection.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
                    data = data[sent:]
                if data:
                    self.connection.sendall(data)
            except OSError:
                self.broken = True

    def close(self) -> None:
        """Close the connection, while no thread sends: another monitor may get the number of the descriptor."""
        self.broken = True
        self.connection.shutdown(_socket.SHUT_RDWR)   # ends a send that waits for the monitor
        with self._sending:
            self.connection.close()


class MonitorParent(Parent):
    """The parent of a container's processes: its monitor.

    ``claim`` is called with each exit; it returns whether the process is known. Other exits are kept for `wait`.
    """

    def __init__(self, link: MonitorLink, claim: Callable[[ProcessExit], bool]) -> None:
        self._link = link
        self._claim = claim
        self._changed = threading.Condition()
        self._unclaimed: dict[int, ProcessExit] = {}
        self._claimed: dict[int, ProcessExit] = {}   # the last of each pid
        self._ending: set[int] = set()   # processes whose exit nobody waits for
        self._answers: dict[int, SimpleQueue[int]] = {}
        self._last = 0

    _copy = -1   # of the stub's program, sealed; for all containers of this server
    _copying = threading.Lock()

    def program(self, make: Callable[[], int]) -> int:
        """As Parent.program: one copy serves all. A server that is older than the installed stub has its own."""
        with self._copying:
            if MonitorParent._copy < 0:
                MonitorParent._copy = make()
            return os.dup(MonitorParent._copy)

    def spawn(self, program: int, words: list[str], descriptors: Sequence[tuple[int, int]]) -> int:
        """As Parent.spawn."""
        targets = [target for _, target in descriptors]
        payload = struct.pack(f"={len(targets)}H", *targets) + b"".join(word.encode() + b"\0" for word in words)
        pid = self._ask(SPAWN, payload, len(targets), [program, *(fd for fd, _ in descriptors)]).get()
        if pid < 0:
            raise OSError(-pid, os.strerror(-pid))
        return self._known(pid)

    def hold_open(self, fifos: Sequence[tuple[str, bool]], key: int) -> list[int]:
        """Let the monitor open FIFOs (path, whether for reading), without waiting for their other ends, and hold them
        under a key. Returns an errno for each, or 0. Raises PyruntimeError if the monitor has ended."""
        answers = [self._ask(OPEN, struct.pack("=Q", key) + os.fsencode(path) + b"\0", int(reading))
                   for path, reading in fifos]
        return [max(-self._known(answer.get()), 0) for answer in answers]

    @staticmethod
    def _known(number: int) -> int:
        if number == 0:
            raise PyruntimeError("the monitor of the container has ended")
        return number

    def _ask(self, kind: int, payload: bytes, flags: int, fds: Sequence[int] = ()) -> SimpleQueue[int]:
        """Send a packet. The answer is a positive number, a negative errno, or 0 if the monitor has ended."""
        answer: SimpleQueue[int] = SimpleQueue()
        with self._changed:
            self._last += 1
            token = self._last
            self._answers[token] = answer
        self._link.send(kind, token, payload, flags=flags, fds=fds)
        if self._link.broken:
            self.lost()
        return answer

    def spawned(self, token: int, payload: bytes) -> None:
        """The monitor's answer to `spawn` or `hold_open`."""
        with self._changed:
            answer = self._answers.pop(token, None)
        if answer:
            answer.put(int.from_bytes(payload, "little", signed=True))

    def wait(self, pid: int) -> int:
        """As Parent.wait."""
        with self._changed:
            while pid not in self._unclaimed and pid not in self._claimed:
                if self._link.broken:
                    raise ChildProcessError
                self._changed.wait(1)
            if pid in self._unclaimed:
                end = self._unclaimed.pop(pid)
                self._link.send(FORGET, end.serial)
                return end.wait_status
            return self._claimed[pid].wait_status

    def let_end(self, pid: int) -> None:
        """As Parent.let_end: without a wait for the monitor."""
        with self._changed:
            end = self._unclaimed.pop(pid, None)
            if end is None:
                self._ending.add(pid)
        if end:
            self._link.send(FORGET, end.serial)

    def exited(self, end: ProcessExit) -> None:
        """A process has ended."""
        with self._changed:
            if end.pid in self._ending:
                self._ending.remove(end.pid)
                self._link.send(FORGET, end.serial)
            elif self._claim(end):
                self._claimed[end.pid] = end
            else:
                self._unclaimed[end.pid] = end
            self._changed.notify_all()

    def forget(self, end: ProcessExit) -> None:
        """The exit of a known process is of no use any more."""
        with self._changed:
            if self._claimed.get(end.pid) is end:
                del self._claimed[end.pid]
        self._link.send(FORGET, end.serial)

    def reclaim(self, pid: int) -> None:
        """The process has become known: claim its exit if it has ended already."""
        with self._changed:
            end = self._unclaimed.get(pid)
            if end and self._claim(end):
                self._claimed[pid] = self._unclaimed.pop(pid)

    def forget_strangers(self) -> None:
        """Forget the exits of processes that only a server knew that has been killed."""
        with self._changed:
            for end in self._unclaimed.values():
                self._link.send(FORGET, end.serial)
            self._unclaimed.clear()

    def lost(self) -> None:
        """The monitor has ended: nobody answers any more."""
        with self._changed:
            for answer in self._answers.values():
                answer.put(0)
            self._answers.clear()
            self._changed.notify_all()
