"""The server's end of a link: a connection from the monitor of a container (pyruntime/native/shim/shim.h).

The monitor sends what containerd asks, and the exits of its processes; it starts processes, answers containerd and
holds descriptors when it is told to.
"""

from __future__ import annotations

import _socket
import os
import struct
import threading
import time
from errno import ENXIO
from queue import SimpleQueue

from pyruntime.errors import HostError, PyruntimeError
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
_ON_TERMINAL = 0x8000
_PATIENCE = 10.0   # seconds for a client to open its end of a FIFO


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


class Together:
    """See MonitorLink.together. May be nested."""

    def __init__(self, link: MonitorLink, kept: dict[int, bytearray]) -> None:
        self._link = link
        self._kept = kept
        self._outermost = False

    def __enter__(self) -> None:
        thread = threading.get_ident()
        self._outermost = thread not in self._kept
        if self._outermost:
            self._kept[thread] = bytearray()

    def __exit__(self, *_: object) -> None:
        if self._outermost:
            self._link._send(self._kept.pop(threading.get_ident()))


class MonitorLink:
    """One connection. Packets may be sent by any thread; one thread reads them."""

    def __init__(self, connection: _socket.socket) -> None:
        self.connection = connection
        self._received = bytearray()
        self._sending = threading.Lock()
        self._kept: dict[int, bytearray] = {}   # thread -> its packets, while they are kept
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

    def together(self) -> Together:
        """A context in which this thread's packets are kept, and sent at its end: the monitor wakes up once. Events are
        published in one by the server's loop only: while it is there, it reads no answer of containerd's, so that the
        monitor has each event before it is told that it is confirmed."""
        return Together(self, self._kept)

    def send(self, kind: int, number: int, payload: bytes = b"", *, flags: int = 0, fds: Sequence[int] = ()) -> None:
        """Send a packet, unless the monitor has ended: whoever waits for it is told so elsewhere."""
        data = HEAD.pack(len(payload), kind, len(fds), flags, number) + payload
        kept = self._kept.get(threading.get_ident())
        if kept is not None:
            assert not fds
            kept += data
        else:
            self._send(data, fds)

    def _send(self, data: bytes | bytearray, fds: Sequence[int] = ()) -> None:
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
        return self.spawn_with_fifos(program, words, descriptors, 0, ("", "", ""), terminal=False)

    def open_fifos(self, key: int, fifos: Sequence[str]) -> None:
        """Let the monitor open FIFOs ahead of `spawn_with_fifos`, which tells errors: if no process is started, the
        client reads the end of its streams."""
        if any(fifos):
            self._link.send(OPEN, key, b"".join(os.fsencode(path) + b"\0" for path in fifos))

    def spawn_with_fifos(self, program: int, words: list[str], descriptors: Sequence[tuple[int, int]], key: int,
                         fifos: Sequence[str], *, terminal: bool) -> int:
        """The same for a process with a key. The monitor opens three FIFOs (or fewer: "") at both ends; the process
        gets its ends as descriptors 0 to 2, unless it has a terminal. Waits for a client that has not opened an output
        yet. Raises OSError, with the path of the FIFO that cannot be opened."""
        targets = [target for _, target in descriptors]
        payload = struct.pack(f"=Q{len(targets)}H", key, *targets) + b"".join(
            os.fsencode(text) + b"\0" for text in (*fifos, *words))
        fds, flags = [program, *(fd for fd, _ in descriptors)], len(targets) | (_ON_TERMINAL if terminal else 0)
        deadline, pause = time.monotonic() + _PATIENCE, 0.0005
        while True:
            pid = self._ask(SPAWN, payload, flags, fds).get()
            if pid > 0:
                return pid
            if pid == 0:
                raise PyruntimeError("the monitor of the container has ended")
            stream, error = divmod(-pid, 4096)
            if not stream:
                raise OSError(error, os.strerror(error))
            if error != ENXIO or time.monotonic() > deadline:   # ENXIO: nobody has it open for reading
                raise OSError(error, os.strerror(error), fifos[stream - 1])
            time.sleep(pause)
            pause = min(2 * pause, 0.05)

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
        """The monitor's answer to `spawn`."""
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


class ProcessParent(Parent):
    """The parent of one process, which has streams."""

    def __init__(self, parent: MonitorParent, key: int, child: Sequence[int], fifos: Sequence[str], *, terminal: bool
                 ) -> None:
        """``child``: its descriptors 0 to 2, -1 for those that are ``fifos``."""
        self._parent = parent
        self._key = key
        self._own = [] if terminal else [(fd, number) for number, fd in enumerate(child) if fd >= 0]
        self._fifos = fifos
        self._terminal = terminal
        self.program = parent.program   # type: ignore[method-assign]
        self.wait = parent.wait         # type: ignore[method-assign]
        self.let_end = parent.let_end   # type: ignore[method-assign]

    def spawn(self, program: int, words: list[str], descriptors: Sequence[tuple[int, int]]) -> int:
        """As Parent.spawn. Raises HostError if a FIFO cannot be opened."""
        try:
            return self._parent.spawn_with_fifos(program, words, [*descriptors, *self._own], self._key, self._fifos,
                                                 terminal=self._terminal)
        except OSError as error:
            if not error.filename:
                raise
            raise HostError(f'cannot open the stream "{error.filename}": {error.strerror}') from None
