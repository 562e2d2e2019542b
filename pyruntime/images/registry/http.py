"""HTTP/1.1 for registries: kept connections, redirects without credentials, responses of limited size.

Spec: distribution-spec, "API"; RFC 9110. Authorization is sent to its own origin (scheme, host and port) only: a
redirect to another origin is followed without it. No redirect leads from https to http, unless the registry is
configured as insecure. Bodies are never compressed in transfer, because blobs are identified by their bytes.
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

    Key = tuple[Origin, bool]   # of a kept connection: its origin, and whether it may be insecure

    class Readable(Protocol):
        """Where content comes from: a file, for example."""

        def readinto(self, view: memoryview, /) -> int | None: ...
        def close(self) -> None: ...

PIECE = 1 << 17     # bytes that are read or sent at once, and between two reports of progress
MAX_REDIRECTS = 10
_READ_AHEAD = 8192  # connection's buffer. With more, readinto1 would lose it when the connection fails
_MAX_IDLE = 8       # connections kept for one origin
_REDIRECTS = (301, 302, 303, 307, 308)


def _cut(sock: socket.socket) -> None:
    """End a thread's wait at a socket."""
    import socket  # lazy: only with a connection

    try:
        # Not SSLSocket's own shutdown, which would free objects that the other thread uses.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        return   # closed, or not connected yet, and then the connection fails


def nothing(message: str) -> None:
    """Ignore a message."""


class ContentStream:
    """A body to send, opened again by ``open`` for each attempt; ``length`` in bytes."""

    __slots__ = ("gone", "length", "open", "sent")

    def __init__(self, open_: Callable[[], Readable], length: int, sent: Callable[[int], None] | None = None) -> None:
        self.open = open_
        self.length = length
        self.sent = sent   # called with the bytes sent, negative if they must be sent again
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
        except OSError as error:   # an error of the disk, not of the network
            raise RegistryError(f"the content to push cannot be read: {error.strerror or error}") from None
        if not count:
            raise RegistryError(f"the content to push ends {self.length - self.gone} bytes too early")
        return count


