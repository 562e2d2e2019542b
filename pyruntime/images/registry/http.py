"""HTTP/1.1 for registries: kept connections, redirects that give nothing away, answers of limited size.

Spec: distribution-spec, "API"; RFC 9110. Authorization goes to the origin that it is for (scheme, host and port) and
nowhere else: a redirect to another one is followed without it. From https no redirect leads to http, unless the
registry is insecure by configuration. Bodies are never compressed on the way, since blobs are named by their bytes.
"""

from __future__ import annotations

from _thread import allocate_lock

from pyruntime.errors import PyruntimeError, RegistryError
from pyruntime.images.registry import proxy as proxies
from pyruntime.images.registry.retry import UNKNOWN_HOST, UNTRUSTED, AttemptFailed
from pyruntime.images.registry.url import Url, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import http.client
    import socket
    import ssl
    from collections.abc import Callable, Mapping
    from typing import Protocol

    from pyruntime.images.registry.settings import RegistrySettings
    from pyruntime.images.registry.url import Origin

    Key = tuple[Origin, bool]   # what a kept connection may be used for: an origin, and whether it may be insecure

    class Readable(Protocol):
        """Where content comes from: a file, for example."""

        def readinto(self, view: memoryview, /) -> int | None: ...
        def close(self) -> None: ...

# Imports in functions: start-up (decision 0007).

PIECE = 1 << 17     # bytes that are read or sent at once, and between two reports of progress
MAX_REDIRECTS = 10
_READ_AHEAD = 8192  # connection's buffer. More at first, and readinto1 loses what is in it when the connection fails
_MAX_IDLE = 8       # connections kept for one origin
_REDIRECTS = (301, 302, 303, 307, 308)


def _cut(sock: socket.socket) -> None:
    """End what a thread waits for at a socket."""
    import socket

    try:
        # Not SSLSocket's own, which takes away what the other thread is using.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        return   # it is closed, or not connected yet: then the connection fails


def nothing(message: str) -> None:
    """Take a message and say nothing: where nobody listens."""


class ContentStream:
    """A body that is sent from where ``open`` begins anew each time; ``length`` in bytes."""

    __slots__ = ("gone", "length", "open", "sent")

    def __init__(self, open_: Callable[[], Readable], length: int, sent: Callable[[int], None] | None = None) -> None:
        self.open = open_
        self.length = length
        self.sent = sent   # is told how many bytes have gone, each time; less than 0 where they have to go again
        self.gone = 0

    def copy(self, send: Callable[[memoryview], None]) -> None:
        """Send everything; raises RegistryError if the source ends too early."""
        if self.gone and self.sent:
            self.sent(-self.gone)
        self.gone = 0
        source = self.open()
        try:
            view = memoryview(bytearray(min(PIECE, self.length)))
            while self.gone < self.length:
                count = self._next(source, view[:self.length - self.gone])
                send(view[:count])
                self.gone += count
                if self.sent:
                    self.sent(count)
        finally:
            source.close()

    def _next(self, source: Readable, view: memoryview) -> int:
        try:
            count = source.readinto(view)
        except OSError as error:   # of a disk, which must not be taken for one of the network
            raise RegistryError(f"the content to push cannot be read: {error.strerror or error}") from None
        if not count:
            raise RegistryError(f"the content to push ends {self.length - self.gone} bytes too early")
        return count


