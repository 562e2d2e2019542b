"""A container's /etc/hosts, /etc/resolv.conf and /etc/hostname: files of its directory, mounted there."""

from __future__ import annotations

import os

from pyruntime.errors import UsageError
from pyruntime.networks.present import HOST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyruntime.networks.endpoints import Endpoint
    from pyruntime.pocker.containers.container import Container, Record

NAMES = ("hosts", "resolv.conf", "hostname")
RESOLV = "/etc/resolv.conf"
_HOSTS = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


def hostname_of(record: Record) -> str:
    """The container's host name: with the host's network it has the host's."""
    settings = record.settings
    if not settings.hostname and settings.networks and settings.networks[0]["name"] == HOST:
        return os.uname().nodename
    return settings.hostname or record.id[:12]


def write(container: Container, record: Record, endpoint: Endpoint | None) -> None:
    """Write all three; ``endpoint`` is None for a container without networks of ours. Raises UsageError."""
    _put(container, "hostname", f"{hostname_of(record)}\n")
    write_hosts(container, record, endpoint)
    write_resolv(container, record, endpoint)


def write_hosts(container: Container, record: Record, endpoint: Endpoint | None) -> None:
    """Write ``hosts`` in place: a container that runs has the file itself mounted, not its name."""
    settings = record.settings
    on_host = bool(settings.networks) and settings.networks[0]["name"] == HOST
    text = _HOSTS if not on_host else _read("/etc/hosts")
    names = hostname_of(record)
    if settings.domainname:
        names = f"{names}.{settings.domainname} {names}"
    for entry in endpoint.joined if endpoint else ():
        text += "".join(f"{entry[key]}\t{names}\n" for key in ("ip", "ip6") if entry[key])
    for line in settings.hosts:
        text += host_line(line, endpoint, on_host=on_host)
    _put(container, "hosts", text)


def host_line(text: str, endpoint: Endpoint | None, *, on_host: bool) -> str:
    """The line of ``hosts`` for ``--add-host NAME:ADDRESS``; host-gateway is the host. Raises UsageError."""
    name, _, address = text.partition(":")
    if not name or not address:
        raise UsageError(f'--add-host "{text}": write NAME:ADDRESS')
    if address == "host-gateway":
        address = next((entry["gateway"] for entry in endpoint.joined if entry["gateway"]), "") if endpoint else ""
        address = address or ("127.0.0.1" if on_host else "")
        if not address:
            raise UsageError(f'--add-host "{text}": the container has no network with a gateway to the host')
    from pyruntime.networks.addresses import Address

    return f"{Address.parse(address.strip('[]'), '--add-host')}\t{name}\n"


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20)
    except OSError:
        return ""   # a host without it


def write_resolv(container: Container, record: Record, endpoint: Endpoint | None) -> None:
    """Write ``resolv.conf``: our name server where there is one, else the host's, or those that were asked for."""
    settings = record.settings
    _put(container, "resolv.conf", resolv(endpoint, settings.dns, settings.dns_search, settings.dns_options))


def resolv(endpoint: Endpoint | None, dns: Sequence[str] = (), dns_search: Sequence[str] = (),
           dns_options: Sequence[str] = ()) -> str:
    """The text of ``resolv.conf`` for who has this endpoint, and asks for these servers, search list and options."""
    servers, search, options = host_resolv()
    if endpoint and endpoint.joined:
        # resolv.conf(5): three are asked at most. All of ours know the same names.
        servers = [entry["gateway"] for entry in endpoint.joined][:3]
        options = [option for option in options if not option.startswith("ndots:")]
        if not any(option.startswith("ndots:") for option in dns_options):
            options.append("ndots:0")   # names of containers have no dots, and are not to be looked for elsewhere first
    elif endpoint and endpoint.outside and not dns:
        from pyruntime.networks.slirp import name_servers

        servers = name_servers(endpoint.outside)
    elif dns:
        servers = list(dns)
    search = list(dns_search) or search
    text = f"search {' '.join(search)}\n" if search and search != ["."] else ""
    text += "".join(f"nameserver {server}\n" for server in servers)
    if dns_options or options:
        text += f"options {' '.join(dns_options or options)}\n"
    return text


def host_resolv(path: str = RESOLV) -> tuple[list[str], list[str], list[str]]:
    """The host's name servers, search list and options; none where it has none. resolv.conf(5)."""
    servers: list[str] = []
    search: list[str] = []
    options: list[str] = []
    for line in _read(path).splitlines():
        words = line.split("#", 1)[0].split(";", 1)[0].split()
        if len(words) < 2:
            continue
        if words[0] == "nameserver":
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            search = words[1:]
        elif words[0] == "options":
            options += words[1:]
    return servers, search, options


def _put(container: Container, name: str, text: str) -> None:
    fd = os.open(f"{container.directory}/{name}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        os.fchmod(fd, 0o644)   # whatever our umask is: the container's users read them
        data = text.encode()
        os.ftruncate(fd, os.write(fd, data))
    finally:
        os.close(fd)
