"""IP and hardware addresses in flags."""

from __future__ import annotations

from pyruntime.commandline.units import wrong

_HEX = frozenset("0123456789abcdefABCDEF")


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
