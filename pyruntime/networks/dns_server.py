"""The name server of networks: answers queries for names of containers, and forwards others to the host's name servers.

It also brings unused networks down.

It listens on each bridge's gateway address, UDP and TCP. A container gets the addresses of containers in its own
networks, by name, alias, short ID and host name (A, AAAA), and names by address (PTR). Other clients get no answer. RFC
1035, RFC 3596.

Only the question of a query is parsed; answers of other servers are forwarded unchanged. dnspython could parse more,
but takes 14 MB (PSS) instead of 5, in a process that lives as long as its networks.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import os
import select
import time

from pyruntime.errors import PyruntimeError, RecordError
from pyruntime.networks import bridges, endpoints
from pyruntime.networks import definitions as networks
from pyruntime.networks.addresses import Address
from pyruntime.networks.host_files import host_resolv
from pyruntime.networks.site import Site
from pyruntime.system import kernel
from pyruntime.system.locks import Lock
from pyruntime.system.records import members
from pyruntime.system.uapi import CLONE_NEWNS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

A, PTR, AAAA, ANY, IN = 1, 12, 28, 255, 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, REFUSED = 0, 1, 2, 3, 5
TTL = 5              # seconds for which our answers may be cached: the container may be gone by then
_PATIENCE = 2.5      # seconds to wait for another server's answer, before the next server is asked
_PENDING = 512       # forwarded queries without an answer
_SHARE = 64          # such queries, and connections, of one address: other containers must be served, too
_IDLE = 10.0         # seconds after which an idle connection is closed
LINGER = 1.0         # seconds that a network stays up without containers
_LOOK = 30.0         # seconds between checks for changes without a signal
_TICK = 20_000_000   # nanoseconds, more than a tick of any kernel
_MOST = 64           # records in an answer


class Question:
    """The question of a query. Raises ValueError for other messages."""

    __slots__ = ("end", "flags", "kind", "name", "number")

    def __init__(self, data: bytes) -> None:
        if len(data) < 17 or data[2] & 0xf8 or data[4:6] != b"\0\1":   # an answer, no standard query, not one question
            raise ValueError
        self.number = data[:2]
        self.flags = data[2]
        labels, at = [], 12
        while data[at]:
            size = data[at]
            if size > 63 or at + size + 1 >= len(data):
                raise ValueError
            labels.append(data[at + 1:at + 1 + size])
            at += size + 1
        self.name = b".".join(labels).decode("ascii", "replace").lower()
        self.end = at + 5
        if len(data) < self.end or data[self.end - 2:self.end] != b"\0\1":   # another class than IN
            raise ValueError
        self.kind = int.from_bytes(data[at + 1:at + 3], "big")


def answer(query: bytes, question: Question, code: int, records: list[tuple[int, bytes]]) -> bytes:
    """The answer to a query: its question, and records (type, data) for the name."""
    # QR, AA, the query's RD; RA. The name of each record is a pointer to the question's name.
    head = question.number + bytes((0x84 | question.flags & 1, 0x80 | code)) + b"\0\1"
    records = records[:_MOST]
    body = b"".join(b"\xc0\x0c" + kind.to_bytes(2, "big") + b"\0\1" + TTL.to_bytes(4, "big")
                    + len(data).to_bytes(2, "big") + data for kind, data in records)
    return head + len(records).to_bytes(2, "big") + bytes(4) + query[12:question.end] + body


def refusal(query: bytes, code: int) -> bytes:
    """An answer with a response code only."""
    return query[:2] + bytes((0x80 | query[2] & 0x79, 0x80 | code)) + bytes(8)


class NameTable:
    """The names of containers, which are read from their endpoints whenever these have changed."""

    def __init__(self, run: str) -> None:
        self._directory = f"{run}/networks/containers"
        self._seen = -1
        self._files: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {}
        self._networks: dict[str, list[tuple[str, bool]]] = {}      # address -> (network, internal)
        self._names: dict[tuple[str, str], list[Address]] = {}      # (network, name) -> addresses
        self._addresses: dict[tuple[str, str], str] = {}            # (network, reverse name) -> name
        self._dns: dict[str, list[str]] = {}                        # address -> the container's own name servers
        self._links: dict[str, dict[str, str]] = {}                 # address -> the container's own names for others

    def refresh(self) -> None:
        """Read changed endpoints."""
        try:
            # every change is a rename(2) into the directory, or an unlink(2)
            seen = os.stat(self._directory).st_mtime_ns
            if seen == self._seen:
                return
            names = {name for name in os.listdir(self._directory) if len(name) == 64}
        except FileNotFoundError:
            seen, names = -1, set()
        files = {}
        for name in names:
            try:
                path = f"{self._directory}/{name}"
                about = os.stat(path)
                changed = (about.st_mtime_ns, about.st_ino)
                if name in self._files and self._files[name][0] == changed:
                    files[name] = self._files[name]
                    continue
                with open(path, "rb") as file:
                    files[name] = (changed, members(file.read(), path, ""))
            except FileNotFoundError:
                continue   # the container has gone
            except RecordError:
                continue   # the container's own commands report it; the others keep their names
        # Before Linux 6.13, timestamps are as coarse as a tick: a later change may have the same timestamp.
        self._seen = seen if time.time_ns() - seen > _TICK else -1
        self._files = files
        self._index()

    def _index(self) -> None:
        self._networks, self._names, self._addresses, self._dns, self._links = {}, {}, {}, {}, {}
        for _, endpoint in self._files.values():
            for entry in endpoint["joined"]:
                network = entry["network"]
                addresses = [entry[key] for key in ("ip", "ip6") if entry[key]]
                for text in addresses:
                    self._networks.setdefault(text, []).extend(
                        (other["network"], other["internal"]) for other in endpoint["joined"])
                    self._dns[text] = endpoint["dns"]
                    self._links[text] = endpoint.get("links", {})
                    # The first name that DNS can express: at least the short ID is one.
                    self._addresses[network, Address.parse(text).reverse] = next(filter(_fits, endpoint["names"]))
                for name in {name.lower() for name in (*endpoint["names"], *entry["aliases"])}:
                    self._names.setdefault((network, name), []).extend(map(Address.parse, addresses))

    def networks_of(self, asker: str) -> list[tuple[str, bool]]:
        """The networks of the container with this address, and whether they are internal."""
        return self._networks.get(asker, [])

    def servers_of(self, asker: str) -> list[str]:
        """The name servers that the container asked for instead of the host's."""
        return self._dns.get(asker, [])

    def addresses(self, asker: str, name: str) -> list[Address]:
        """The addresses of a name, as seen by the asking container."""
        found: list[Address] = []
        name = self._links.get(asker, {}).get(name, name)
        for network, _ in self.networks_of(asker):
            found += (one for one in self._names.get((network, name), ()) if one not in found)
        return found

    def name(self, asker: str, reverse: str) -> str:
        """The name of the container with an address, as seen by the asking container; "" for none."""
        return next((self._addresses[network, reverse] for network, _ in self.networks_of(asker)
                     if (network, reverse) in self._addresses), "")

    def answer(self, asker: str, query: bytes, question: Question, turn: int) -> bytes | None:
        """The answer, if the name is a container's; ``turn`` rotates several addresses."""
        if found := self.addresses(asker, question.name):
            turn %= len(found)
            wanted = {A: 4, AAAA: 6}.get(question.kind)
            records = [(A if one.version == 4 else AAAA, one.bytes) for one in found[turn:] + found[:turn]
                       if wanted == one.version or question.kind == ANY]
            return answer(query, question, NOERROR, records)
        if question.name.endswith(".arpa") and (name := self.name(asker, question.name)):
            labels = b"".join(len(label).to_bytes(1, "big") + label for label in name.encode().split(b".") if label)
            records = [(PTR, labels + b"\0")] if question.kind in (PTR, ANY) else []
            return answer(query, question, NOERROR, records)
        return None


