"""References: names of images, ``[domain/]path[:tag][@digest]``.

Spec: distribution-spec, "Pulling manifests" (grammar of name and tag); the short forms are Docker's, whose registry is
the default. No tag is invented: ``tag`` is empty if the text has none, and ``tagged`` is the tag to use then. With a
tag and a digest, the digest decides and the tag is only a label.
"""

from __future__ import annotations

from pyruntime.errors import UsageError
from pyruntime.images import digest as digests

HUB = "docker.io"
LATEST = "latest"
_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_ALNUM = _LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_TAG = _ALNUM | frozenset("_.-")
_HEX = frozenset("0123456789abcdef")
_MAX_NAME = 255   # of domain, slash and path: what many registries take (distribution-spec, implementers' note)
_MAX_TAG = 128


class Reference:
    """An image's name. ``domain`` is host[:port], ``path`` the repository; ``tag`` and ``digest`` may be empty."""

    __slots__ = ("digest", "domain", "path", "tag")

    def __init__(self, domain: str, path: str, tag: str = "", digest: str = "") -> None:
        self.domain = domain
        self.path = path
        self.tag = tag
        self.digest = digest

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference; raises UsageError, which says which part is invalid."""
        name, tag, digest = split(text)
        domain, path = _split_domain(name)
        if not path:
            raise _wrong(text, "the name is missing", 'write "alpine" or "registry.example.com/team/app", for example')
        if domain in ("", "index.docker.io"):
            domain = HUB
        if domain == HUB and "/" not in path:
            path = "library/" + path
        _check_domain(text, domain)
        _check_path(text, path)
        if len(domain) + 1 + len(path) > _MAX_NAME:
            raise _wrong(text, f"the name is longer than {_MAX_NAME} characters", "write a shorter name")
        if name == path.removeprefix("library/") and len(name) == 64 and _HEX.issuperset(name):
            raise _wrong(text, "64 hexadecimal digits are an ID, not a name", f'write "sha256:{name:.12}..." for an ID')
        if tag:
            check_tag(tag, text)
        if digest and not digests.well_formed(digest):
            raise _wrong(text, f'"{digest}" is not a digest', "write sha256: and 64 hexadecimal digits, for example")
        return cls(domain, path, tag, digest)

    @property
    def name(self) -> str:
        """Domain and path, without tag and digest: ``docker.io/library/alpine``."""
        return f"{self.domain}/{self.path}"

    @property
    def tagged(self) -> str:
        """The tag, or ``latest`` if there is none."""
        return self.tag or LATEST

    @property
    def target(self) -> str:
        """What to request from a registry: the digest, else the tag, else ``latest``."""
        return self.digest or self.tagged

    @property
    def familiar(self) -> str:
        """The shortest form with the same meaning: ``alpine:3.19``."""
        name = self.name
        if self.domain == HUB:
            name = self.path.removeprefix("library/")
            if "/" in name and name != self.path:   # library/library/x, of which only one may be left out
                name = self.path
            if _split_domain(name)[0]:              # docker.io/a.b/c, whose path would be read as a domain
                name = self.name
        return name + self._suffix()

    def with_tag(self, tag: str) -> Reference:
        """The same repository with another tag, and without a digest; raises UsageError for an invalid tag."""
        return Reference(self.domain, self.path, check_tag(tag))

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._suffix()

    def __repr__(self) -> str:
        return f"Reference({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def familiar(name: str) -> str:
    """The shortest form that means the same as a name of the store; an invalid name unchanged."""
    try:
        return Reference.parse(name).familiar
    except UsageError:
        return name


def split(text: str) -> tuple[str, str, str]:
    """Name, tag and digest of the text; absent parts are empty. Raises UsageError for empty parts."""
    name, at, digest = text.partition("@")
    if at and not digest:
        raise _wrong(text, "the digest after the @ is missing", "write it, or remove the @")
    start = name.rfind("/") + 1
    last, colon, tag = name[start:].partition(":")
    if colon and not tag:
        raise _wrong(text, "the tag after the colon is missing", "write it, or remove the colon")
    return name[:start] + last, tag, digest


def is_short(text: str) -> bool:
    """Whether the text names no registry, so that the settings decide."""
    return not _split_domain(split(text)[0])[0]


def is_tag(text: str) -> bool:
    """Whether the text follows the grammar of a tag."""
    return 0 < len(text) <= _MAX_TAG and _TAG.issuperset(text) and text[0] not in ".-"


def check_tag(tag: str, text: str = "") -> str:
    """The tag itself; raises UsageError if it is invalid."""
    if len(tag) > _MAX_TAG:
        raise _wrong(text or tag, f"the tag is longer than {_MAX_TAG} characters", "shorten it")
    if not is_tag(tag):
        raise _wrong(text or tag, f'"{tag}" is not a tag',
                     "use letters, digits, underscores, periods and dashes, and start with none of the last two")
    return tag


def _split_domain(name: str) -> tuple[str, str]:
    """A first component is a host if it cannot be anything else: by a point, a colon, capitals, or as localhost."""
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first.lower() != first):
        return first, rest
    return "", name


def _check_domain(text: str, domain: str) -> None:
    if domain.startswith("["):
        host, _, port = domain[1:].partition("]")
        good = host and set(host) <= _HEX | set("ABCDEF:.")
        port = port.removeprefix(":") if port.startswith(":") and port != ":" else port and "?"
    else:
        host, colon, port = domain.partition(":")
        good = all(part and _ALNUM.issuperset(part.replace("-", "")) and part[0] != "-" != part[-1]
                   for part in host.split("."))
        port = "?" if colon and not port else port
    if not good:
        raise _wrong(text, f'"{host}" is not a host name', "use letters, digits, dashes and periods")
    if port and (not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) < 65536):
        raise _wrong(text, f'"{domain}" has no valid port', "write a number from 1 to 65535 after the colon")


def _check_path(text: str, path: str) -> None:
    if path.lower() != path:
        written = path.removeprefix("library/")
        raise _wrong(text, "repository names must be lower case",
                     f'write "{text.replace(written, written.lower())}"')
    for part in path.split("/"):
        if not part:
            raise _wrong(text, "a component of the name between slashes is empty", "remove a slash")
        if not _is_component(part):
            raise _wrong(text, f'"{part}" is not a valid component of a name',
                         "use lower-case letters and digits, separated by a period, one or two underscores, or dashes")


def _is_component(part: str) -> bool:
    """``[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*``"""
    if part[0] not in _LOWER or part[-1] not in _LOWER:
        return False
    separator = ""
    for character in part:
        if character in _LOWER:
            separator = ""
            continue
        separator += character
        if separator not in (".", "_", "__") and separator.strip("-"):
            return False
    return True


def _wrong(text: str, what: str, remedy: str) -> UsageError:
    return UsageError(f'reference "{text:.300}": {what}; {remedy}')
