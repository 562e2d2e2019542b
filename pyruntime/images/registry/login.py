"""Login and logout: a login is checked with the registry before it is stored.

It is stored in the file of --authfile, else ``$REGISTRY_AUTH_FILE``, else containers' auth.json of this session; if
that file configures a credential helper for the registry, or for all, in the helper.
"""

from __future__ import annotations

from pyruntime.errors import ConfigError, Problem, RegistryError, UsageError
from pyruntime.images.reference import HUB
from pyruntime.images.registry.credentials import (
    HUB_KEY,
    Credentials,
    Login,
    host_of,
    member,
    read_file,
    run_helper,
    runtime_file,
    write_file,
)
from pyruntime.images.registry.http import Transport
from pyruntime.images.registry.session import Session
from pyruntime.images.registry.url import Url
from pyruntime.system.json import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyruntime.images.registry.settings import RegistrySettings


def write_target(environ: Mapping[str, str], authfile: str = "") -> str:
    """The file for new logins."""
    return authfile or environ.get("REGISTRY_AUTH_FILE") or runtime_file(environ)


def login(name: str, username: str, password: str, *, settings: RegistrySettings, authfile: str = "",
          transport: Transport | None = None) -> str:
    """Check a login at ``host[:port]`` (or for ``host/team/app`` only) and store it; where it is stored.

    Raises RegistryError if the registry refuses it, UsageError if it is invalid or cannot be stored.
    """
    name = _name(name)
    if not username or ":" in username:   # a colon separates the user name from the password
        raise UsageError("the user name is empty or contains a colon")
    if not password:
        raise UsageError("the password is empty")
    found = Login(username, password)
    own = transport or Transport(settings)
    try:
        check(name, found, own)
    finally:
        if transport is None:
            own.close()
    return keep(name, found, settings.environ, authfile)


def check(name: str, found: Login, transport: Transport) -> None:
    """Check a login with the registry; raises RegistryError if it is refused."""
    domain = name.partition("/")[0]
    endpoint = transport.settings.host(domain)
    session = Session(transport, endpoint, Credentials(explicit=found, environ={}), "pull")
    root = Url(f"{session.base}v2/")
    response = session.request("GET", root, "login", good=(200, 404))
    response.close()
    if response.status == 404:
        raise RegistryError(f'"{domain}": no registry of version 2 at this address', 404)


def keep(name: str, found: Login, environ: Mapping[str, str], authfile: str = "") -> str:
    """Store a login without a check; where it is stored."""
    path = write_target(environ, authfile)
    document = read_file(path)
    server, helper = _helper(document, name)
    auths = _auths(document, path)
    if helper:
        secret = {"ServerURL": server, "Username": found.username, "Secret": found.password}
        run_helper(helper, "store", encode(secret), environ)
        if auths.get(name):
            auths[name] = {}   # the secret was stored before the helper was configured
            write_file(path, document)
        return f"credential helper {helper}"
    # In Docker's own file, Docker Hub has a special key.
    key = HUB_KEY if name == HUB and path.endswith("/config.json") else name
    auths[key] = {"auth": found.basic.removeprefix("Basic ")}
    write_file(path, document)
    return path


def logout(name: str, *, environ: Mapping[str, str], authfile: str = "") -> list[str]:
    """Remove the login for ``host[:port]`` or ``host/team/app``; where it was stored. An empty list: nowhere.

    Only the file for new logins is searched. Raises ConfigError, UsageError, RegistryError.
    """
    name = _name(name)
    path = write_target(environ, authfile)
    document = read_file(path)
    server, helper = _helper(document, name)
    gone: list[str] = []
    if helper:
        try:
            run_helper(helper, "erase", server, environ)
            gone.append(f"credential helper {helper}")
        except RegistryError as error:
            if "credentials not found" not in str(error):
                raise
    auths = _auths(document, path)
    names = [key for key in auths if key == name or ("://" in key and _name(host_of(key)) == name)]
    for key in names:
        del auths[key]
    if names:
        write_file(path, document)
        gone.append(path)
    return gone


def logout_all(*, environ: Mapping[str, str], authfile: str = "") -> list[str]:
    """Remove every login of the file for new logins; the registries' names."""
    path = write_target(environ, authfile)
    names = [host_of(key) for key in _auths(read_file(path), path)]
    for name in names:
        logout(name, environ=environ, authfile=authfile)
    return names


def _name(name: str) -> str:
    """A registry's name as in files, without scheme and path."""
    name = host_of(name.strip()) if "://" in name else name.strip().rstrip("/")
    if not name or any(character.isspace() or not character.isprintable() for character in name):
        raise UsageError(f'"{name:.100}" is not the name of a registry: write host or host:port')
    return HUB if name in ("index.docker.io", "registry-1.docker.io") else name


def _helper(document: dict[str, Any], name: str) -> tuple[str, str]:
    """The server's name for a helper, and the helper; empty if the file itself holds secrets."""
    domain = name.partition("/")[0]
    server = HUB_KEY if domain == HUB else domain
    helpers = member(document, "credHelpers")
    helper = helpers.get(name) or helpers.get(domain) or document.get("credsStore")
    return server, helper if isinstance(helper, str) else ""


def _auths(document: dict[str, Any], path: str) -> dict[str, Any]:
    auths = document.setdefault("auths", {})
    if not isinstance(auths, dict):
        raise ConfigError(path, [Problem("auths", "expected an object", 'write {"auths": {}}')])
    return auths
