"""Settings of registries: ``registries.conf`` (containers-registries.conf(5), version 2) and command-line options.

The file is the one named by the option, else ``$CONTAINERS_REGISTRIES_CONF``, without any other. Otherwise the user's
``~/.config/containers/registries.conf`` with its drop-ins in ``registries.conf.d``, or, if the user has none, that of
``/etc/containers`` with its drop-ins and then the user's. A drop-in replaces the settings that it contains.

Without any file, short names mean Docker Hub, and every registry is reached by https.
"""

from __future__ import annotations

import os

from pyruntime.errors import ConfigError, Problem, RegistryError, UsageError
from pyruntime.images.reference import HUB, Reference, is_short, split

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

SYSTEM = "/etc/containers"
HUB_HOST = "registry-1.docker.io"   # where Docker Hub's API is
_REGISTRY: dict[str, type] = {"prefix": str, "location": str, "insecure": bool, "blocked": bool, "mirror": list,
                              "mirror-by-digest-only": bool}
_MIRROR: dict[str, type] = {"location": str, "insecure": bool, "pull-from-mirror": str}
_TOP: dict[str, type] = {"unqualified-search-registries": list, "registry": list, "aliases": dict,
                         "short-name-mode": str, "credential-helpers": list}
_WORDS: dict[type, str] = {str: "a string", bool: "true or false", list: "a list", dict: "a table"}
_PULLS = ("", "all", "digest-only", "tag-only")


class RegistryEndpoint:
    """An address of a repository: ``host`` is host[:port] of the API, ``path`` the repository's name there.

    ``name`` is its name for credentials; ``pulls``: all, digest-only or tag-only; ``mirror``: whether it is a mirror.
    """

    __slots__ = ("host", "insecure", "mirror", "name", "path", "pulls")

    def __init__(self, domain: str, path: str, *, insecure: bool = False, mirror: bool = False,
                 pulls: str = "all") -> None:
        self.host = HUB_HOST if domain == HUB else domain
        self.name = f"{domain}/{path}" if path else domain
        self.path = path
        self.insecure = insecure
        self.mirror = mirror
        self.pulls = pulls

    def serves(self, *, by_digest: bool) -> bool:
        """Whether it may be used for requests by digest, or by tag."""
        return self.pulls != ("tag-only" if by_digest else "digest-only")

    def __str__(self) -> str:
        return f"{self.host}/{self.path}" if self.path else self.host

    def __repr__(self) -> str:
        return f"RegistryEndpoint({self!s}, insecure={self.insecure}, mirror={self.mirror}, pulls={self.pulls!r})"


class Rule:
    """One ``[[registry]]`` table."""

    __slots__ = ("blocked", "by_digest_only", "insecure", "location", "mirrors", "prefix")

    def __init__(self, table: dict[str, Any]) -> None:
        self.location: str = table.get("location", "").rstrip("/")
        self.prefix: str = table.get("prefix", "").rstrip("/") or self.location
        self.insecure: bool = table.get("insecure", False)
        self.blocked: bool = table.get("blocked", False)
        self.by_digest_only: bool = table.get("mirror-by-digest-only", False)
        self.mirrors: list[dict[str, Any]] = table.get("mirror", [])

    def matches(self, reference: Reference) -> bool:
        """Whether the reference starts with the prefix, followed by a separator."""
        if self.prefix.startswith("*."):
            return reference.domain.partition(":")[0].endswith(self.prefix[1:])
        text = str(reference)
        return text.startswith(self.prefix) and text[len(self.prefix):len(self.prefix) + 1] in ("", "/", ":", "@")

    def rewritten(self, reference: Reference, location: str) -> str:
        """The repository's name at a location, which replaces the prefix."""
        if not location:
            return reference.name
        if self.prefix.startswith("*."):
            return f"{location}/{reference.path}"
        return location + reference.name[len(self.prefix):]


