"""The host's resolv.conf(5) and hosts(5), which containers inherit in part."""

from __future__ import annotations

RESOLV, HOSTS = "/etc/resolv.conf", "/etc/hosts"


def host_hosts() -> str:
    """The text of the host's hosts file; "" if there is none."""
    return _read(HOSTS)


def host_resolv(path: str = RESOLV) -> tuple[list[str], list[str], list[str]]:
    """The host's name servers, search list and options; empty without a file."""
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


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20)
    except OSError:
        return ""   # a host without this file
