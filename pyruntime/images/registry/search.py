"""Searches a registry for repositories, with the API of Docker Hub; most other registries have none.

Spec: none; Docker's `GET /v1/search?q=TERM&n=LIMIT`.
"""

from __future__ import annotations

from pyruntime.errors import RegistryError
from pyruntime.images.registry.http import Transport
from pyruntime.images.registry.session import Session
from pyruntime.images.registry.url import Url
from pyruntime.system.json import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.registry.credentials import Credentials
    from pyruntime.images.registry.settings import RegistrySettings

_HUB = "index.docker.io"   # the search of Docker Hub, whose images are on another host
_MOST = 4 << 20   # bytes of an answer


class Found:
    """One repository."""

    __slots__ = ("description", "name", "official", "stars")

    def __init__(self, entry: dict[str, object]) -> None:
        stars = entry.get("star_count")
        self.name = str(entry.get("name") or "")
        self.description = " ".join(str(entry.get("description") or "").split())
        self.stars = stars if isinstance(stars, int) else 0
        self.official = entry.get("is_official") is True


def search(term: str, domain: str, limit: int, *, settings: RegistrySettings, credentials: Credentials) -> list[Found]:
    """The matching repositories of a registry, most stars first. Raises RegistryError."""
    from urllib.parse import urlencode  # lazy: only for a search

    transport = Transport(settings)
    try:
        session = Session(transport, settings.host(domain), credentials, "")
        base = transport.base(_HUB, insecure=False) if domain == "docker.io" else session.base
        url = Url(f"/v1/search?{urlencode({'q': term, 'n': limit})}", base)
        what = "search"
        document = decode(session.request("GET", url, what).document(_MOST), f"{domain}: {what}")
        results = document.get("results") if isinstance(document, dict) else None
        if not isinstance(results, list):
            raise RegistryError(f'"{domain}" returned no search results: it may not support searches')
        return [Found(entry) for entry in results if isinstance(entry, dict)][:limit]
    finally:
        transport.close()
