"""Authentication: the challenges of a 401, and the tokens that answer them.

Spec: RFC 9110, 11.6.1 (WWW-Authenticate); the token protocol of Docker's registry, with its OAuth2 form. Basic goes to
the registry itself. For Bearer, the *realm* issues a token for *scopes* (``repository:NAME:pull,push``): by GET, with
Basic if there is a login; an identity token is sent by POST as a refresh token. If a realm does not support one method,
the other is tried. Tokens are kept until the command ends, by realm, scopes and user.
"""

from __future__ import annotations

import time
from _thread import allocate_lock

from pyruntime.errors import ConfigError, RegistryError
from pyruntime.images.registry.retry import AttemptFailed, Attempts, asked_wait, is_transient
from pyruntime.images.registry.url import Url, printable
from pyruntime.system.json import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pyruntime.images.registry.credentials import Login
    from pyruntime.images.registry.http import Response, Transport

    _Way = Callable[[Url, str, list[str]], Response]

SHORTEST = 60.0     # seconds: the minimum lifetime of a token, whatever the server says (the protocol's default)
_EARLY = 5.0        # seconds: a token is not used this long before it expires
_MAX_TOKEN = 1 << 20
_CLIENT = "pyruntime"
_TOKEN_CHARACTERS = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class Challenge:
    """One challenge: ``scheme`` and the parameters' names in lower case."""

    __slots__ = ("parameters", "scheme")

    def __init__(self, scheme: str, parameters: dict[str, str] | None = None) -> None:
        self.scheme = scheme.lower()
        self.parameters = parameters or {}

    def __repr__(self) -> str:
        return f"Challenge({self.scheme!r}, {self.parameters!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Challenge) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


def challenges(values: Iterable[str]) -> list[Challenge]:
    """Parse WWW-Authenticate: several headers, several challenges in one header, quoted strings with commas."""
    found: list[Challenge] = []
    for value in values:
        at = 0
        while at < len(value):
            at = _skip(value, at, " \t,")
            name, at = _token(value, at)
            if not name:
                at += 1   # invalid characters are skipped
                continue
            after = _skip(value, at, " \t")
            if after < len(value) and value[after] == "=" and found:
                text, at = _value(value, _skip(value, after + 1, " \t"))
                found[-1].parameters.setdefault(name.lower(), text)
            else:
                found.append(Challenge(name))
                at = _skip_token68(value, after)
    return found


def _skip(text: str, at: int, characters: str) -> int:
    while at < len(text) and text[at] in characters:
        at += 1
    return at


def _token(text: str, at: int) -> tuple[str, int]:
    end = at
    while end < len(text) and text[end] in _TOKEN_CHARACTERS:
        end += 1
    return text[at:end], end


def _value(text: str, at: int) -> tuple[str, int]:
    if text[at:at + 1] != '"':
        end = at
        while end < len(text) and text[end] not in " \t,":
            end += 1
        return text[at:end], end
    at += 1
    parts = []
    while at < len(text) and text[at] != '"':
        at += text[at] == "\\"
        parts.append(text[at:at + 1])
        at += 1
    return "".join(parts), at + 1


def _skip_token68(text: str, at: int) -> int:
    """Skip data that is not a parameter: ``Negotiate YII=``."""
    end = at
    while end < len(text) and text[end] not in " \t,":
        end += 1
    word = text[at:end]
    is_parameter = "=" in word.rstrip("=") or (word.endswith("=") and text[end:end + 1] not in ("", ","))
    following = text[_skip(text, end, " \t"):][:1]
    return at if is_parameter or following == "=" or not word else end


def merged(scopes: Sequence[str]) -> list[str]:
    """One scope for each resource, with all its actions in order."""
    actions: dict[str, list[str]] = {}
    for scope in scopes:
        resource, _, wanted = scope.rpartition(":")
        known = actions.setdefault(resource, [])
        known += [action for action in wanted.split(",") if action not in known]
    return [f"{resource}:{','.join(known)}" for resource, known in actions.items()]


