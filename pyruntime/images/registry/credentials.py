"""Credentials for registries (containers-auth.json(5), Docker's config.json and credential helpers).

The files, in order: the file of --authfile alone; else ``$REGISTRY_AUTH_FILE``,
``$XDG_RUNTIME_DIR/containers/auth.json`` (``/run/containers/UID`` without that variable),
``$XDG_CONFIG_HOME/containers/auth.json``, ``$DOCKER_CONFIG/config.json`` or ``~/.docker/config.json``, and
``~/.dockercfg``. In each, the most specific key counts: ``host/team/app``, ``host/team``, ``host``, then the legacy
``https://host/v1/``.

Without credentials, or if a helper fails, requests are anonymous, which is enough for public images.
"""

from __future__ import annotations

import os

from pyruntime.errors import ConfigError, Problem, RegistryError, UsageError
from pyruntime.images.reference import HUB
from pyruntime.images.registry.http import nothing
from pyruntime.images.registry.settings import HUB_HOST, home_config
from pyruntime.system.files import replace
from pyruntime.system.json import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

HUB_KEY = "https://index.docker.io/v1/"    # Docker Hub's key in files and for helpers
TOKEN_USER = "<token>"                     # a helper's user name for an identity token
_HELPER = "docker-credential-"
_HELPER_TIME = 60                          # seconds: some helpers ask the user for a password


class Login:
    """A user with a password, or with an identity token, which a registry issues instead of a password."""

    __slots__ = ("identity_token", "password", "username")

    def __init__(self, username: str, password: str = "", identity_token: str = "") -> None:
        self.username = username
        self.password = password
        self.identity_token = identity_token

    @classmethod
    def parse(cls, text: str) -> Login:
        """Read ``user:password``; raises UsageError, which does not show it."""
        username, colon, password = text.partition(":")
        if not colon or not username:
            raise UsageError("write the credentials as user:password")
        return cls(username, password)

    @property
    def basic(self) -> str:
        """The value of an Authorization header."""
        from base64 import b64encode  # lazy: only with credentials

        pair = f"{self.username}:{self.password or self.identity_token}"
        return "Basic " + b64encode(pair.encode()).decode()

    def __repr__(self) -> str:
        return f"Login({self.username!r}, ...)"   # without the password: for tracebacks and logs


class Credentials:
    """Finds the login for a repository."""

    __slots__ = ("_known", "environ", "explicit", "files", "warn")

    def __init__(self, *, explicit: Login | None = None, authfile: str = "",
                 environ: Mapping[str, str] | None = None, warn: Callable[[str], None] = nothing) -> None:
        """``explicit``: for every repository's origin, but for no mirror. ``authfile``: the only authentication file.
        """
        self.explicit = explicit
        self.environ: Mapping[str, str] = os.environ if environ is None else environ
        self.files = [authfile] if authfile else files(self.environ)
        self.warn = warn
        self._known: dict[str, Login | None] = {}

    def find(self, name: str, *, mirror: bool = False) -> Login | None:
        """The login for ``host[:port][/path]``; None for anonymous requests.

        Raises ConfigError for an invalid file.
        """
        if self.explicit and not mirror:
            return self.explicit
        if name not in self._known:
            self._known[name] = next((login for path in self.files if (login := self._in_file(path, name))), None)
        return self._known[name]

    def forget(self) -> None:
        """Read the files again next time."""
        self._known.clear()

    def _in_file(self, path: str, name: str) -> Login | None:
        document = read_file(path)
        for key in keys(name):
            helper = member(document, "credHelpers").get(key)
            if isinstance(helper, str) and helper:
                login = self._ask(helper, name)
                return login if login else None   # the file's own entry is ignored then: containers-auth.json(5)
        login = self._ask(document["credsStore"], name) if isinstance(document.get("credsStore"), str) else None
        return login or _in_auths(member(document, "auths"), name, path)

    def _ask(self, helper: str, name: str) -> Login | None:
        servers = [HUB_KEY, HUB] if name.partition("/")[0] == HUB else [name.partition("/")[0]]
        for server in servers:
            try:
                output = run_helper(helper, "get", server, self.environ)
            except RegistryError as error:
                if "credentials not found" in str(error):
                    continue
                self.warn(f"{error}; continuing without credentials")
                return None
            try:
                answer = decode(output, f"{_HELPER}{helper}")
            except ConfigError:   # its message is not shown: it may contain a secret
                answer = None
            if not isinstance(answer, dict) or not isinstance(answer.get("Secret"), str):
                self.warn(f'credential helper "{helper}" gave an invalid answer; continuing without credentials')
                return None
            user = str(answer.get("Username", ""))
            if user == TOKEN_USER:
                return Login(user, identity_token=answer["Secret"])
            return Login(user, answer["Secret"]) if user or answer["Secret"] else None
        return None


