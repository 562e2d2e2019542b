"""The documents that `inspect` shows for a network, and for a container's networks, with Docker's names."""

from __future__ import annotations

from pyruntime.networks import bridges, endpoints

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.networks.definitions import Network
    from pyruntime.networks.endpoints import Endpoint
    from pyruntime.networks.site import Site


def picture(site: Site, network: Network) -> dict[str, Any]:
    """The document of a network, with its running containers."""
    containers = {}
    for endpoint in endpoints.every(site):
        if entry := endpoint.in_network(network.name):
            containers[endpoint.id] = {
                "Name": endpoint.names[0], "MacAddress": entry["mac"], "IPv4Address": _with_prefix(entry, ""),
                "IPv6Address": _with_prefix(entry, "6"), "Interface": entry["link"]}
    return {
        "Name": network.name, "Id": network.id, "Created": network.created, "Scope": "local", "Driver": "bridge",
        "EnableIPv6": network.subnet(6) is not None, "Internal": network.internal,
        "IPAM": {"Driver": "default", "Config": [
            {"Subnet": entry["subnet"], "Gateway": entry["gateway"],
             **({"IPRange": entry["range"]} if entry["range"] else {})} for entry in network.subnets]},
        "Interface": network.interface, "Up": network.name in bridges.up(site), "Containers": containers,
        "Options": network.options, "Labels": network.labels}


def _with_prefix(entry: dict[str, Any], key: str) -> str:
    address = entry[f"ip{key}"]
    return f"{address}/{entry[f'subnet{key}'].partition('/')[2]}" if address else ""


def settings_of(endpoint: Endpoint | None) -> dict[str, Any]:
    """``NetworkSettings`` of a running container; empty values for other containers."""
    joined = endpoint.joined if endpoint else []
    first: dict[str, Any] = joined[0] if joined else {"ip": "", "ip6": "", "gateway": "", "gateway6": "", "mac": ""}
    ports: dict[str, list[dict[str, str]]] = {}
    for port in endpoint.ports if endpoint else ():
        ports.setdefault(f"{port['to']}/{port['protocol']}", []).append(
            {"HostIp": port["host"], "HostPort": str(port["port"])})
    return {
        "IPAddress": first["ip"], "Gateway": first["gateway"], "GlobalIPv6Address": first["ip6"],
        "IPv6Gateway": first["gateway6"], "MacAddress": first["mac"], "Ports": ports,
        "Networks": {entry["network"]: {
            "IPAddress": entry["ip"], "IPPrefixLen": _prefix(entry["subnet"]), "Gateway": entry["gateway"],
            "GlobalIPv6Address": entry["ip6"], "GlobalIPv6PrefixLen": _prefix(entry["subnet6"]),
            "IPv6Gateway": entry["gateway6"], "MacAddress": entry["mac"], "Aliases": entry["aliases"],
            "DNSNames": list(dict.fromkeys([*(endpoint.names if endpoint else []), *entry["aliases"]]))}
            for entry in joined}}


def _prefix(subnet: str) -> int:
    return int(subnet.partition("/")[2] or 0)


def ports_line(endpoint: Endpoint | None) -> str:
    """The published ports as `ps` shows them: ``0.0.0.0:8080->80/tcp, [::]:8080->80/tcp``."""
    ports = endpoint.ports if endpoint else []
    return ", ".join(f"{host_port(port)}->{port['to']}/{port['protocol']}" for port in ports)


def host_port(port: dict[str, Any]) -> str:
    """The host's side of a published port: ``0.0.0.0:8080``, ``[::]:8080``."""
    host = f"[{port['host']}]" if ":" in port["host"] else port["host"]
    return f"{host}:{port['port']}"