def _fits(name: str) -> bool:
    """Whether DNS can express the name: 63 bytes between two dots, 253 in all (RFC 1035, 2.3.4)."""
    return len(name) <= 253 and all(0 < len(label) <= 63 for label in name.split("."))


class _Asked:
    """A forwarded query; ``reply`` is called with the answer."""

    __slots__ = ("asker", "deadline", "query", "servers", "sock", "source")

    def __init__(self, query: bytes, asker: Any, source: _socket.socket, servers: list[str]) -> None:
        self.query = query
        self.asker = asker
        self.source = source
        self.servers = servers
        self.sock: _socket.socket | None = None
        self.deadline = 0.0


class _Connection:
    """A client's connection, and the connection to another server while a query is forwarded."""

    __slots__ = ("address", "deadline", "far", "input", "output", "sock")

    def __init__(self, sock: _socket.socket, address: str) -> None:
        self.sock = sock
        self.address = address
        self.input = b""
        self.output = b""
        self.far: _Far | None = None
        self.deadline = 0.0


class _Far:
    """The other server's side of a connection."""

    __slots__ = ("connection", "input", "output", "query", "servers", "sock")

    def __init__(self, connection: _Connection, query: bytes, servers: list[str]) -> None:
        self.connection = connection
        self.query = len(query).to_bytes(2, "big") + query
        self.output = b""
        self.servers = servers
        self.input = b""
        self.sock: _socket.socket | None = None