class Response:
    """A response: ``status``, ``url`` (after redirects), headers, and a body that is read once."""

    __slots__ = ("_answer", "_connection", "_failure", "_key", "_transport", "seen", "status", "url")

    def __init__(self, transport: Transport, url: Url, key: Key, connection: http.client.HTTPConnection,
                 answer: http.client.HTTPResponse) -> None:
        self._transport = transport
        self._key = key
        self._connection: http.client.HTTPConnection | None = connection
        self._answer = answer
        self.status = answer.status
        self.url = url
        self._failure: AttemptFailed | None = None   # raised after the bytes that were received
        self.seen = 0   # bytes of the body so far

    def header(self, name: str) -> str:
        """A header's value; empty if it is absent."""
        return (self._answer.headers.get(name) or "").strip()

    def headers(self, name: str) -> list[str]:
        """All values of a header that may occur several times."""
        return [str(value) for value in self._answer.headers.get_all(name, [])]

    @property
    def length(self) -> int:
        """Content-Length; -1 if it is absent or not a number."""
        text = self.header("Content-Length")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1

    @property
    def media_type(self) -> str:
        """Content-Type without its parameters."""
        return self.header("Content-Type").partition(";")[0].strip().lower()

    def readinto(self, view: memoryview) -> int:
        """Fill the view with the next bytes; fewer bytes only at the end, and then 0.

        Raises AttemptFailed if the connection is interrupted, or too slow for the transport's timeout.
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
            # Received bytes are kept: an unreliable connection must still make progress.
            count += len(getattr(error, "partial", b""))
            self._failure = self._failed(error)
            if not count:
                raise self._failure from None
        self.seen += count
        if not count:
            missing = self._answer.length
            self.close()
            if missing and view:   # http.client accepts an early end
                raise self._transport.cut(self.url, f"{missing} bytes before the end of the content")
        return count

    def _some(self, view: memoryview) -> int:
        """The received bytes, at least one; 0 at the end. http.client's readinto loses bytes received before a failure.
        """
        answer = self._answer
        if answer.chunked:
            return answer.readinto(view)
        if answer.isclosed():
            return 0
        if answer.length is None:   # ends with the connection
            return answer.fp.readinto1(view)
        got = answer.fp.readinto1(view[:answer.length]) if answer.length else 0
        answer.length -= got
        return got

    def document(self, limit: int) -> bytes:
        """The whole body; raises RegistryError if it is longer than ``limit`` bytes."""
        if self.length > limit:
            self.close()
            raise RegistryError(f'"{self.url.shown}": {self.length} bytes; the limit is {limit}', self.status)
        data = bytearray()
        view = memoryview(bytearray(min(limit + 1, 1 << 16)))
        while True:
            count = self.readinto(view)
            if not count:
                return bytes(data)
            data += view[:count]
            if len(data) > limit:
                self.close()
                raise RegistryError(f'"{self.url.shown}": a response of more than {limit} bytes, the limit',
                                    self.status)

    def close(self) -> None:
        """Keep the connection if everything was read, else close it."""
        connection, self._connection = self._connection, None   # given back once: another thread may use it then
        if connection is None:
            return
        if self._answer.length == 0:
            self._answer.close()   # at its end, which http.client notices only by a read
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
    """Connections to all hosts, for all threads. ``warn`` and ``debug`` are called with messages.

    ``stopped``: ``stop`` was called, and every request fails.
    """

    def __init__(self, settings: RegistrySettings, *, warn: Callable[[str], None] = nothing,
                 debug: Callable[[str], None] = nothing, sleep: Callable[[float], None] | None = None) -> None:
        """``sleep`` waits between attempts, for a number of seconds; tests replace it."""
        self.settings = settings
        self.warn = warn
        self.debug = debug
        self.sleep = sleep or self._sleep
        self.stopped = False
        self.tokens: dict[tuple[str, ...], tuple[str, float]] = {}   # filled by auth, for all repositories of a command
        self._lock = allocate_lock()
        self._running = allocate_lock()   # held until ``stop``
        self._running.acquire()
        self._sockets: list[socket.socket] = []   # that may be open
        self._idle: dict[Key, list[http.client.HTTPConnection]] = {}
        self._contexts: dict[tuple[str, bool], ssl.SSLContext] = {}
        self._schemes: dict[tuple[str, bool], str] = {}
        self._reached: set[tuple[str, int]] = set()
        self._warned: set[str] = set()

    def close(self) -> None:
        """Close the kept connections."""
        with self._lock:
            for connections in self._idle.values():
                for connection in connections:
                    connection.close()
            self._idle.clear()

    def stop(self) -> None:
        """End all requests of all threads at once, and refuse new ones. For a caller that does not wait for them."""
        self.warn = self.debug = nothing   # their failures are expected
        with self._lock:
            self.stopped = True
            for sock in self._sockets:
                _cut(sock)
        if self._running.locked():
            self._running.release()

    def _sleep(self, seconds: float) -> None:
        if self._running.acquire(timeout=seconds):
            self._running.release()   # for the next waiting thread

    def _opened(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets = [*(other for other in self._sockets if other.fileno() >= 0), sock]
            if self.stopped:
                raise ConnectionAbortedError

    def base(self, host: str, *, insecure: bool) -> Url:
        """The root of a registry's API at host[:port]: https, or http if that is allowed and the server does not speak
        TLS.

        http is allowed for the loopback interface, and for registries configured as insecure.
        """
        secure = Url(f"https://{host}/")
        if not insecure and not proxies.is_loopback(secure.host):
            return secure
        if self._schemes.get((host, insecure)) is None:
            self._probe(secure, host, insecure)
        return Url(f"http://{host}/") if self._schemes.get((host, insecure)) == "http" else secure

    def _probe(self, url: Url, host: str, insecure: bool) -> None:
        """Find out by a connection whether the server speaks TLS."""
        scheme = "https"
        try:
            self.keep((url.origin, insecure), self._dial(url, insecure))
        except AttemptFailed as error:
            if error.reason == UNKNOWN_HOST and not proxies.find(self.settings.environ, "http", url.host, 80):
                raise   # http would fail too
            if error.reason == UNTRUSTED:   # it speaks TLS: the next request reports the certificate
                return
            scheme = "http"
        self._schemes[host, insecure] = scheme

    def request(self, method: str, url: Url, headers: Mapping[str, str], body: bytes | ContentStream | None = None, *,
                insecure: bool = False) -> Response:
        """Send a request once, and follow redirects. Any status is a response; raises AttemptFailed if there is none.
        """
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
                raise RegistryError(f'"{url.shown}" redirects a {method} to "{there.shown}"; use that address of the'
                                    " registry", response.status)
            if url.scheme == "https" and there.scheme == "http" and not insecure:
                raise RegistryError(f'"{url.shown}" redirects to "{there.scheme}://{there.netloc}", which is not'
                                    " encrypted; set insecure = true for the registry in registries.conf to allow it",
                                    response.status)
            if there.origin != url.origin:
                if method == "POST" and body:   # a form with a password or an identity token
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
            except PyruntimeError:   # an error of the body's source
                connection.close()
                raise
            except Exception as error:
                connection.close()
                if kept and isinstance(error, OSError) and not isinstance(error, TimeoutError) \
                        and not isinstance(body, ContentStream):
                    # The server has closed the kept connection: a new one is needed. Not for a part of an
                    # upload, which the server may have received.
                    continue
                raise self.failure(error, url, f"waiting for a response to {method}") from None
            self._reached.add((url.host, url.port))
            self.debug(f"{method} {url.shown}: {answer.status}")
            return Response(self, url, key, connection, answer)

    def _send(self, connection: http.client.HTTPConnection, method: str, url: Url, headers: Mapping[str, str],
              body: bytes | ContentStream | None) -> http.client.HTTPResponse:
        from pyruntime._version import __version__  # lazy: only with a connection
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
            # A server that refuses a body responds and closes before it has read everything.
            try:
                return answer(connection)
            except Exception:
                raise error from None
        return answer(connection)

    def _dial(self, url: Url, insecure: bool) -> http.client.HTTPConnection:
        from pyruntime.images.registry import connection  # lazy: only with a connection

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
            from pyruntime.images.registry import certificates  # lazy: only with a connection

            self._contexts[key] = certificates.context(self.settings, url.netloc, verify=not insecure)
        return self._contexts[key]

    def _take(self, key: Key) -> http.client.HTTPConnection | None:
        with self._lock:
            kept = self._idle.get(key)
            return kept.pop() if kept else None

    def keep(self, key: Key, connection: http.client.HTTPConnection) -> None:
        """Keep a connection whose last response was read to its end."""
        with self._lock:
            kept = self._idle.setdefault(key, [])
            if len(kept) < _MAX_IDLE:
                kept.append(connection)
                return
        connection.close()

    def failure(self, error: Exception, url: Url, doing: str) -> AttemptFailed:
        """The error for an exception during a request to a URL."""
        from pyruntime.images.registry import connection  # lazy: only with a connection

        if self.stopped:
            return AttemptFailed(f'"{url.netloc}": stopped', transient=False)
        reached = (url.host, url.port) in self._reached
        return connection.failure(error, url.host, url.port, doing=doing, reached=reached)

    def cut(self, url: Url, where: str) -> AttemptFailed:
        """The error for a connection that ended too early."""
        return AttemptFailed(f'"{url.netloc}": the connection was closed {where}', transient=True)

    def _pass_warnings(self, response: Response) -> None:
        """Show each ``Warning: 299 - "text"`` once (distribution-spec, "Warnings")."""
        for value in response.headers("Warning"):
            code, _, rest = value.partition(" ")
            _, _, text = rest.partition('"')
            text = printable(text.rpartition('"')[0].replace('\\"', '"').replace("\\\\", "\\"))
            if code == "299" and text and text not in self._warned:
                self._warned.add(text)
                self.warn(f'"{response.url.netloc}" says: {text}')
