"""Published ports: sockets of the host that stay bound while the container runs.

They are bound before the container is created, so that a port in use is reported at once, by the kernel, and no other
process can bind the port in the meantime. pocker-proxy (pyruntime/native/proxy/proxy.c) holds them and forwards the
traffic that the packet rules do not forward (pyruntime/networks/nftables.py).
"""

from __future__ import annotations

import _socket
import errno
import os

from pyruntime.errors import HostError, StateError, UsageError
from pyruntime.networks import endpoints
from pyruntime.system.installed import native
from pyruntime.system.processes import kill, start_time
from pyruntime.system.uapi import IPPROTO_SCTP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyruntime.networks.endpoints import Endpoint
    from pyruntime.networks.site import Site

PROXY = native("proxy")
_KINDS = {"tcp": (_socket.SOCK_STREAM, _socket.IPPROTO_TCP), "udp": (_socket.SOCK_DGRAM, _socket.IPPROTO_UDP),
          "sctp": (_socket.SOCK_STREAM, IPPROTO_SCTP)}
PATIENCE = 5.0   # seconds that a killed helper process may take to end
_TRIES = 64   # for a port that the kernel chooses for IPv4 and that is in use for IPv6
_EADDRS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class Bound:
    """A published port of the host: its socket and destination."""

    __slots__ = ("host", "port", "protocol", "sock", "to")

    def __init__(self, sock: _socket.socket, host: str, port: int, to: int, protocol: str) -> None:
        self.sock = sock
        self.host = host
        self.port = port
        self.to = to
        self.protocol = protocol

    def document(self) -> dict[str, Any]:
        """The port's entry in the endpoint's record."""
        return {"host": self.host, "port": self.port, "to": self.to, "protocol": self.protocol}


def wanted(ports: Sequence[dict[str, Any]], exposed: Sequence[str], *, every: bool) -> list[dict[str, Any]]:
    """The ports to publish: the given ones and, with ``every``, each exposed port (``80/tcp``) on any free port."""
    result = list(ports)
    have = {(entry["to"], entry["protocol"]) for entry in ports}
    for text in exposed if every else ():
        numbers, _, protocol = text.partition("/")
        first, _, last = numbers.partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()):
            raise UsageError(f'exposed port "{text}": write PORT or FIRST-LAST, and /tcp, /udp or /sctp')
        for number in range(int(first), int(last or first) + 1):
            if (number, protocol or "tcp") not in have:
                result.append({"host": "", "port": 0, "last": 0, "to": number, "protocol": protocol or "tcp"})
    return result


def bind(site: Site, ports: Sequence[dict[str, Any]]) -> list[Bound]:
    """Bind all ports, or none. Raises StateError for a port in use, HostError if the kernel lacks support."""
    result: list[Bound] = []
    try:
        for entry in ports:
            result += _bind(site, entry)
    except BaseException:
        release(result)
        raise
    return result


def release(bound: Sequence[Bound]) -> None:
    """Close our copies of the sockets; the proxy has its own."""
    for one in bound:
        one.sock.close()


def _bind(site: Site, entry: dict[str, Any]) -> list[Bound]:
    hosts = [entry["host"]] if entry["host"] else ["0.0.0.0", "::"]
    first, last = entry["port"], entry.get("last") or entry["port"]
    problem: OSError | None = None
    for port in range(first, last + 1) if first else [0] * _TRIES:
        try:
            return _bind_port(hosts, port, entry)
        except OSError as error:
            problem = error
            if error.errno != errno.EADDRINUSE:
                break
    assert problem is not None
    raise _problem(site, entry, first, last, problem)


def _bind_port(hosts: list[str], port: int, entry: dict[str, Any]) -> list[Bound]:
    kind, protocol = _KINDS[entry["protocol"]]
    made: list[Bound] = []
    try:
        for host in hosts:
            try:
                sock = _socket.socket(_socket.AF_INET6 if ":" in host else _socket.AF_INET,
                                      kind | _socket.SOCK_CLOEXEC, protocol)
            except OSError as error:
                if made and error.errno in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
                    continue   # a host without IPv6
                raise
            made.append(Bound(sock, host, port, entry["to"], entry["protocol"]))
            if ":" in host:
                sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
            if kind == _socket.SOCK_STREAM:
                # Connections of the port's last owner may be in TIME-WAIT.
                sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            try:
                sock.bind((host, port))
            except OSError as error:
                if len(made) > 1 and error.errno in _EADDRS:
                    made.pop().sock.close()   # IPv6 is off
                    continue
                raise
            if kind == _socket.SOCK_STREAM:
                # listen also fails if another socket listens: bind alone does not, because both set SO_REUSEADDR
                sock.listen(512)
            port = made[-1].port = sock.getsockname()[1]
        return made
    except BaseException:
        release(made)
        raise