def files(environ: Mapping[str, str]) -> list[str]:
    """The authentication files in order, existing or not."""
    found = [environ["REGISTRY_AUTH_FILE"]] if environ.get("REGISTRY_AUTH_FILE") else []
    found.append(runtime_file(environ))
    config, home = home_config(environ), environ.get("HOME", "")
    if config:
        found.append(f"{config}/containers/auth.json")
    if environ.get("DOCKER_CONFIG") or home:
        found.append(docker_file(environ))
    if home:
        found.append(f"{home}/.dockercfg")
    return found


def docker_file(environ: Mapping[str, str]) -> str:
    """Docker's file, which survives a reboot."""
    directory = environ.get("DOCKER_CONFIG") or f"{environ.get('HOME') or os.path.expanduser('~')}/.docker"
    return f"{directory}/config.json"


def runtime_file(environ: Mapping[str, str]) -> str:
    """The default file for new logins."""
    directory = environ.get("XDG_RUNTIME_DIR")
    return f"{directory}/containers/auth.json" if directory else f"/run/containers/{os.getuid()}/auth.json"


def read_file(path: str) -> dict[str, Any]:
    """An authentication file as an object; empty if there is none. Raises ConfigError, without any secret."""
    try:
        with open(path, "rb") as file:
            raw = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except PermissionError:
        return {}   # /run/containers/0 for a user in a namespace, for example: not readable
    except OSError as error:
        raise UsageError(f'"{path}": {error.strerror}') from None
    if not raw.strip():
        return {}   # podman sometimes writes an empty file
    document = decode(raw, path)
    if not isinstance(document, dict):
        raise ConfigError(path, [Problem("", "expected an object", 'write {"auths": {}}', "containers-auth.json(5)")])
    if path.endswith(".dockercfg") and "auths" not in document:
        return {"auths": document}
    return document


def member(document: dict[str, Any], key: str) -> dict[str, Any]:
    """A member that is an object; an empty one if it is absent or something else."""
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def keys(name: str) -> list[str]:
    """The possible keys of ``host/team/app``, the most specific first."""
    parts = name.split("/")
    found = ["/".join(parts[:end]) for end in range(len(parts), 0, -1)]
    if parts[0] in (HUB, HUB_HOST):
        found += [HUB, "index.docker.io", HUB_HOST]
    return list(dict.fromkeys(found))


def host_of(key: str) -> str:
    """The host[:port] of a legacy key, which is a URL: ``https://host/v1/``; else the key itself."""
    for scheme in ("https://", "http://"):
        if key.startswith(scheme):
            return key.removeprefix(scheme).partition("/")[0]
    return key


def _in_auths(auths: dict[str, Any], name: str, path: str) -> Login | None:
    urls = {host_of(key): key for key in auths if key.startswith(("https://", "http://"))}
    for key in keys(name):
        for entry in (auths.get(key), auths.get(urls.get(key, ""))):
            login = _login(entry, f'{path}: "{key}"') if isinstance(entry, dict) and entry else None
            if login:
                return login
    return None


def _login(entry: dict[str, Any], where: str) -> Login | None:
    from base64 import b64decode  # lazy: only with credentials

    user, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if isinstance(entry.get("auth"), str) and entry["auth"]:
        try:
            user, colon, password = b64decode(entry["auth"], validate=False).decode().rstrip("\0").partition(":")
        except ValueError:
            colon = ""
        if not colon:
            raise UsageError(f"{where}: auth is not the base64 of user:password; log in again")
    token = str(entry.get("identitytoken") or "")
    return Login(user, "" if token else password, token) if user or token else None


def run_helper(helper: str, action: str, text: str, environ: Mapping[str, str]) -> bytes:
    """Run ``docker-credential-HELPER ACTION`` with an input; raises RegistryError if it fails."""
    import subprocess  # lazy: only with credentials

    if not helper or "/" in helper:
        raise RegistryError(f'"{helper:.60}" is not the name of a credential helper')
    try:
        done = subprocess.run([_HELPER + helper, action], input=text.encode(), capture_output=True, check=False,
                              timeout=_HELPER_TIME, env=dict(environ))
    except FileNotFoundError:
        raise RegistryError(f'credential helper "{_HELPER}{helper}" is not installed') from None
    except OSError as error:
        raise RegistryError(f'credential helper "{_HELPER}{helper}": {error.strerror}') from None
    except subprocess.TimeoutExpired:
        raise RegistryError(f'credential helper "{_HELPER}{helper}" took longer than {_HELPER_TIME} seconds') from None
    if done.returncode:
        from pyruntime.images.registry.url import printable  # lazy: only with credentials

        said = printable((done.stdout or done.stderr).decode(errors="replace"))
        raise RegistryError(f'credential helper "{_HELPER}{helper}" failed to {action}: {said or done.returncode}')
    return done.stdout


def write_file(path: str, document: dict[str, Any]) -> None:
    """Replace an authentication file atomically, readable for its owner only."""
    try:
        os.makedirs(os.path.dirname(path) or ".", 0o700, exist_ok=True)
        # A symbolic link (for example in a synchronised home) is kept, and its target replaced.
        replace(os.path.realpath(path), f"{encode(document, 4)}\n".encode(), sync=True)
    except OSError as error:
        raise UsageError(f'"{path}": cannot be written: {error.strerror}; name another file with --authfile') from None
