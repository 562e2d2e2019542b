"""/etc/hosts, /etc/resolv.conf and /etc/hostname of a container that has no network of ours: the machine's, or none."""

from __future__ import annotations

import os

from pyruntime.engine.container import write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.engine.container import Container, Record

_LOCAL = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"


def provide(container: Container, record: Record) -> None:
    """Write those that are not there; whoever sets up a network has written his."""
    settings = record.settings
    network = settings.networks[0]["name"] if settings.networks else ""
    if network.startswith("container:"):
        return   # it has that container's
    hostname = settings.hostname or record.id[:12]
    if network == "host" and not settings.hostname:
        hostname = os.uname().nodename
    _provide(f"{container.directory}/hostname", f"{hostname}\n")
    _provide(f"{container.directory}/hosts", _hosts(settings.hosts, machine=network == "host"))
    _provide(f"{container.directory}/resolv.conf", _resolver(settings.dns, settings.dns_search, settings.dns_options))
    if settings.ids:
        from pyruntime.image.snapshot.idmapped import Mapping

        for name in ("hostname", "hosts", "resolv.conf"):
            os.chown(f"{container.directory}/{name}", *Mapping(**settings.ids).owner(0, 0))


def _provide(path: str, text: str) -> None:
    if not os.path.exists(path):
        write(path, text.encode("utf-8", "surrogateescape"))
        os.chmod(path, 0o644)   # all users of the container read it


def _hosts(added: list[str], *, machine: bool) -> str:
    text = _read("/etc/hosts") if machine else _LOCAL
    for entry in added:
        name, _, address = entry.partition(":")
        text += f"{'127.0.0.1' if address == 'host-gateway' else address}\t{name}\n"
    return text


def _resolver(servers: list[str], search: list[str], options: list[str]) -> str:
    """resolv.conf(5): the machine's, where the flags say nothing."""
    if not servers and not search and not options:
        return _read("/etc/resolv.conf")
    lines = [f"nameserver {server}" for server in servers] or [
        line for line in _read("/etc/resolv.conf").splitlines() if line.startswith("nameserver")]
    if search and search != ["."]:
        lines.append("search " + " ".join(search))
    if options:
        lines.append("options " + " ".join(options))
    return "\n".join(lines) + "\n"


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return ""