def _problem(site: Site, entry: dict[str, Any], first: int, last: int, error: OSError) -> Exception:
    span = f"{first}-{last}" if last > first else str(first)
    what = f"cannot publish port {entry['host'] + ':' if entry['host'] else ''}{span}/{entry['protocol']}"
    if error.errno == errno.EADDRINUSE:
        who = _owner(site, first, entry["protocol"]) if first == last else ""
        return StateError(f"{what}: address already in use{who}: choose another port, or omit the host's port to get a"
                          " free one")
    if error.errno == errno.EADDRNOTAVAIL:
        return StateError(f"{what}: no interface of the host has that address")
    if error.errno in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
        return HostError(f"{what}: the kernel has no {entry['protocol']}: load the module {entry['protocol']}")
    if error.errno == errno.EACCES:
        return HostError(f"{what}: permission denied: choose a port from 1024, or lower"
                         " net.ipv4.ip_unprivileged_port_start")
    return HostError(f"{what}: {error.strerror}")


def _owner(site: Site, port: int, protocol: str) -> str:
    """The owner of the port, as far as it is visible."""
    for endpoint in endpoints.every(site):
        if any((one["port"], one["protocol"]) == (port, protocol) for one in endpoint.ports):
            return f' by container "{endpoint.names[0]}"'
    inodes = _inodes(f"/proc/net/{protocol}", port) + _inodes(f"/proc/net/{protocol}6", port)
    sockets = {f"socket:[{inode}]" for inode in inodes}
    for pid in filter(str.isdecimal, os.listdir("/proc") if sockets else ()):
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{fd}") in sockets:
                    with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                        return f' by process {pid} ("{file.read().strip()}")'
        except OSError:
            continue   # the process has ended, or must not be inspected
    return ""


def _inodes(path: str, port: int) -> list[str]:
    """The inodes of sockets that are bound to the port. proc_pid_net(5), tcp."""
    try:
        with open(path, encoding="ascii") as file:
            rows = [line.split() for line in file.readlines()[1:]]
    except FileNotFoundError:
        return []
    # State 0A listens, 07 is every unconnected UDP socket.
    return [row[9] for row in rows if int(row[1].rpartition(":")[2], 16) == port and row[3] in ("0A", "07")]


# --- the proxy --------------------------------------------------------------------------------------------------------


def start_proxy(endpoint: Endpoint, bound: Sequence[Bound]) -> None:
    """Pass the sockets to a proxy, a child of ours that exits with the container's init process. Raises HostError."""
    targets = endpoint.targets()
    words = []
    pidfd, namespace = os.pidfd_open(endpoint.pid), -1
    try:
        if endpoint.outside:
            namespace = os.open(f"/proc/{endpoint.pid}/ns/net", os.O_RDONLY)
            os.set_inheritable(namespace, True)
        for one in bound:
            target = targets.get(6 if ":" in one.host else 4) or targets.get(4) or targets[6]
            words.append(f"{one.protocol},{one.sock.fileno()},{target},{one.to}")
            os.set_inheritable(one.sock.fileno(), True)
        where = [f"netns={namespace}"] if namespace >= 0 else []
        os.set_inheritable(pidfd, True)
        # Not our standard streams: at this moment they are the container's, which would never get end-of-file.
        actions = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
        try:
            pid = os.posix_spawn(PROXY, ["pocker-proxy", f"init={pidfd}", *where, "--", *words], {},
                                 file_actions=actions, setsid=True)
        except OSError as error:
            raise HostError(f'cannot run "{PROXY}", which forwards published ports: {error.strerror}') from None
    finally:
        for fd in (pidfd, *([namespace] if namespace >= 0 else [])):
            os.close(fd)
        for one in bound:
            os.set_inheritable(one.sock.fileno(), False)
    endpoint.proxy = [pid, start_time(pid)]


def stop_proxy(endpoint: Endpoint) -> None:
    """Kill the endpoint's proxy, if there is one, and wait until the published ports are free."""
    kill(*endpoint.proxy, seconds=PATIENCE)
    endpoint.proxy = [0, 0]