class Response:
    """An answer: ``status``, ``url`` (after redirects), headers, and a body that is read once."""

    __slots__ = ("_answer", "_connection", "_failure", "_key", "_transport", "seen", "status", "url")

    def __init__(self, transport: Transport, url: Url, key: Key, connection: http.client.HTTPConnection,
                 answer: http.client.HTTPResponse) -> None:
        self._transport = transport
        self._key = key
        self._connection: http.client.HTTPConnection | None = connection
        self._answer = answer
        self.status = answer.status
        self.url = url
        self._failure: AttemptFailed | None = None   # that comes after what has been read
        self.seen = 0   # bytes of the body so far

    def header(self, name: str) -> str:
        """A header's value; empty where it is absent."""
        return (self._answer.headers.get(name) or "").strip()

    def headers(self, name: str) -> list[str]:
        """Every value of a header that may come several times."""
        return [str(value) for value in self._answer.headers.get_all(name, [])]

    @property
    def length(self) -> int:
        """What Content-Length says; -1 where it is absent, or no number."""
        text = self.header("Content-Length")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1

    @property
    def media_type(self) -> str:
        """Content-Type without its parameters."""
        return self.header("Content-Type").partition(";")[0].strip().lower()

    def readinto(self, view: memoryview) -> int:
        """Fill the view with what comes next; fewer bytes only at the end, where it is 0.

        Raises AttemptFailed where the connection is cut, or too little comes for the transport's timeout.
        """
        if self._failure:
            raise self._failure
        count = 0
        try:
            while count < len(view):
                got = self._some(view[count:] if count else view[:_READ_AHEAD])
                if not got:
                    break
                count += got
        except Exception as error:
            # What came before stays: a link that is cut again and again must still make progress.
            count += len(getattr(error, "partial", b""))
            self._failure = self._failed(error)
            if not count:
                raise self._failure from None
        self.seen += count
        if not count:
            missing = self._answer.length
            self.close()
            if missing and view:   # http.client takes an early end for the end of the content
                raise self._transport.cut(self.url, f"{missing} bytes before the end of the content")
        return count

    def _some(self, view: memoryview) -> int:
        """What has come, at least a byte; 0 at the end. http.client's readinto loses what comes before a failure."""
        answer = self._answer
        if answer.chunked:
            return answer.readinto(view)
        if answer.isclosed():
            return 0
        if answer.length is None:   # as long as the connection
            return answer.fp.readinto1(view)
        got = answer.fp.readinto1(view[:answer.length]) if answer.length else 0
        answer.length -= got
        return got

    def document(self, limit: int) -> bytes:
        """The whole body; raises RegistryError where it is longer than ``limit`` bytes."""
        if self.length > limit:
            self.close()
            raise RegistryError(f'"{self.url.shown}": {self.length} bytes; no more than {limit} are read', self.status)
        data = bytearray()
        view = memoryview(bytearray(min(limit + 1, 1 << 16)))
        while True:
            count = self.readinto(view)
            if not count:
                return bytes(data)
            data += view[:count]
            if len(data) > limit:
                self.close()
                raise RegistryError(f'"{self.url.shown}": an endless answer; no more than {limit} bytes are read',
                                    self.status)

    def close(self) -> None:
        """Give the connection back if everything was read, else close it."""
        connection, self._connection = self._connection, None   # given back once: then another thread may have it
        if connection is None:
            return
        if self._answer.length == 0:
            self._answer.close()   # it has come to its end, which http.client knows only when it is read
        if self._answer.isclosed() and not self._answer.will_close and connection.sock is not None:
            self._transport.keep(self._key, connection)
        else:
            self._answer.close()
            connection.close()

    def _failed(self, error: Exception) -> AttemptFailed:
        self._answer.close()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        return self._transport.failure(error, self.url, "reading the answer")


