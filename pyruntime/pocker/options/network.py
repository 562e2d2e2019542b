"""The network's flags: which networks, with what addresses; published ports; names."""

from __future__ import annotations

from pyruntime.commandline.units import whole, wrong
from pyruntime.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.options.settings import Settings

PROTOCOLS = ("tcp", "udp", "sctp")
_HEX = frozenset("0123456789abcdefABCDEF")
_FORM = "write [ADDRESS:][PORT:]PORT[/tcp|udp|sctp], a port or a range such as 8000-8010"
_OWN = ("ip", "ip6", "mac-address", "network-alias")   # flags about the first network


def read(settings: Settings, given: dict[str, Any]) -> None:
    """What the flags say, into the settings. Raises UsageError."""
    settings.networks = [network(text) for text in given.get("network", [])]
    alone = next((entry["name"] for entry in settings.networks if shared(entry["name"])), "")
    if alone and len(settings.networks) > 1:
        raise UsageError(f'--network "{alone}" stands alone: leave out the others')
    if own := next((flag for flag in _OWN if given.get(flag)), ""):
        if alone:
            raise UsageError(f'--{own} needs a network of ours, and --network "{alone}" is none')
        _addresses(settings, given)
    settings.ports = [entry for text in given.get("publish", []) for entry in ports(text)]
    settings.publish_all = given.get("publish-all", False)
    settings.expose = list(dict.fromkeys(port for text in given.get("expose", []) for port in exposed(text)))
    settings.dns = [address("dns", text) for text in given.get("dns", [])]
    settings.dns_search = [single("dns-search", text) for text in given.get("dns-search", [])]
    settings.dns_options = [single("dns-option", text) for text in given.get("dns-option", [])]
    settings.hosts = [host(text) for text in given.get("add-host", [])]
    settings.links = dict(link(text) for text in given.get("link", []))
    if settings.links and alone:
        raise UsageError(f'--link needs a network of ours, and --network "{alone}" is none')
    if alone.startswith("container:"):
        for flag in ("hostname", "publish", "publish-all", "expose", "dns", "dns-search", "dns-option", "add-host"):
            if given.get(flag):
                raise UsageError(f'--{flag} and --network "{alone}" do not go together: it has what that container has')


def single(flag: str, text: str) -> str:
    """The text itself, which stands between blanks in a line of hosts or resolv.conf; raises UsageError where it would
    be read as several words, or lines."""
    if not text.isprintable() or " " in text or "#" in text:
        raise wrong(flag, text, "a name has neither blanks nor control characters, nor #")
    return text


def link(text: str) -> tuple[str, str]:
    """The other name and the container of ``CONTAINER[:NAME]``. Raises UsageError."""
    name, colon, alias = text.partition(":")
    if not name or (colon and not alias):
        raise wrong("link", text, "write CONTAINER[:NAME]")
    return single("link", alias or name).lower(), name


def shared(name: str) -> bool:
    """Whether a network's name means none of ours: none, host, container:ID."""
    return name in ("none", "host") or name.startswith("container:")


def network(text: str) -> dict[str, Any]:
    """A network of ``NAME`` or ``name=NAME,ip=...,ip6=...,alias=...,mac-address=...``."""
    result: dict[str, Any] = {"name": text, "ip": "", "ip6": "", "mac": "", "aliases": []}
    if "=" in text:
        result["name"] = ""
        for word in text.split(","):
            key, _, value = word.partition("=")
            if key == "alias":
                result["aliases"].append(single("network", value))
            elif key in ("name", "ip", "ip6"):
                result[key] = value if key == "name" else address("network", value)
            elif key == "mac-address":
                result["mac"] = mac(value)
            else:
                raise wrong("network", text, "write NAME, or name=NAME with ip=, ip6=, alias=, mac-address=")
    if result["name"] in ("", "container:"):
        raise wrong("network", text, "write the name of a network, none, host, or container:ID")
    if result["name"] == "default":
        result["name"] = "bridge"
    return result


