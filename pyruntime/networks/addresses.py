"""Addresses and subnets as numbers. The standard library's ``ipaddress`` costs a command 6 ms."""

from __future__ import annotations

import _socket

from pyruntime.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

FAMILIES = {4: (_socket.AF_INET, 32), 6: (_socket.AF_INET6, 128)}


class Address:
    """One address; ``version`` is 4 or 6."""

    __slots__ = ("value", "version")

    def __init__(self, version: int, value: int) -> None:
        self.version = version
        self.value = value

    @classmethod
    def parse(cls, text: str, what: str = "address") -> Address:
        """Raises UsageError, which names ``what`` (a flag)."""
        version = 6 if ":" in text else 4
        try:
            return cls(version, int.from_bytes(_socket.inet_pton(FAMILIES[version][0], text), "big"))
        except (OSError, ValueError):
            raise UsageError(f'{what} "{text}" is not an IP address: write for example 10.1.2.3 or fd00::3') from None

    @property
    def bytes(self) -> bytes:
        """In network order."""
        return self.value.to_bytes(FAMILIES[self.version][1] // 8, "big")

    def __str__(self) -> str:
        return _socket.inet_ntop(FAMILIES[self.version][0], self.bytes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and (self.version, self.value) == (other.version, other.value)

    def __hash__(self) -> int:
        return hash((self.version, self.value))

    @property
    def reverse(self) -> str:
        """The reverse name of the address in the DNS. RFC 1035 section 3.5, RFC 3596 section 2.5."""
        if self.version == 4:
            return ".".join(str(byte) for byte in reversed(self.bytes)) + ".in-addr.arpa"
        return ".".join(reversed(self.bytes.hex())) + ".ip6.arpa"


class Subnet:
    """A range of addresses with a common prefix."""

    __slots__ = ("base", "prefix", "version")

    def __init__(self, version: int, base: int, prefix: int) -> None:
        self.version = version
        self.base = base
        self.prefix = prefix

    @classmethod
    def parse(cls, text: str, what: str = "subnet") -> Subnet:
        """Raises UsageError, also for bits after the prefix."""
        address, slash, prefix = text.partition("/")
        first = Address.parse(address, what)
        bits = FAMILIES[first.version][1]
        if not slash or not prefix.isdecimal() or int(prefix) > bits:
            raise UsageError(f'{what} "{text}" is not a subnet: write for example 10.1.2.0/24 or fd00:1::/64')
        made = cls(first.version, first.value, int(prefix))
        if made.base % made.size:
            right = Subnet(made.version, made.base - made.base % made.size, made.prefix)
            raise UsageError(f'{what} "{text}": the address has bits after the prefix: write "{right}"')
        return made

    @property
    def size(self) -> int:
        """The number of addresses."""
        return int(1 << (FAMILIES[self.version][1] - self.prefix))

    def __str__(self) -> str:
        return f"{Address(self.version, self.base)}/{self.prefix}"

    def __contains__(self, address: Address) -> bool:
        return address.version == self.version and self.base <= address.value < self.base + self.size

    def overlaps(self, other: Subnet) -> bool:
        """Whether the subnets have addresses in common."""
        return (self.version == other.version and self.base < other.base + other.size
                and other.base < self.base + self.size)

    def at(self, number: int) -> Address:
        """The address with this index, from 0."""
        return Address(self.version, self.base + number)

    def hosts(self) -> tuple[int, int]:
        """The first and the last index for hosts: the last address of an IPv4 subnet is for broadcasts."""
        if self.size <= 2:
            return self.base, self.base + self.size - 1
        return self.base + 1, self.base + self.size - (2 if self.version == 4 else 1)


def routed(routes4: str = "/proc/net/route", routes6: str = "/proc/net/ipv6_route") -> Iterator[Subnet]:
    """The subnets that this host has routes to, except default routes and their halves (as VPNs set them).

    proc_pid_net(5); the tables are those of the current network namespace.
    """
    try:
        with open(routes4, encoding="ascii") as file:
            for line in file.readlines()[1:]:
                words = line.split()
                base = int.from_bytes(bytes.fromhex(words[1])[::-1], "big")
                prefix = int(words[7], 16).bit_count()
                if prefix >= 4:
                    yield Subnet(4, base, prefix)
    except FileNotFoundError:
        pass   # a kernel without IPv4
    try:
        with open(routes6, encoding="ascii") as file:
            for line in file:
                words = line.split()
                prefix = int(words[1], 16)
                # ff00::/8 and fe80::/64 are on every interface.
                if prefix >= 4 and not words[0].startswith(("ff", "fe8")) and words[9] != "lo":
                    yield Subnet(6, int(words[0], 16), prefix)
    except FileNotFoundError:
        pass   # the kernel's IPv6 is off
