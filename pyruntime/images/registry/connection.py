"""Connections: TCP, through a proxy if one is configured, with TLS on top; their time limits, and error messages.

A socket's timeout restarts with every byte, so a server that sends a byte a second, or 100 Continue repeatedly (RFC
9110, 15.2.1), would block without end. So there is a limit for establishing a connection (30 seconds), for the head of
a response (the transport's timeout, 60 seconds), and for the rate of bodies.

Only ``http`` imports this module, for the first connection: ``http.client`` and ``ssl`` cost 60 ms.
"""

from __future__ import annotations

import errno
import http.client
import io
import os
import select
import socket
import ssl
import time
from _thread import start_new_thread
from queue import Empty, SimpleQueue

from pyruntime.images.registry.retry import UNKNOWN_HOST, UNTRUSTED, AttemptFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyruntime.images.registry.proxy import Proxy

CONNECT = 30.0   # seconds for TCP, for a proxy's tunnel and for TLS each, if the transport's timeout is not shorter
SILENCE = 3.0    # seconds without a response of a name server or a host before a warning
SLOWEST = 1024   # bytes a second: a slower body fails after the transport's timeout
_MAX_HEAD = 65536        # bytes of a proxy's answer to CONNECT
_MAX_HEADS = 1 << 20     # bytes of a response's head, with the informational ones before it
_READ_AHEAD = 8192       # io's buffer; http.Response.readinto relies on it
_SENT_AT_ONCE = 1 << 16  # bytes that a registry must accept within the transport's timeout
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL")   # OpenSSL's words
_FINAL = (errno.ECONNREFUSED, errno.EACCES, errno.EPERM, errno.ENETUNREACH)


class Late(TimeoutError):
    """A time limit was exceeded; the text says which."""


class Watched:
    """A connected socket for http.client, with the limits described above."""

    def __init__(self, sock: socket.socket, timeout: float) -> None:
        self._sock = sock
        self._timeout = timeout
        self._answer: _Answer | None = None
        sock.settimeout(timeout)

    def sendall(self, data: bytes | memoryview) -> None:
        """Send everything, in parts that each have the timeout."""
        view = memoryview(data)
        self._sock.settimeout(self._timeout)
        for start in range(0, len(view), _SENT_AT_ONCE):
            try:
                self._sock.sendall(view[start:start + _SENT_AT_ONCE])
            except TimeoutError:
                raise Late(f"less than {_SENT_AT_ONCE} bytes were accepted in {self._timeout:g} seconds") from None

    def makefile(self, _mode: str) -> io.BufferedReader:
        """The response for http.client; the limit for its head starts now."""
        self._answer = _Answer(self._sock, self._timeout)
        return io.BufferedReader(self._answer, _READ_AHEAD)

    def body(self) -> None:
        """The head of the response is complete; the body follows."""
        if self._answer:
            self._answer.head = False

    def close(self) -> None:
        """Close the socket; a response that is being read keeps it open."""
        self._sock.close()


class _Answer(io.RawIOBase):
    """The data from a socket, within the limits."""

    def __init__(self, sock: socket.socket, timeout: float) -> None:
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)
        self._timeout = timeout
        self._end = time.monotonic() + timeout   # of the head
        self._waited = 0.0   # seconds of waiting, without the caller's own work
        self._count = 0      # bytes received meanwhile
        self.head = True

    def readable(self) -> bool:
        return True

    def readinto(self, view: memoryview, /) -> int | None:   # type: ignore[override]
        begun = time.monotonic()
        limit = self._end - begun if self.head else self._timeout
        if limit <= 0 or (self.head and self._count > _MAX_HEADS):
            raise Late(f"no complete response within {self._timeout:g} seconds" if limit <= 0 else
                       f"more than {_MAX_HEADS} bytes without a response")
        self._sock.settimeout(limit)
        try:
            count = self._file.readinto(view)
        except TimeoutError:
            raise Late(f"no complete response within {self._timeout:g} seconds" if self.head and self._count else
                       f"no data for {self._timeout:g} seconds") from None
        self._count += count or 0
        if not self.head:
            self._waited += time.monotonic() - begun
            if self._waited >= self._timeout:
                if count and self._count < SLOWEST * self._timeout:
                    raise Late(f"less than {SLOWEST} bytes a second for {self._timeout:g} seconds")
                self._waited, self._count = 0.0, 0
        return count

    def close(self) -> None:
        super().close()
        self._file.close()


