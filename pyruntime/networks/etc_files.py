"""hosts(5) and resolv.conf(5) of containers in networks."""

from __future__ import annotations

from pyruntime.errors import UsageError
from pyruntime.networks.host_files import host_resolv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyruntime.networks.endpoints import Endpoint


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
    from pyruntime.networks.addresses import Address  # lazy: only for --add-host and hosts that have addresses

    return f"{Address.parse(address.strip('[]'), '--add-host')}\t{name}\n"


def resolv(endpoint: Endpoint | None, dns: Sequence[str] = (), dns_search: Sequence[str] = (),
           dns_options: Sequence[str] = ()) -> str:
    """The text of ``resolv.conf`` for a container with this endpoint and these servers, search list and options."""
    servers, search, options = host_resolv()
    if endpoint and endpoint.joined:
        # resolv.conf(5): at most three servers are used. All gateways know the same names.
        servers = [entry["gateway"] for entry in endpoint.joined][:3]
        options = [option for option in options if not option.startswith("ndots:")]
        if not any(option.startswith("ndots:") for option in dns_options):
            # names of containers have no dots, and must be looked up without the search list first
            options.append("ndots:0")
    elif endpoint and endpoint.outside and not dns:
        from pyruntime.networks.slirp import name_servers  # lazy: containers without networks need none of it

        servers = name_servers(endpoint.outside)
    elif dns:
        servers = list(dns)
    search = list(dns_search) or search
    text = f"search {' '.join(search)}\n" if search and search != ["."] else ""
    text += "".join(f"nameserver {server}\n" for server in servers)
    if dns_options or options:
        text += f"options {' '.join(dns_options or options)}\n"
    return text
