"""Proxies: the proxy for a host, by the environment.

``HTTPS_PROXY`` and ``HTTP_PROXY`` name a proxy for each scheme, also in lower case (which wins, as with curl), with
user and password if needed. ``NO_PROXY`` lists exceptions: host names (with their subdomains), addresses, networks
(``10.0.0.0/8``), each with an optional port, or ``*``. The loopback interface is never reached through a proxy, as in
Go's programs.
"""

from __future__ import annotations

from pyruntime.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Proxy:
    """An HTTP proxy: host, port, and the value of Proxy-Authorization, empty without a login."""

    __slots__ = ("authorization", "host", "port")

    def __init__(self, host: str, port: int, authorization: str = "") -> None:
        self.host = host
        self.port = port
        self.authorization = authorization


def find(environ: Mapping[str, str], scheme: str, host: str, port: int) -> Proxy | None:
    """The proxy for a host, or None for a direct connection. Raises UsageError for an unsupported proxy."""
    name = f"{scheme}_proxy"
    text = environ.get(name) or ("" if name == "http_proxy" and "REQUEST_METHOD" in environ   # CVE-2016-5385, httpoxy
                                 else environ.get(name.upper(), ""))
    if not text or is_loopback(host) or _excluded(environ.get("no_proxy") or environ.get("NO_PROXY", ""), host, port):
        return None
    return parse(text, name.upper())


def parse(text: str, name: str = "proxy") -> Proxy:
    """Read a proxy's URL; the default scheme is http."""
    from base64 import b64encode  # lazy: only with a proxy
    from urllib.parse import unquote, urlsplit

    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        host, port = url.hostname, url.port
    except ValueError as error:
        raise UsageError(f"{name}: not a URL: {error}") from None
    if url.scheme != "http" or not host:   # without the URL, which may contain a password
        raise UsageError(f'{name}: unsupported proxy scheme "{url.scheme}:"; write "http://host:port"')
    authorization = ""
    if url.username is not None:
        pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
        authorization = "Basic " + b64encode(pair.encode()).decode()
    return Proxy(host, port or 80, authorization)


def is_loopback(host: str) -> bool:
    """Whether the name or address is the loopback interface: localhost, 127.0.0.0/8, ::1."""
    if host.strip("[]") in ("localhost", "::1"):
        return True
    parts = host.split(".")
    return len(parts) == 4 and parts[0] == "127" and all(part.isdigit() and int(part) < 256 for part in parts)


def _excluded(no_proxy: str, host: str, port: int) -> bool:
    host = host.strip("[]").lower().rstrip(".")
    entries = [entry.strip().lower() for entry in no_proxy.replace(" ", ",").split(",")]
    return any(entry == "*" or _matches(entry, host, port) for entry in entries if entry)


def _matches(entry: str, host: str, port: int) -> bool:
    if "/" in entry:
        return _in_network(entry, host)
    if entry.startswith("["):
        entry, _, number = entry[1:].partition("]")
        number = number.removeprefix(":")
    elif entry.count(":") == 1:
        entry, _, number = entry.partition(":")
    else:
        number = ""
    if number and number != str(port):
        return False
    entry = entry.removeprefix("*").removeprefix(".")
    return host == entry or host.endswith("." + entry)


def _in_network(network: str, host: str) -> bool:
    from ipaddress import ip_address, ip_network  # lazy: only with a proxy

    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:   # the host is a name, or the entry not a network: no match
        return False
