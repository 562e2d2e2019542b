"""A container's /etc/hosts, /etc/resolv.conf and /etc/hostname: files in its directory, which are mounted there."""

from __future__ import annotations

import os

from pyruntime.networks.etc_files import host_line, resolv
from pyruntime.networks.host_files import host_hosts
from pyruntime.networks.present import HOST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.networks.endpoints import Endpoint
    from pyruntime.pocker.containers.container import Container, ContainerRecord

NAMES = ("hosts", "resolv.conf", "hostname")
_HOSTS = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


def hostname_of(record: ContainerRecord) -> str:
    """The container's host name; that of the host if the container uses the host's network."""
    settings = record.settings
    if not settings.hostname and settings.networks and settings.networks[0].name == HOST:
        return os.uname().nodename
    return settings.hostname or record.id[:12]


def write(container: Container, record: ContainerRecord, endpoint: Endpoint | None) -> None:
    """Write all three; ``endpoint`` is None for a container without networks of pocker. Raises UsageError."""
    _put(container, "hostname", f"{hostname_of(record)}\n")
    write_hosts(container, record, endpoint)
    write_resolv(container, record, endpoint)


def write_hosts(container: Container, record: ContainerRecord, endpoint: Endpoint | None) -> None:
    """Write ``hosts`` in place: a running container has the file itself mounted, not its name."""
    settings = record.settings
    on_host = bool(settings.networks) and settings.networks[0].name == HOST
    text = _HOSTS if not on_host else host_hosts()
    names = hostname_of(record)
    if settings.domainname:
        names = f"{names}.{settings.domainname} {names}"
    for entry in endpoint.joined if endpoint else ():
        text += "".join(f"{entry[key]}\t{names}\n" for key in ("ip", "ip6") if entry[key])
    for line in settings.hosts:
        text += host_line(line, endpoint, on_host=on_host)
    _put(container, "hosts", text)


def write_resolv(container: Container, record: ContainerRecord, endpoint: Endpoint | None) -> None:
    """Write ``resolv.conf``: the network's name server, or the servers of the settings, or those of the host."""
    settings = record.settings
    _put(container, "resolv.conf", resolv(endpoint, settings.dns, settings.dns_search, settings.dns_options))


def _put(container: Container, name: str, text: str) -> None:
    fd = os.open(f"{container.directory}/{name}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        os.fchmod(fd, 0o644)   # whatever the umask: the container's users read them
        data = text.encode()
        os.ftruncate(fd, os.write(fd, data))
    finally:
        os.close(fd)