def _addresses(settings: Settings, given: dict[str, Any]) -> None:
    """The flags about the first network, which is bridge where none is named."""
    if not settings.networks:
        settings.networks = [network("bridge")]
    first = settings.networks[0]
    for flag, version in (("ip", 4), ("ip6", 6)):
        if given.get(flag):
            first[flag] = address(flag, given[flag], version)
    if given.get("mac-address"):
        first["mac"] = mac(given["mac-address"])
    first["aliases"] += [single("network-alias", text) for text in given.get("network-alias", [])]


def address(flag: str, text: str, version: int = 0) -> str:
    """An address, as the kernel takes it; raises UsageError."""
    import _socket

    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    for number, family in ((4, _socket.AF_INET), (6, _socket.AF_INET6)):
        if version in (0, number):
            try:
                return _socket.inet_ntop(family, _socket.inet_pton(family, bare.partition("%")[0])) + (
                    bare[bare.index("%"):] if "%" in bare else "")
            except (OSError, UnicodeError):
                continue   # the other family, or none
    raise wrong(flag, text, f"write an address of IPv{version or '4 or IPv6'}")


def mac(text: str) -> str:
    """A hardware address of one machine."""
    parts = text.replace("-", ":").split(":")
    if len(parts) != 6 or any(len(part) != 2 or not _HEX.issuperset(part) for part in parts):
        raise wrong("mac-address", text, "write six bytes, as 02:42:ac:11:00:02")
    if int(parts[0], 16) & 1:
        raise wrong("mac-address", text, "it is of a group of machines: make the first byte even")
    return ":".join(parts).lower()


def ports(text: str) -> list[dict[str, Any]]:
    """What is published by ``[ADDRESS:][PORT:]PORT[/PROTOCOL]``, an entry for each port inside."""
    rest, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in PROTOCOLS:
        raise wrong("publish", text, _FORM)
    before, colon, inside = rest.rpartition(":")
    at, colon, outside = before.rpartition(":") if colon and (":" in before) else ("", "", before)
    where = address("publish", at) if at else ""
    first, last = _range("publish", text, inside)
    if not outside:
        return [_port(where, 0, 0, port, protocol) for port in range(first, last + 1)]
    low, high = _range("publish", text, outside)
    if first == last:
        return [_port(where, low, high, first, protocol)]
    if high - low != last - first:
        raise wrong("publish", text, f"{outside} and {inside} are not of one length")
    return [_port(where, low + step, low + step, first + step, protocol) for step in range(last - first + 1)]


def _port(where: str, low: int, high: int, to: int, protocol: str) -> dict[str, Any]:
    return {"host": where, "port": low, "last": high, "to": to, "protocol": protocol}


def _range(flag: str, whole_text: str, text: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    what = _FORM if flag == "publish" else "write PORT[-PORT][/tcp|udp|sctp]"
    first = whole(flag, low, 1, 65535, f'"{text}" is no port: {what}') if low else 0
    last = whole(flag, high, 1, 65535, f'"{text}" is no port: {what}') if dash else first
    if not first or last < first:
        raise wrong(flag, whole_text, what)
    return first, last


def exposed(text: str) -> list[str]:
    """``PORT[-PORT][/PROTOCOL]`` as a list of ``PORT/PROTOCOL``."""
    rest, slash, protocol = text.partition("/")
    if slash and protocol.lower() not in PROTOCOLS:
        raise wrong("expose", text, "write PORT[-PORT][/tcp|udp|sctp]")
    first, last = _range("expose", text, rest)
    return [f"{port}/{protocol.lower() if slash else 'tcp'}" for port in range(first, last + 1)]


def host(text: str) -> str:
    """``NAME:ADDRESS`` or ``NAME=ADDRESS``, as NAME:ADDRESS."""
    sign = "=" if "=" in text else ":"
    name, there, where = text.partition(sign)
    if not name or not there or not where:
        raise wrong("add-host", text, "write NAME:ADDRESS, or NAME:host-gateway")
    single("add-host", name)
    return f"{name}:{where if where == 'host-gateway' else address('add-host', where)}"
