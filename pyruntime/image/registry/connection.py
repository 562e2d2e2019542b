"""Connections: TCP, through a proxy where one is configured, with TLS on top; and what their failures mean.

Only ``http`` imports this module, when the first connection is made: ``http.client`` and ``ssl`` cost 60 ms.
"""

from __future__ import annotations

import errno
import http.client
import socket
import ssl

from pyruntime.image.registry.retry import AttemptFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.image.registry.proxy import Proxy

CONNECT = 30.0   # seconds for TCP and for TLS each, if the timeout of the transport is not shorter
_MAX_HEAD = 65536
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL")   # OpenSSL's words
_FINAL = (errno.ECONNREFUSED, errno.EACCES, errno.EPERM)


def dial(host: str, port: int, *, tls: ssl.SSLContext | None, proxy: Proxy | None,
         timeout: float) -> http.client.HTTPConnection:
    """Connect. ``tls`` is None for plain HTTP; ``timeout`` in seconds, for each wait. Raises OSError, HTTPException."""
    near = (proxy.host, proxy.port) if proxy else (host, port)
    sock = socket.create_connection(near, min(timeout, CONNECT))
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            if proxy:
                _tunnel(sock, host, port, proxy)
            sock = tls.wrap_socket(sock, server_hostname=host)
        sock.settimeout(timeout)
    except BaseException:
        sock.close()
        raise
    connection = http.client.HTTPConnection(host, port, timeout)
    connection.sock = sock
    connection.auto_open = 0   # else a closed connection would be opened again by itself: directly, and without TLS
    return connection


def _tunnel(sock: socket.socket, host: str, port: int, proxy: Proxy) -> None:
    """CONNECT (RFC 9110, 9.3.6). http.client's own writes an IPv6 address without brackets in Python 3.11."""
    name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {name} HTTP/1.1", f"Host: {name}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("ascii"))
    head = b""
    while b"\r\n\r\n" not in head:
        data = sock.recv(1) if len(head) < _MAX_HEAD else b""   # a byte at a time: what follows belongs to TLS
        if not data:
            raise AttemptFailed(f'the proxy "{proxy.host}:{proxy.port}" closed the connection', transient=True)
        head += data
    status = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    if len(status) < 2 or not status[1].startswith("2"):
        hint = "; write user and password into the proxy's URL" if "407" in status else ""
        raise AttemptFailed(f'the proxy "{proxy.host}:{proxy.port}" refused to connect to "{name}":'
                            f" {' '.join(status[1:]) or 'no HTTP'}{hint}",
                            transient=status[1:2] in (["502"], ["503"]))


def failure(error: Exception, host: str, port: int, *, doing: str, reached: bool) -> AttemptFailed:
    """What an exception of a socket, of TLS or of http.client means. ``reached``: the host has answered before."""
    name = host if port == 443 else f"{host}:{port}"
    where = f'"{name}"'
    if isinstance(error, AttemptFailed):
        return error
    if isinstance(error, ssl.SSLCertVerificationError):
        return AttemptFailed(
            f"{where}: its certificate is not trusted: {error.verify_message}; put the authority's certificate"
            f" into /etc/containers/certs.d/{name}/ca.crt, or allow it by"
            " --tls-verify=false", transient=False,
            untrusted=True)
    if isinstance(error, ssl.SSLError):
        if error.reason in _NO_TLS:
            return AttemptFailed(f"{where} does not speak TLS; set insecure = true for it in registries.conf, or"
                                    " give --tls-verify=false, if HTTP is meant", transient=False)
        return AttemptFailed(f"{where}: TLS failed while {doing}: {error.reason or error}",
                                transient=reached or isinstance(error, ssl.SSLEOFError))
    if isinstance(error, socket.gaierror):
        return AttemptFailed(f'cannot find the host "{host}": {error.strerror}',
                                transient=error.errno == socket.EAI_AGAIN)
    if isinstance(error, TimeoutError):
        return AttemptFailed(f"{where}: nothing came for too long while {doing}", transient=True)
    if isinstance(error, OSError):
        return AttemptFailed(f"{where}: failed while {doing}: {error.strerror or error}",
                                transient=reached or error.errno not in _FINAL)
    if isinstance(error, (http.client.IncompleteRead, http.client.RemoteDisconnected)):
        return AttemptFailed(f"{where}: the connection was cut while {doing}", transient=True)
    return AttemptFailed(f"{where}: no valid HTTP while {doing}: {type(error).__name__}", transient=True)
