"""Flags to settings: networks and addresses, published ports, DNS, names of hosts."""

from __future__ import annotations

from pyruntime.commandline.units import whole, wrong
from pyruntime.errors import UsageError
from pyruntime.pocker.settings import NetworkAttachment, PublishedPort

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.settings import ContainerSettings

PROTOCOLS = ("tcp", "udp", "sctp")
_HEX = frozenset("0123456789abcdefABCDEF")
_FORM = "write [ADDRESS:][PORT:]PORT[/tcp|udp|sctp], a port or a range such as 8000-8010"
_OWN = ("ip", "ip6", "mac-address", "network-alias")   # flags about the first network


def read(settings: ContainerSettings, given: dict[str, Any]) -> ContainerSettings:
    """The settings with those of the flags. Raises UsageError."""
    networks = [network(text) for text in given.get("network", [])]
    alone = next((one.name for one in networks if shared(one.name)), "")
    if alone and len(networks) > 1:
        raise UsageError(f'--network "{alone}" cannot be combined with other networks: omit those')
    if own := next((flag for flag in _OWN if given.get(flag)), ""):
        if alone:
            raise UsageError(f'--{own} needs a network of pocker, which --network "{alone}" is not')
        networks = _addressed(networks, given)
    if given.get("link") and alone:
        raise UsageError(f'--link needs a network of pocker, which --network "{alone}" is not')
    if alone.startswith("container:"):
        for flag in ("hostname", "publish", "publish-all", "expose", "dns", "dns-search", "dns-option", "add-host"):
            if given.get(flag):
                raise UsageError(f'--{flag} and --network "{alone}" do not go together: the container uses the'
                                 " settings of that container")
    return settings.replace(
        networks=networks,
        publish=[port for text in given.get("publish", []) for port in ports(text)],
        publish_all=given.get("publish-all", False),
        expose=list(dict.fromkeys(port for text in given.get("expose", []) for port in exposed(text))),
        dns=[address("dns", text) for text in given.get("dns", [])],
        dns_search=[single("dns-search", text) for text in given.get("dns-search", [])],
        dns_options=[single("dns-option", text) for text in given.get("dns-option", [])],
        hosts=[host(text) for text in given.get("add-host", [])],
        links=dict(link(text) for text in given.get("link", [])))


def single(flag: str, text: str) -> str:
    """The text itself, for a line of hosts or resolv.conf. Raises UsageError if the file's readers would see several
    words or lines."""
    if not text.isprintable() or " " in text or "#" in text:
        raise wrong(flag, text, "a name must not contain spaces, control characters or #")
    return text


def link(text: str) -> tuple[str, str]:
    """The other name and the container of ``CONTAINER[:NAME]``. Raises UsageError."""
    name, colon, alias = text.partition(":")
    if not name or (colon and not alias):
        raise wrong("link", text, "write CONTAINER[:NAME]")
    return single("link", alias or name).lower(), name


def shared(name: str) -> bool:
    """Whether a name is not that of a network of pocker: none, host, container:ID."""
    return name in ("none", "host") or name.startswith("container:")


def network(text: str) -> NetworkAttachment:
    """The network of ``NAME`` or ``name=NAME,ip=...,ip6=...,alias=...,mac-address=...``. Raises UsageError."""
    found: dict[str, Any] = {"name": text, "aliases": []}
    if "=" in text:
        found["name"] = ""
        for word in text.split(","):
            key, _, value = word.partition("=")
            if key == "alias":
                found["aliases"].append(single("network", value))
            elif key in ("name", "ip", "ip6"):
                found[key] = value if key == "name" else address("network", value)
            elif key == "mac-address":
                found["mac"] = mac(value)
            else:
                raise wrong("network", text, "write NAME, or name=NAME with ip=, ip6=, alias=, mac-address=")
    if found["name"] in ("", "container:"):
        raise wrong("network", text, "write the name of a network, none, host, or container:ID")
    if found["name"] == "default":
        found["name"] = "bridge"
    return NetworkAttachment(**found)


def _addressed(networks: list[NetworkAttachment], given: dict[str, Any]) -> list[NetworkAttachment]:
    """The networks with the addresses and aliases of the first one, which is bridge if none is named."""
    first, *others = networks or [network("bridge")]
    found = {flag: address(flag, given[flag], version) for flag, version in (("ip", 4), ("ip6", 6)) if given.get(flag)}
    if given.get("mac-address"):
        found["mac"] = mac(given["mac-address"])
    aliases = [*first.aliases, *(single("network-alias", text) for text in given.get("network-alias", []))]
    return [first.replace(**found, aliases=aliases), *others]


def address(flag: str, text: str, version: int = 0) -> str:
    """An address in the kernel's form. Raises UsageError."""
    import _socket  # lazy: only with an address

    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    for number, family in ((4, _socket.AF_INET), (6, _socket.AF_INET6)):
        if version in (0, number):
            try:
                return _socket.inet_ntop(family, _socket.inet_pton(family, bare.partition("%")[0])) + (
                    bare[bare.index("%"):] if "%" in bare else "")
            except (OSError, UnicodeError):
                continue   # the other family, or none
    raise wrong(flag, text, f"write an IPv{version or '4 or IPv6'} address")


def mac(text: str) -> str:
    """A unicast hardware address. Raises UsageError."""
    parts = text.replace("-", ":").split(":")
    if len(parts) != 6 or any(len(part) != 2 or not _HEX.issuperset(part) for part in parts):
        raise wrong("mac-address", text, "write six bytes, for example 02:42:ac:11:00:02")
    if int(parts[0], 16) & 1:
        raise wrong("mac-address", text, "this is a multicast address: make the first byte even")
    return ":".join(parts).lower()


def ports(text: str) -> list[PublishedPort]:
    """The published ports of ``[ADDRESS:][PORT:]PORT[/PROTOCOL]``, one for each container port. Raises UsageError."""
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
        raise wrong("publish", text, f"the ranges {outside} and {inside} differ in length")
    return [_port(where, low + step, low + step, first + step, protocol) for step in range(last - first + 1)]


def _port(where: str, low: int, high: int, inside: int, protocol: str) -> PublishedPort:
    return PublishedPort(address=where, host_port=low, last_host_port=high if high != low else 0,
                         container_port=inside, protocol=protocol)


def _range(flag: str, whole_text: str, text: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    what = _FORM if flag == "publish" else "write PORT[-PORT][/tcp|udp|sctp]"
    first = whole(flag, low, 1, 65535, f'"{text}" is not a port: {what}') if low else 0
    last = whole(flag, high, 1, 65535, f'"{text}" is not a port: {what}') if dash else first
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