class Transport:
    """Connections to all hosts, for all threads. ``warn`` and ``debug`` take messages for people.

    ``stopped``: ``stop`` was called, and every request fails.
    """

    def __init__(self, settings: RegistrySettings, *, warn: Callable[[str], None] = nothing,
                 debug: Callable[[str], None] = nothing, sleep: Callable[[float], None] | None = None) -> None:
        """``sleep`` waits between attempts, for a number of seconds: a test puts its own there."""
        self.settings = settings
        self.warn = warn
        self.debug = debug
        self.sleep = sleep or self._sleep
        self.stopped = False
        self.tokens: dict[tuple[str, ...], tuple[str, float]] = {}   # kept by auth, for all repositories of a command
        self._lock = allocate_lock()
        self._running = allocate_lock()   # held until we are stopped
        self._running.acquire()
        self._sockets: list[socket.socket] = []   # that may be open
        self._idle: dict[Key, list[http.client.HTTPConnection]] = {}
        self._contexts: dict[tuple[str, bool], ssl.SSLContext] = {}
        self._schemes: dict[tuple[str, bool], str] = {}
        self._reached: set[tuple[str, int]] = set()
        self._warned: set[str] = set()

    def close(self) -> None:
        """Close what is kept open."""
        with self._lock:
            for connections in self._idle.values():
                for connection in connections:
                    connection.close()
            self._idle.clear()

    def stop(self) -> None:
        """End every request of every thread at once, and let none begin. For who does not wait for them."""
        self.warn = self.debug = nothing   # that they fail is no news
        with self._lock:
            self.stopped = True
            for sock in self._sockets:
                _cut(sock)
        if self._running.locked():
            self._running.release()

    def _sleep(self, seconds: float) -> None:
        if self._running.acquire(timeout=seconds):
            self._running.release()   # for the next one who sleeps

    def _opened(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets = [*(other for other in self._sockets if other.fileno() >= 0), sock]
            if self.stopped:
                raise ConnectionAbortedError

    def base(self, host: str, *, insecure: bool) -> Url:
        """The root of a registry's API at host[:port]: https, but http where that is allowed and https is not spoken.

        Allowed is http for the machine's own loopback, and for registries that are insecure by configuration.
        """
        secure = Url(f"https://{host}/")
        if not insecure and not proxies.is_loopback(secure.host):
            return secure
        if self._schemes.get((host, insecure)) is None:
            self._probe(secure, host, insecure)
        return Url(f"http://{host}/") if self._schemes.get((host, insecure)) == "http" else secure

    def _probe(self, url: Url, host: str, insecure: bool) -> None:
        """Find out by a connection whether TLS is spoken."""
        scheme = "https"
        try:
            self.keep((url.origin, insecure), self._dial(url, insecure))
        except AttemptFailed as error:
            if error.reason == UNKNOWN_HOST and not proxies.find(self.settings.environ, "http", url.host, 80):
                raise   # it would not be found for http either
            if error.reason == UNTRUSTED:   # TLS is spoken, and what is wrong with it is said when something is asked
                return
            scheme = "http"
        self._schemes[host, insecure] = scheme

    def request(self, method: str, url: Url, headers: Mapping[str, str], body: bytes | ContentStream | None = None, *,
                insecure: bool = False) -> Response:
        """Ask once, and follow redirects. Any status is an answer; raises AttemptFailed where there is none."""
        headers = dict(headers)
        for _ in range(MAX_REDIRECTS):
            response = self._exchange(method, url, headers, body, insecure)
            self._pass_warnings(response)
            location = response.header("Location")
            if response.status not in _REDIRECTS or not location:
                return response
            response.document(1 << 20) if 0 <= response.length <= 1 << 16 else response.close()
            there = Url(location, url)
            if method not in ("GET", "HEAD") and response.status not in (307, 308):
                raise RegistryError(f'"{url.shown}" redirects a {method} to "{there.shown}"; name the registry by that'
                                    " address", response.status)
            if url.scheme == "https" and there.scheme == "http" and not insecure:
                raise RegistryError(f'"{url.shown}" redirects to "{there.scheme}://{there.netloc}", which is not'
                                    " encrypted; set insecure = true for the registry in registries.conf to allow it",
                                    response.status)
            if there.origin != url.origin:
                if method == "POST" and body:   # a form, with a password or an identity token in it
                    raise RegistryError(f'"{url.shown}" redirects credentials to "{there.scheme}://{there.netloc}":'
                                        " they are not sent there", response.status)
                headers.pop("Authorization", None)
            self.debug(f"{method} {url.shown}: redirected to {there.scheme}://{there.netloc}")
            url = there
        raise RegistryError(f'"{url.shown}": more than {MAX_REDIRECTS} redirects')

    def _exchange(self, method: str, url: Url, headers: Mapping[str, str], body: bytes | ContentStream | None,
                  insecure: bool) -> Response:
        while True:
            key = url.origin, insecure
            kept = self._take(key)
            connection = kept or self._dial(url, insecure)
            try:
                answer = self._send(connection, method, url, headers, body)
            except PyruntimeError:   # of what reads the body
                connection.close()
                raise
            except Exception as error:
                connection.close()
                if kept and isinstance(error, OSError) and not isinstance(error, TimeoutError) \
                        and not isinstance(body, ContentStream):
                    # The server had closed it meanwhile: no failure, a new one is needed. Not so for a part of an
                    # upload, which it may have taken: it would have it twice.
                    continue
                raise self.failure(error, url, f"waiting for an answer to {method}") from None
            self._reached.add((url.host, url.port))
            self.debug(f"{method} {url.shown}: {answer.status}")
            return Response(self, url, key, connection, answer)

    def _send(self, connection: http.client.HTTPConnection, method: str, url: Url, headers: Mapping[str, str],
              body: bytes | ContentStream | None) -> http.client.HTTPResponse:
        from pyruntime._version import __version__
        from pyruntime.images.registry.connection import answer

        proxy = proxies.find(self.settings.environ, "http", url.host, url.port) if url.scheme == "http" else None
        connection.putrequest(method, str(url) if proxy else url.target, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", url.netloc)
        connection.putheader("User-Agent", f"pyruntime/{__version__}")
        connection.putheader("Accept-Encoding", "identity")
        if proxy and proxy.authorization:
            connection.putheader("Proxy-Authorization", proxy.authorization)
        for name, value in headers.items():
            connection.putheader(name, value)
        length = body.length if isinstance(body, ContentStream) else len(body or b"")
        if body is not None or method in ("POST", "PUT", "PATCH"):
            connection.putheader("Content-Length", str(length))
        try:
            connection.endheaders(body if isinstance(body, bytes) else None)
            if isinstance(body, ContentStream):
                body.copy(connection.send)
        except ConnectionError as error:
            # A server that refuses a body answers and closes before it has read all: the answer says why.
            try:
                return answer(connection)
            except Exception:
                raise error from None
        return answer(connection)

    def _dial(self, url: Url, insecure: bool) -> http.client.HTTPConnection:
        from pyruntime.images.registry import connection

        proxy = proxies.find(self.settings.environ, url.scheme, url.host, url.port)
        tls = self._context(url, insecure) if url.scheme == "https" else None
        try:
            return connection.dial(url.host, url.port, tls=tls, proxy=proxy, timeout=self.settings.timeout,
                                   opened=self._opened, warn=self.warn)
        except Exception as error:
            raise self.failure(error, url, "connecting") from None

    def _context(self, url: Url, insecure: bool) -> ssl.SSLContext:
        key = (url.netloc, insecure)
        if key not in self._contexts:
            from pyruntime.images.registry import certificates

            self._contexts[key] = certificates.context(self.settings, url.netloc, verify=not insecure)
        return self._contexts[key]

    def _take(self, key: Key) -> http.client.HTTPConnection | None:
        with self._lock:
            kept = self._idle.get(key)
            return kept.pop() if kept else None

    def keep(self, key: Key, connection: http.client.HTTPConnection) -> None:
        """Take back a connection whose last answer was read to its end."""
        with self._lock:
            kept = self._idle.setdefault(key, [])
            if len(kept) < _MAX_IDLE:
                kept.append(connection)
                return
        connection.close()

    def failure(self, error: Exception, url: Url, doing: str) -> AttemptFailed:
        """What an exception on the way to a URL means."""
        from pyruntime.images.registry import connection

        if self.stopped:
            return AttemptFailed(f'"{url.netloc}": stopped', transient=False)
        reached = (url.host, url.port) in self._reached
        return connection.failure(error, url.host, url.port, doing=doing, reached=reached)

    def cut(self, url: Url, where: str) -> AttemptFailed:
        """The error for a connection that ended too early."""
        return AttemptFailed(f'"{url.netloc}": the connection was cut {where}', transient=True)

    def _pass_warnings(self, response: Response) -> None:
        """Show each ``Warning: 299 - "text"`` once (distribution-spec, "Warnings")."""
        for value in response.headers("Warning"):
            code, _, rest = value.partition(" ")
            _, _, text = rest.partition('"')
            text = printable(text.rpartition('"')[0].replace('\\"', '"').replace("\\\\", "\\"))
            if code == "299" and text and text not in self._warned:
                self._warned.add(text)
                self.warn(f'"{response.url.netloc}" says: {text}')