def dial(host: str, port: int, *, tls: ssl.SSLContext | None, proxy: Proxy | None, timeout: float,
         opened: Callable[[socket.socket], None], warn: Callable[[str], None]) -> http.client.HTTPConnection:
    """Connect. ``tls`` is None for plain HTTP; ``timeout`` in seconds; ``opened`` is called with each socket before a
    wait for it. Raises OSError, HTTPException, AttemptFailed."""
    limit = min(timeout, CONNECT)
    if proxy:
        try:
            sock = _connect(proxy.host, proxy.port, limit, opened, warn)
        except OSError as error:
            raise failure(error, proxy.host, proxy.port, doing="connecting to the proxy", reached=False) from None
    else:
        sock = _connect(host, port, limit, opened, warn)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            if proxy:
                _tunnel(sock, host, port, proxy, limit)
            sock.settimeout(limit)   # for the whole handshake, which is one call
            sock = tls.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
            opened(sock)
            sock.do_handshake()
    except BaseException:
        sock.close()
        raise
    connection = http.client.HTTPConnection(host, port, timeout)
    connection.sock = Watched(sock, timeout)
    connection.auto_open = 0   # else http.client would reopen a closed connection: directly, and without TLS
    return connection


def answer(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
    """The head of the response to a request. Raises OSError, HTTPException."""
    watched: Any = connection.sock   # None afterwards, if the connection ends with this response
    found = connection.getresponse()
    watched.body()
    return found


def _addresses(host: str, port: int, warn: Callable[[str], None]) -> list[Any]:
    """The host's addresses. Raises OSError, UnicodeError."""
    found: SimpleQueue[list[Any] | Exception] = SimpleQueue()

    def ask() -> None:
        try:
            found.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:
            found.put(error)
    # In another thread: the C library does not return for a signal, so Ctrl-C would have to wait.
    start_new_thread(ask, ())
    try:
        answer = found.get(timeout=SILENCE)
    except Empty:
        warn(f'still looking up "{host}": does a server of /etc/resolv.conf answer?')
        answer = found.get()
    if isinstance(answer, Exception):
        raise answer
    return answer


def _connect(host: str, port: int, limit: float, opened: Callable[[socket.socket], None],
             warn: Callable[[str], None]) -> socket.socket:
    """A TCP connection to one of the host's addresses, ``limit`` seconds for all of them. Raises OSError."""
    places = _addresses(host, port, warn)   # the resolver has limits of its own
    end = time.monotonic() + limit
    failed: OSError = Late(f"no connection within {limit:g} seconds")
    for number, (family, kind, protocol, _, address) in enumerate(places):
        left = (end - time.monotonic()) / (len(places) - number)   # the last one gets what the others leave
        if left <= 0:
            break
        sock = socket.socket(family, kind, protocol)
        try:
            opened(sock)
            _establish(sock, address, left, lambda: warn(f'still connecting to "{host}:{port}"'))
            return sock
        except TimeoutError:
            sock.close()
            failed = Late(f"no connection within {limit:g} seconds")
        except OSError as error:
            sock.close()
            failed = error
        except BaseException:
            sock.close()
            raise
    raise failed


def _establish(sock: socket.socket, address: Any, limit: float, slow: Callable[[], None]) -> None:
    """connect(2) within ``limit`` seconds; call ``slow`` when SILENCE has passed. Raises OSError."""
    sock.setblocking(False)
    status = sock.connect_ex(address)
    if status == errno.EINPROGRESS:
        connected = select.poll()
        connected.register(sock, select.POLLOUT)
        first = min(limit, SILENCE)
        if not connected.poll(first * 1000):
            if limit > first:
                slow()
            if limit <= first or not connected.poll((limit - first) * 1000):
                raise TimeoutError
        status = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if status:
        raise OSError(status, os.strerror(status))
    sock.settimeout(limit)


def _tunnel(sock: socket.socket, host: str, port: int, proxy: Proxy, limit: float) -> None:
    """CONNECT (RFC 9110, 9.3.6). http.client's own writes an IPv6 address without brackets in Python 3.11."""
    name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {name} HTTP/1.1", f"Host: {name}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("ascii"))
    head, end = b"", time.monotonic() + limit
    while b"\r\n\r\n" not in head:
        sock.settimeout(max(end - time.monotonic(), 0.001))
        data = sock.recv(1) if len(head) < _MAX_HEAD else b""   # byte by byte: the rest belongs to TLS
        if not data:
            raise AttemptFailed(f'the proxy "{proxy.host}:{proxy.port}" closed the connection', transient=True)
        head += data
    status = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    if len(status) < 2 or not status[1].startswith("2"):
        hint = "; put user and password into the proxy's URL" if "407" in status else ""
        raise AttemptFailed(f'the proxy "{proxy.host}:{proxy.port}" refused to connect to "{name}":'
                            f" {' '.join(status[1:]) or 'no HTTP'}{hint}",
                            transient=status[1:2] in (["502"], ["503"]))