class Server:
    """The server: one thread, one loop."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._run = run = site.run
        self._names = NameTable(run)
        self._idle: dict[str, float] = {}       # network without containers -> the time of the last container's end
        self._poll = select.poll()
        self._by_fd: dict[int, Any] = {}        # descriptor -> (kind, socket), or an object
        self._listening: dict[str, list[_socket.socket]] = {}
        self._asked: list[_Asked] = []
        self._connections: list[_Connection] = []
        self._turn = 0

    # --- which networks are up ----------------------------------------------------------------------------------------

    def _gateways(self) -> set[str]:
        """The addresses of the networks that are up. A damaged record is reported by the commands that need it."""
        found: set[str] = set()
        for name in bridges.up(self._site):
            try:
                state = bridges.read(self._site, name)
            except RecordError:
                continue
            found.update(state.gateways if state else ())
        return found

    def _tidy(self, now: float) -> None:
        """Bring down networks that have been unused for a while. So the end of a container need not wait for that, and
        the next container finds its network up."""
        idle = [name for name in bridges.up(self._site) if not endpoints.used(self._site, name)]
        self._idle = {name: self._idle.get(name, now) for name in idle}
        for name in [name for name, since in self._idle.items() if now - since >= LINGER]:
            try:
                with networks.lock(self._site):
                    if not endpoints.used(self._site, name):
                        bridges.take_down(self._site, name)
                del self._idle[name]
            except (PyruntimeError, OSError):
                self._idle[name] = now + _LOOK   # the next command gets the same error, and reports it

    def look(self) -> bool:
        """Listen on the addresses of the networks that are up; whether there are any."""
        gateways = self._gateways()
        for gone in set(self._listening) - gateways:
            for sock in self._listening.pop(gone):
                self._forget(sock)
        for new in gateways - set(self._listening):
            if sockets := _listen(new):
                self._listening[new] = sockets
                for kind, sock in zip(("datagrams", "connections"), sockets, strict=True):
                    self._register(sock, (kind, sock))
        return bool(gateways)

    def _register(self, sock: _socket.socket, about: Any, events: int = select.POLLIN) -> None:
        self._by_fd[sock.fileno()] = about
        self._poll.register(sock, events)

    def _forget(self, sock: _socket.socket) -> None:
        if sock.fileno() >= 0:
            self._poll.unregister(sock)
            del self._by_fd[sock.fileno()]
            sock.close()

    # --- the loop -----------------------------------------------------------------------------------------------------

    def serve(self, wake: int) -> None:
        """Answer queries until no network is up. ``wake`` becomes readable after SIGHUP."""
        self._poll.register(wake, select.POLLIN)
        looked, patience = 0.0, 0.0   # at once: the first container may send a query at any moment
        while True:
            busy = bool(self._asked or self._connections)
            for fd, events in self._poll.poll(1000 * (min(1.0, patience) if busy else patience)):
                if fd == wake:
                    os.read(wake, 4096)
                    looked = 0.0
                elif fd in self._by_fd:
                    self._ready(self._by_fd[fd], events)
            now = time.monotonic()
            self._expire(now)
            if now - looked >= patience:
                # Retry soon to bind addresses that could not be bound (the bridge does not exist yet).
                looked = now
                self._tidy(now)
                if not self.look() and self._leave():
                    return
                patience = _LOOK if self._gateways() == set(self._listening) else 1.0
                patience = min([patience, *(max(0.05, since + LINGER - now) for since in self._idle.values())])

    def _leave(self) -> bool:
        """Exit, unless a network has just come up; under the lock that is held while the server is started, so that no
        network is missed."""
        with Lock(f"{self._run}/networks/names.lock"):
            if self._gateways():
                return False
            os.unlink(f"{self._run}/networks/names")
            return True

    def _ready(self, about: Any, events: int) -> None:
        if isinstance(about, _Asked):
            self._answered(about)
        elif isinstance(about, _Connection):
            self._client(about, events)
        elif isinstance(about, _Far):
            self._far(about, events)
        elif about[0] == "datagrams":
            self._datagram(about[1])
        else:
            self._accept(about[1])

    def _expire(self, now: float) -> None:
        for asked in [one for one in self._asked if one.deadline <= now]:
            self._ask(asked)
        for connection in [one for one in self._connections if one.deadline <= now]:
            self._hang_up(connection)

    # --- queries ------------------------------------------------------------------------------------------------------

    def _decide(self, query: bytes, asker: str) -> bytes | list[str] | None:
        """The answer to a query, or the servers to forward it to, or nothing."""
        try:
            question = Question(query)
        except (ValueError, IndexError):
            return refusal(query, FORMERR) if len(query) >= 12 and not query[2] & 0x80 else None
        self._names.refresh()
        self._turn += 1
        ours = self._names.answer(asker, query, question, self._turn)
        if ours:
            return ours
        networks = self._names.networks_of(asker)
        if not networks or all(internal for _, internal in networks):
            return answer(query, question, NXDOMAIN if networks else REFUSED, [])
        servers = [*(self._names.servers_of(asker) or host_resolv()[0])]
        return servers or answer(query, question, SERVFAIL, [])

    def _datagram(self, sock: _socket.socket) -> None:
        try:
            query, asker = sock.recvfrom(4096)
        except OSError:
            return   # ICMP reported an answer that was not delivered
        result = self._decide(query, _plain(asker[0]))
        if isinstance(result, list):
            if len(self._asked) >= _PENDING or sum(one.asker[0] == asker[0] for one in self._asked) >= _SHARE:
                _send_to(sock, refusal(query, SERVFAIL), asker)
                return
            asked = _Asked(query, asker, sock, result)
            self._asked.append(asked)
            self._ask(asked)
        elif result:
            if len(result) > 512:   # no EDNS: a client retries over TCP for more
                result = result[:2] + bytes((result[2] | 2,)) + result[3:6] + bytes(6) + query[12:Question(query).end]
            _send_to(sock, result, asker)

    def _ask(self, asked: _Asked) -> None:
        """Forward to the next server; without another server, answer SERVFAIL."""
        if asked.sock:
            self._forget(asked.sock)
            asked.sock = None
        while asked.servers:
            server = asked.servers.pop(0)
            try:
                # A new socket each time: to forge an answer, an attacker must guess the port.
                sock = _socket.socket(_family(server), _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK
                                      | _socket.SOCK_CLOEXEC, 0)
            except OSError:
                continue
            try:
                sock.connect((server, 53))
                sock.send(asked.query)
            except OSError:
                sock.close()
                continue
            asked.sock, asked.deadline = sock, time.monotonic() + _PATIENCE
            self._register(sock, asked)
            return
        self._asked.remove(asked)
        _send_to(asked.source, refusal(asked.query, SERVFAIL), asked.asker)

    def _answered(self, asked: _Asked) -> None:
        assert asked.sock is not None
        try:
            data = asked.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            self._ask(asked)   # no server listens there
            return
        if data[:2] != asked.query[:2] or len(data) < 12:
            return   # the answer to another query
        self._forget(asked.sock)
        self._asked.remove(asked)
        _send_to(asked.source, data, asked.asker)

    # --- connections --------------------------------------------------------------------------------------------------

    def _accept(self, sock: _socket.socket) -> None:
        try:
            fd, address = sock._accept()  # type: ignore[attr-defined]
        except OSError:
            return   # the client has hung up again
        made = _socket.socket(sock.family, _socket.SOCK_STREAM, 0, fd)
        made.setblocking(False)
        who = _plain(address[0])
        self._names.refresh()
        if (len(self._connections) >= _PENDING or not self._names.networks_of(who)
                or sum(one.address == who for one in self._connections) >= _SHARE):
            made.close()
            return
        connection = _Connection(made, who)
        connection.deadline = time.monotonic() + _IDLE
        self._connections.append(connection)
        self._register(made, connection)

    def _client(self, connection: _Connection, events: int) -> None:
        try:
            if connection.output:
                connection.output = connection.output[connection.sock.send(connection.output):]
            else:
                data = connection.sock.recv(65536)
                if not data:
                    self._hang_up(connection)
                    return
                connection.input += data
            self._next(connection)
        except BlockingIOError:
            return
        except OSError:
            self._hang_up(connection)

    def _next(self, connection: _Connection) -> None:
        """Handle the queries of a connection one after the other."""
        connection.deadline = time.monotonic() + _IDLE
        while not connection.output and not connection.far and len(connection.input) >= 2:
            size = int.from_bytes(connection.input[:2], "big")
            if len(connection.input) < size + 2:
                break
            query, connection.input = connection.input[2:size + 2], connection.input[size + 2:]
            result = self._decide(query, connection.address)
            if isinstance(result, list):
                connection.far = _Far(connection, query, result)
                self._connect(connection.far)
            elif result is None:
                self._hang_up(connection)
                return
            else:
                connection.output = len(result).to_bytes(2, "big") + result
        if connection.sock.fileno() >= 0:
            waiting = 0 if connection.far else select.POLLIN
            self._poll.modify(connection.sock, select.POLLOUT if connection.output else waiting)

    def _connect(self, far: _Far) -> None:
        """Connect to the next server; without another server, the client's connection is closed."""
        if far.sock:
            self._forget(far.sock)
            far.sock = None
        far.output, far.input = far.query, b""
        while far.servers:
            server = far.servers.pop(0)
            try:
                sock = _socket.socket(_family(server), _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK
                                      | _socket.SOCK_CLOEXEC, 0)
            except OSError:
                continue
            try:
                sock.connect((server, 53))
            except BlockingIOError:
                pass   # the loop notices when the connection is established
            except OSError:
                sock.close()
                continue
            far.sock = sock
            self._register(sock, far, select.POLLOUT)
            return
        self._hang_up(far.connection)

    def _far(self, far: _Far, events: int) -> None:
        assert far.sock is not None
        try:
            if far.output:
                far.output = far.output[far.sock.send(far.output):]
                if not far.output:
                    self._poll.modify(far.sock, select.POLLIN)
                return
            data = far.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        far.input += data
        if len(far.input) >= 2 and len(far.input) >= 2 + int.from_bytes(far.input[:2], "big"):
            connection = far.connection
            self._forget(far.sock)
            connection.far, connection.output = None, far.input
            self._next(connection)
        elif not data:
            self._connect(far)

    def _hang_up(self, connection: _Connection) -> None:
        if connection.far and connection.far.sock:
            self._forget(connection.far.sock)
        self._forget(connection.sock)
        if connection in self._connections:
            self._connections.remove(connection)


