"""URLs, and untrusted text in messages."""

from __future__ import annotations

from pyruntime.errors import RegistryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    Origin = tuple[str, str, int]

PORTS = {"http": 80, "https": 443}
_SAFE = "%/:=&?~#+!$,;'@()*[]"   # characters of a target that are kept unquoted


class Url:
    """The target of a request: scheme, host without brackets, port, and path with query."""

    __slots__ = ("host", "port", "scheme", "target")

    def __init__(self, text: str, base: Url | None = None) -> None:
        """Read a URL, possibly relative to ``base``. Raises RegistryError for anything but http and https."""
        from urllib.parse import quote, urljoin, urlsplit  # lazy: only with a request

        try:
            parts = urlsplit(urljoin(str(base), text) if base else text)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host or parts.scheme not in PORTS:
            raise RegistryError(f'"{printable(text)}" is not a URL of http or https')
        self.scheme = parts.scheme
        self.host = host
        self.port = port or PORTS[parts.scheme]
        self.target = quote(parts.path or "/", _SAFE) + (f"?{quote(parts.query, _SAFE)}" if parts.query else "")

    @property
    def origin(self) -> Origin:
        """The origin, to which Authorization is bound."""
        return self.scheme, self.host, self.port

    @property
    def netloc(self) -> str:
        """Host and port as in the Host header: without the scheme's default port, which signed URLs omit."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        """The URL for messages: without its query, which may be a signature."""
        return f"{self.scheme}://{self.netloc}{self.target.partition('?')[0]}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.target}"


def printable(text: str, limit: int = 300) -> str:
    """Untrusted text for a message: on one line, without control characters, of limited length."""
    return "".join(character if character.isprintable() else " " for character in text[:limit]).strip()
