"""Requests to one repository at one endpoint: authenticated, retried, with error messages."""

from __future__ import annotations

from pyruntime.images.registry.answers import refusal
from pyruntime.images.registry.auth import Authenticator
from pyruntime.images.registry.retry import AttemptFailed, Attempts
from pyruntime.images.registry.url import Url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyruntime.images.registry.credentials import Credentials
    from pyruntime.images.registry.http import ContentStream, Response, Transport
    from pyruntime.images.registry.settings import RegistryEndpoint


class Session:
    """One endpoint, for one repository. ``actions``: of its tokens, ``pull`` or ``pull,push``."""

    def __init__(self, transport: Transport, endpoint: RegistryEndpoint, credentials: Credentials, actions: str
                 ) -> None:
        self.transport = transport
        self.endpoint = endpoint
        self.scopes = [f"repository:{endpoint.path}:{actions}"] if endpoint.path else []
        self._credentials = credentials
        self._authenticator: Authenticator | None = None

    @property
    def base(self) -> Url:
        """The root of the API. The first use may connect to find out whether it is https."""
        return self.transport.base(self.endpoint.host, insecure=self.endpoint.insecure)

    def url(self, kind: str, name: str = "") -> Url:
        """The URL of an object of the repository: ``url("manifests", "latest")``."""
        return Url(f"{self.base}v2/{self.endpoint.path}/{kind}/{name}")

    def request(self, method: str, url: Url, what: str, *, good: tuple[int, ...] = (200,),
                headers: Mapping[str, str] | None = None, body: bytes | ContentStream | None = None,
                scopes: Sequence[str] = (), again: bool = True, attempts: Attempts | None = None) -> Response:
        """Send a request until the response has a good status.

        ``what`` names the object in messages. ``scopes`` are additional scopes of the token. Without ``again`` nothing
        is retried (except with a new token for an expired one); ``attempts`` counts the attempts for the caller. Raises
        RegistryError, AttemptFailed.
        """
        attempts = attempts or Attempts(self.transport, mirror=self.endpoint.mirror)
        while True:
            try:
                response = self._authenticated(method, url, headers or {}, body, scopes)
                if response.status in good:
                    return response
                raise refusal(response, what, self.endpoint)
            except AttemptFailed as error:
                if not again:
                    raise
                attempts.wait(error)

    def _authenticated(self, method: str, url: Url, headers: Mapping[str, str], body: bytes | ContentStream | None,
                       scopes: Sequence[str]) -> Response:
        """Send a request once, and again if a login or a new token is needed.

        Another origin (of an upload, or after a redirect) gets no credentials, and its challenges are not answered.
        """
        insecure = self.endpoint.insecure
        if url.origin != self.base.origin:
            return self.transport.request(method, url, headers, body, insecure=insecure)
        authenticator = self.authenticator
        wanted = [*self.scopes, *scopes]
        header = authenticator.header(wanted)
        for last in (False, True):
            sent = {**headers, "Authorization": header} if header else headers
            response = self.transport.request(method, url, sent, body, insecure=insecure)
            if response.status != 401 or response.url.origin != url.origin or (last and header[:5] != "Basic"):
                break   # a refused password must reach the error below
            header = authenticator.answer(response, wanted, header)
        return response

    @property
    def authenticator(self) -> Authenticator:
        """The authenticator of this endpoint."""
        if self._authenticator is None:
            login = self._credentials.find(self.endpoint.name, mirror=self.endpoint.mirror)
            self._authenticator = Authenticator(self.transport, self.base, login, insecure=self.endpoint.insecure,
                                                name=self.endpoint.name)
        return self._authenticator
