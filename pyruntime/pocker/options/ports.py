"""Flags to settings: `--publish` and `--expose`. networks/ports.py opens the ports on the host."""

from __future__ import annotations

from pyruntime.commandline.units import whole, wrong
from pyruntime.pocker.options.addresses import address
from pyruntime.pocker.settings import PublishedPort

PROTOCOLS = ("tcp", "udp", "sctp")
_FORM = "write [ADDRESS:][PORT:]PORT[/tcp|udp|sctp], a port or a range such as 8000-8010"


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