class Authenticator:
    """Answers one registry's challenges, for one login or anonymously."""

    def __init__(self, transport: Transport, base: Url, login: Login | None, *, insecure: bool, name: str) -> None:
        """``name`` is the registry's name in messages."""
        self.transport = transport
        self.base = base
        self.login = login
        self.insecure = insecure
        self.name = name
        self._lock = allocate_lock()
        self._challenge: Challenge | None = None   # the last one: later requests answer it in advance

    def header(self, scopes: Sequence[str]) -> str:
        """The Authorization header for a request; empty if none is known or needed."""
        challenge = self._challenge
        if challenge is None:
            return ""
        if challenge.scheme == "basic":
            return self.login.basic if self.login else ""
        with self._lock:
            return "Bearer " + self._token(challenge, merged(scopes))

    def answer(self, response: Response, scopes: Sequence[str], sent: str) -> str:
        """The Authorization header to try after a 401; ``sent`` is the refused one, empty for none.

        Raises RegistryError if there is nothing else to try.
        """
        read = challenges(response.headers("WWW-Authenticate"))
        found = {challenge.scheme: challenge for challenge in reversed(read)}
        response.close()
        challenge = found.get("bearer") or found.get("basic")
        if challenge is None:
            known = ", ".join(f'"{printable(scheme)}"' for scheme in found) or "nothing"
            raise RegistryError(f'"{self.name}": unsupported authentication {known}; expected Basic or Bearer', 401)
        self._challenge = challenge
        if challenge.scheme == "basic":
            if self.login is None:
                raise RegistryError(f'"{self.name}": authentication required; log in first', 401)
            if sent == self.login.basic:
                raise RegistryError(f'"{self.name}": user name or password is wrong', 401)
            return self.login.basic
        wanted = merged([*scopes, *challenge.parameters.get("scope", "").split()])
        with self._lock:
            key = self._key(challenge, wanted)
            if sent == "Bearer " + self.transport.tokens.get(key, ("", 0.0))[0]:
                del self.transport.tokens[key]   # refused before it expired; another thread may have a new one
            return "Bearer " + self._token(challenge, wanted)

    def _key(self, challenge: Challenge, scopes: list[str]) -> tuple[str, ...]:
        user = self.login.basic if self.login else ""
        return challenge.parameters.get("realm", ""), challenge.parameters.get("service", ""), user, *scopes

    def _token(self, challenge: Challenge, scopes: list[str]) -> str:
        key = self._key(challenge, scopes)
        token, end = self.transport.tokens.get(key, ("", 0.0))
        if not token or end - _EARLY < time.monotonic():
            token, seconds = self._fetch(challenge, scopes)
            self.transport.tokens[key] = token, time.monotonic() + max(SHORTEST, seconds)
        return token

    def _fetch(self, challenge: Challenge, scopes: list[str]) -> tuple[str, float]:
        realm = Url(challenge.parameters.get("realm", ""), self.base)
        if self.base.scheme == "https" and realm.scheme == "http" and not self.insecure:
            raise RegistryError(f'"{self.name}": wants credentials for "{realm.scheme}://{realm.netloc}", which is'
                                " not encrypted", 401)
        service = challenge.parameters.get("service", "")
        login = self.login
        # A method, and the statuses after which the next one is tried. After a 401 to a GET, the password is wrong.
        ways: list[tuple[_Way, tuple[int, ...]]] = [(self._get, ())]
        if login and login.identity_token:
            ways = [(self._post, (400, 401, 404, 405)), (self._get, ())]
        elif login:
            ways = [(self._get, (400, 404, 405)), (self._post, ())]
        for way, elsewhere in ways:
            response = way(realm, service, scopes)
            if response.status not in elsewhere:
                break
            self.transport.debug(f'"{realm.netloc}": {response.status} to a token request; trying the other method')
            response.close()
        if response.status != 200:
            raise self._refused(response, realm)
        return _parse(response.document(_MAX_TOKEN), realm)

    def _get(self, realm: Url, service: str, scopes: list[str]) -> Response:
        from urllib.parse import urlencode  # lazy: only for a token

        query = [("service", service)] if service else []
        query += [("scope", scope) for scope in scopes]
        headers = {}
        if self.login:
            if self.login.username:
                query.append(("account", self.login.username))
            headers["Authorization"] = self.login.basic
        mark = "&" if "?" in realm.target else "?"
        return self._ask("GET", Url(f"{realm}{mark}{urlencode(query)}" if query else str(realm)), headers, None)

    def _post(self, realm: Url, service: str, scopes: list[str]) -> Response:
        from urllib.parse import urlencode  # lazy: only for a token

        assert self.login is not None   # anonymous requests use no POST
        form = {"client_id": _CLIENT, "service": service, "scope": " ".join(scopes)}
        if self.login.identity_token:
            form |= {"grant_type": "refresh_token", "refresh_token": self.login.identity_token}
        else:
            form |= {"grant_type": "password", "username": self.login.username, "password": self.login.password}
        return self._ask("POST", realm, {"Content-Type": "application/x-www-form-urlencoded"},
                         urlencode(form).encode())

    def _ask(self, method: str, url: Url, headers: dict[str, str], body: bytes | None) -> Response:
        attempts = Attempts(self.transport)
        while True:
            try:
                response = self.transport.request(method, url, headers, body, insecure=self.insecure)
                if not is_transient(response.status):
                    return response
                raise self._refused(response, url)
            except AttemptFailed as error:
                attempts.wait(error)

    def _refused(self, response: Response, realm: Url) -> AttemptFailed:
        from pyruntime.images.registry.answers import words  # lazy: only for a token

        said = words(response)
        if response.status in (400, 401, 403) and self.login:
            hint = "; user name or password is wrong, or without permission"
        elif response.status in (401, 403):
            hint = "; it does not exist, or needs a login"
        else:
            hint = ""
        return AttemptFailed(f'"{self.name}": no token from "{realm.netloc}": {said}{hint}', response.status,
                             transient=is_transient(response.status), asked=asked_wait(response))


def _parse(raw: bytes, realm: Url) -> tuple[str, float]:
    try:
        answer = decode(raw, str(realm.netloc))
    except ConfigError:   # its message is not shown: it may contain the token
        answer = None
    document = answer if isinstance(answer, dict) else {}
    token = document.get("token") or document.get("access_token")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise RegistryError(f'"{realm.netloc}": a response without a token')
    seconds = document.get("expires_in")
    return token, float(seconds) if isinstance(seconds, (int, float)) else SHORTEST