def _family(address: str) -> int:
    return _socket.AF_INET6 if ":" in address else _socket.AF_INET


def _plain(address: str) -> str:
    """An address without the scope's interface."""
    return address.partition("%")[0]


def _send_to(sock: _socket.socket, data: bytes, address: Any) -> None:
    try:
        sock.sendto(data, address)
    except OSError:
        return   # the client is gone; datagrams may be lost


def _listen(address: str) -> list[_socket.socket]:
    """Sockets for datagrams and connections at an address; none if the address does not exist (yet), or is in use."""
    made = []
    try:
        for kind in (_socket.SOCK_DGRAM, _socket.SOCK_STREAM):
            sock = _socket.socket(_family(address), kind | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC, 0)
            made.append(sock)
            if kind == _socket.SOCK_STREAM:
                sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            sock.bind((address, 53))
        made[1].listen(64)
    except OSError:
        for sock in made:
            sock.close()
        return []
    return made


def _let_go(site: Site) -> None:
    """Our parent may have been in the mount namespace of a container, and we would keep the container's root filesystem
    mounted."""
    kernel.unshare(CLONE_NEWNS)
    with open("/proc/self/mountinfo", "rb") as file:
        points = [os.fsdecode(line.split()[4].replace(b"\\040", b" ")) for line in file]
    for point in reversed(points):
        if point.startswith(f"{site.root}/"):
            kernel.umount2(point, kernel.MNT_DETACH)


def main(root: str, run: str) -> NoReturn:
    """The process: serve until no network is up."""
    os.chdir("/")
    site = Site(root, run)
    _let_go(site)
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    _signal.set_wakeup_fd(writer)
    _signal.signal(_signal.SIGHUP, lambda number, frame: None)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, [_signal.SIGHUP])
    server = Server(site)
    server.serve(reader)
    os._exit(0)