def failure(error: Exception, host: str, port: int, *, doing: str, reached: bool) -> AttemptFailed:
    """The error for an exception of a socket, of TLS or of http.client. ``reached``: the host has answered before."""
    name = host if port == 443 else f"{host}:{port}"
    where = f'"{name}"'
    if isinstance(error, AttemptFailed):
        return error
    if isinstance(error, ssl.SSLCertVerificationError):
        return AttemptFailed(
            f"{where}: its certificate is not trusted: {error.verify_message}; put the authority's certificate"
            f" into /etc/containers/certs.d/{name}/ca.crt, or allow it by"
            " --tls-verify=false", transient=False, reason=UNTRUSTED)
    if isinstance(error, ssl.SSLError):
        if error.reason in _NO_TLS:
            return AttemptFailed(f"{where} does not speak TLS; set insecure = true for it in registries.conf, or"
                                    " give --tls-verify=false, if HTTP is meant", transient=False)
        return AttemptFailed(f"{where}: TLS failed while {doing}: {error.reason or error}",
                                transient=reached or isinstance(error, ssl.SSLEOFError))
    if isinstance(error, socket.gaierror):
        # Final, unless it has resolved before: the resolver itself has asked each server twice, 5 seconds each.
        hint = ("is the host connected to a network, and does a server of /etc/resolv.conf answer?"
                if error.errno == socket.EAI_AGAIN else "check the name")
        return AttemptFailed(f'cannot find the host "{host}": {error.strerror}; {hint}', transient=reached,
                             reason=UNKNOWN_HOST)
    if isinstance(error, TimeoutError):
        what = error if isinstance(error, Late) else "a time limit was exceeded"
        return AttemptFailed(f"{where}: {what} while {doing}", transient=True)
    if isinstance(error, OSError):
        hint = "; is the host connected to a network?" if error.errno == errno.ENETUNREACH else ""
        return AttemptFailed(f"{where}: failed while {doing}: {error.strerror or error}{hint}",
                                transient=reached or error.errno not in _FINAL)
    if isinstance(error, (http.client.IncompleteRead, http.client.RemoteDisconnected)):
        return AttemptFailed(f"{where}: the connection was closed while {doing}", transient=True)
    return AttemptFailed(f"{where}: invalid HTTP while {doing}: {type(error).__name__}", transient=True)