class RegistrySettings:
    """The configuration of registries; ``load`` reads it, ``endpoints`` applies it."""

    __slots__ = ("aliases", "attempts", "cert_dir", "environ", "insecure", "rules", "search", "timeout")

    def __init__(self, *, insecure: bool | None = None, cert_dir: str = "", attempts: int = 5, timeout: float = 60,
                 environ: Mapping[str, str] | None = None) -> None:
        """``insecure``: overrides the files, unless None. ``cert_dir``: instead of every certs.d.

        ``attempts``: maximum number of attempts. ``timeout``: seconds without data.
        """
        self.rules: dict[str, Rule] = {}
        self.search: list[str] = []
        self.aliases: dict[str, str] = {}
        self.insecure = insecure
        self.cert_dir = cert_dir
        self.attempts = attempts
        self.timeout = timeout
        self.environ: Mapping[str, str] = os.environ if environ is None else environ

    @classmethod
    def load(cls, path: str = "", *, system: str = SYSTEM, insecure: bool | None = None, cert_dir: str = "",
             attempts: int = 5, timeout: float = 60, environ: Mapping[str, str] | None = None) -> RegistrySettings:
        """Read the files. ``path``: the only file; ``system``: instead of /etc/containers.

        Raises ConfigError with every problem of a file, UsageError if a named file cannot be read.
        """
        settings = cls(insecure=insecure, cert_dir=cert_dir, attempts=attempts, timeout=timeout, environ=environ)
        path = path or settings.environ.get("CONTAINERS_REGISTRIES_CONF", "")
        if path:
            if not settings.read(path):
                raise UsageError(f'"{path}": no such file; name a registries.conf')
            return settings
        own = os.path.join(home_config(settings.environ), "containers") if home_config(settings.environ) else ""
        if not (own and settings.read(own + "/registries.conf")):
            settings.read(system + "/registries.conf")
            settings._drop_ins(system)
        if own:
            settings._drop_ins(own)
        return settings

    def read(self, path: str) -> bool:
        """Add a file's settings, which win; False if the file does not exist."""
        try:
            with open(path, "rb") as file:
                raw = file.read()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise UsageError(f'"{path}": {error.strerror}') from None
        self.take(raw, path)
        return True

    def take(self, raw: bytes, path: str) -> None:
        """Add a document's settings, which win; ``path`` names it in messages."""
        import tomllib  # lazy: only with a registries.conf

        try:
            document = tomllib.loads(raw.decode())
        except ValueError as error:   # invalid UTF-8 or TOML
            raise ConfigError(path, [Problem("", f"not TOML: {error}")]) from None
        problems = _check(document)
        if problems:
            raise ConfigError(path, problems)
        if "unqualified-search-registries" in document:
            self.search = document["unqualified-search-registries"]
        for table in document.get("registry", []):
            rule = Rule(table)
            self.rules[rule.prefix] = rule
        for short, full in document.get("aliases", {}).items():
            self.aliases[short] = full

    def _drop_ins(self, directory: str) -> None:
        directory += "/registries.conf.d"
        try:
            names = sorted(name for name in os.listdir(directory) if name.endswith(".conf"))
        except OSError:
            return   # no drop-ins, or none readable
        for name in names:
            self.read(f"{directory}/{name}")

    def candidates(self, text: str) -> list[Reference]:
        """The possible meanings of a reference, in the order to try; a full reference has one.

        A short name is an alias, or in one of the search registries, or on Docker Hub.
        """
        if not is_short(text):
            return [Reference.parse(text)]
        name, tag, digest = split(text)
        suffix = (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
        if self.aliases.get(name):
            return [Reference.parse(self.aliases[name] + suffix)]
        return [Reference.parse(f"{domain}/{text}") for domain in self.search] or [Reference.parse(text)]

    def endpoints(self, reference: Reference, *, push: bool = False) -> list[RegistryEndpoint]:
        """The endpoints of a repository: the mirrors in order, then the origin; for a push the origin alone.

        Raises RegistryError for a blocked registry.
        """
        rule = self._rule(reference)
        if rule is None:
            return [self._endpoint(reference.name, insecure=False)]
        if rule.blocked:
            raise RegistryError(f'"{reference}": the registry is blocked by the prefix "{rule.prefix}" in'
                                " registries.conf")
        if push:
            return [self._endpoint(reference.name, insecure=rule.insecure)]
        found = [self._endpoint(rule.rewritten(reference, mirror["location"]), mirror=True,
                                insecure=mirror.get("insecure", False),
                                pulls="digest-only" if rule.by_digest_only else mirror.get("pull-from-mirror") or "all")
                 for mirror in rule.mirrors]
        return [*found, self._endpoint(rule.rewritten(reference, rule.location), insecure=rule.insecure)]

    def _rule(self, reference: Reference) -> Rule | None:
        matching = [rule for rule in self.rules.values() if rule.matches(reference)]
        return max(matching, key=lambda rule: len(rule.prefix), default=None)

    def _endpoint(self, name: str, *, insecure: bool, mirror: bool = False, pulls: str = "all") -> RegistryEndpoint:
        target = Reference.parse(name)
        return RegistryEndpoint(target.domain, target.path, mirror=mirror, pulls=pulls,
                        insecure=insecure if self.insecure is None else self.insecure)

    def host(self, domain: str) -> RegistryEndpoint:
        """The endpoint of a registry without a repository, for a login."""
        rules = [rule for rule in self.rules.values() if rule.prefix == domain]
        insecure = any(rule.insecure for rule in rules) if self.insecure is None else self.insecure
        return RegistryEndpoint(HUB if domain in ("index.docker.io", HUB_HOST) else domain, "", insecure=insecure)


def home_config(environ: Mapping[str, str]) -> str:
    """The user's configuration directory: $XDG_CONFIG_HOME or ~/.config; empty without a home directory."""
    home = environ.get("HOME", "")
    return environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")


def _check(document: dict[str, Any]) -> list[Problem]:
    problems: list[Problem] = []
    if isinstance(document.get("registries"), dict):
        problems.append(Problem("registries", "version 1 of the format is not supported",
                                "write [[registry]] tables and unqualified-search-registries",
                                "containers-registries.conf(5)"))
    _types(document, "", _TOP, problems)
    for number, table in enumerate(_list(document, "registry")):
        where = f"registry[{number}]"
        _types(table, where, _REGISTRY, problems)
        if not isinstance(table, dict):
            continue
        prefix = table.get("prefix", "")
        if not table.get("location") and not str(prefix).startswith("*."):
            problems.append(Problem(f"{where}.location", "is required", 'write location = "host/path"'))
        for index, mirror in enumerate(_list(table, "mirror")):
            inner = f"{where}.mirror[{index}]"
            _types(mirror, inner, _MIRROR, problems)
            if isinstance(mirror, dict) and not mirror.get("location"):
                problems.append(Problem(f"{inner}.location", "is required", 'write location = "host/path"'))
            if isinstance(mirror, dict) and mirror.get("pull-from-mirror", "") not in _PULLS:
                problems.append(Problem(f"{inner}.pull-from-mirror", f"\"{mirror['pull-from-mirror']}\" is unknown",
                                        "write all, digest-only or tag-only"))
    for number, name in enumerate(_list(document, "unqualified-search-registries")):
        if not isinstance(name, str) or "/" in name:
            problems.append(Problem(f"unqualified-search-registries[{number}]", f"{name!r:.80} is not a registry",
                                    "write host or host:port"))
    for name, value in (document["aliases"] if isinstance(document.get("aliases"), dict) else {}).items():
        if not isinstance(value, str):
            problems.append(Problem(f"aliases.{name}", f"expected a string, got {value!r:.80}"))
    return problems


def _list(table: object, key: str) -> list[Any]:
    value = table.get(key) if isinstance(table, dict) else None
    return value if isinstance(value, list) else []


def _types(table: object, where: str, kinds: dict[str, type], problems: list[Problem]) -> None:
    if not isinstance(table, dict):
        problems.append(Problem(where, f"expected a table, got {table!r:.80}"))
        return
    for key, kind in kinds.items():
        if key in table and not isinstance(table[key], kind):
            problems.append(Problem(f"{where}.{key}" if where else key,
                                    f"expected {_WORDS[kind]}, got {table[key]!r:.80}"))
